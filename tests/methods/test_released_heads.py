"""Heads that released checkpoints keep beside their weights: Condenser's ``model.pt``, and what starts at random."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

import stock
import tiny
from pretrieve.core.errors import CorruptError, UsageError
from pretrieve.methods import cocondenser, condenser, mlm, realm, retromae, tsdae
from pretrieve.models.restore import load_encoder


def released(folder: Path, layers: int = 2) -> dict[str, torch.Tensor]:
    """A checkpoint as the released code saves it: the stock model, and ``model.pt`` with head and targets."""
    from transformers.models.bert.modeling_bert import BertLayer

    model = stock.checkpoint("bert", folder)
    torch.manual_seed(7)
    head = torch.nn.ModuleList(BertLayer(model.config, layer_idx=0) for _ in range(layers))
    state = {f"c_head.{name}": values for name, values in head.state_dict().items()}
    torch.save({**state, "co_target": torch.arange(8)}, folder / "model.pt")
    return state


def options(method: Any, **changes: Any) -> Any:
    return method.Options(**{"length": 24, **changes})


@pytest.mark.parametrize("method", [condenser, cocondenser])
def test_a_released_head_is_taken_up(method: Any, tmp_path: Path) -> None:
    state = released(tmp_path)
    documents = tiny.store(sentences=(7, 7))
    objective = method.objective(load_encoder(tmp_path, pooling="cls"), options(method), 0, documents)
    mine = dict(objective.head.named_parameters())
    assert len(mine) == len(state) > 30
    for name, values in state.items():
        assert torch.equal(mine[name.replace("c_head.", "layers.")], values), name
    assert objective.notes == (), "nothing starts at random"


def test_a_head_of_other_layers_is_refused(tmp_path: Path) -> None:
    released(tmp_path, layers=3)
    with pytest.raises(UsageError, match=r"'head' do not fit"):
        condenser.objective(load_encoder(tmp_path, pooling="cls"), options(condenser), 0, tiny.store())


class Canary:
    """Unpickling makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_code_in_a_released_head_does_not_run(tmp_path: Path) -> None:
    released(tmp_path / "model")
    torch.save({"c_head.0.x": Canary(tmp_path / "fired")}, tmp_path / "model" / "model.pt")
    for method in (condenser, cocondenser):
        with pytest.raises(CorruptError, match=r"model\.pt cannot be read as weights alone"):
            method.objective(load_encoder(tmp_path / "model", pooling="cls"), options(method), 0, tiny.store())
    (tmp_path / "model" / "model.pt").write_bytes(b"\x80\x02nothing")
    with pytest.raises(CorruptError, match="damaged"):
        condenser.objective(load_encoder(tmp_path / "model", pooling="cls"), options(condenser), 0, tiny.store())
    torch.save([1, 2], tmp_path / "model" / "model.pt")
    with pytest.raises(CorruptError, match="not weights by name"):
        condenser.objective(load_encoder(tmp_path / "model", pooling="cls"), options(condenser), 0, tiny.store())
    assert not (tmp_path / "fired").exists()


ON_CLS = [(condenser, "Condenser head"), (retromae, "decoder"), (tsdae, "cross attention"), (mlm, "")]


@pytest.mark.parametrize(("method", "own"), ON_CLS)
def test_what_starts_at_random_is_said(method: Any, own: str, tmp_path: Path) -> None:
    documents = tiny.store()
    model = stock.checkpoint("bert", tmp_path)
    objective = method.objective(load_encoder(tmp_path, pooling="cls"), options(method), 0, documents)
    assert len(objective.notes) == bool(own)
    assert not own or f"the {own}: randomly initialised." in objective.notes[0]
    model.bert.save_pretrained(tmp_path)
    (note,) = method.objective(load_encoder(tmp_path, pooling="cls"), options(method), 0, documents).notes
    assert "the language head: randomly initialised" in note
    assert "train --method mlm first" in note
    assert own in note
    new = method.objective(tiny.encoder("new", documents, pooling="cls"), options(method), 0, documents)
    assert new.notes == (), "of a base that is all new nothing is to be said"


def test_cocondenser_and_realm_say_it_of_the_language_head(tmp_path: Path) -> None:
    released(tmp_path)
    documents = tiny.store(sentences=(7, 7))
    from transformers import AutoModel

    AutoModel.from_pretrained(tmp_path).save_pretrained(tmp_path)
    (note,) = cocondenser.objective(load_encoder(tmp_path, pooling="cls"), options(cocondenser), 0, documents).notes
    assert "the language head: randomly initialised" in note
    few = realm.Options(query=16, block=40, joint=60, candidates=4, projection=8, mask="token")
    assert any("language head is new" in n for n in realm.objective(load_encoder(tmp_path), few, 0, documents).notes)
