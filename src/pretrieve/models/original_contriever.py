"""``checkpoint.pth`` of the original Contriever code, made into a model folder.

    python -m pretrieve.models.original_contriever FOLDER OUTPUT

The file holds both encoders of MoCo and the queue, or the one encoder of in-batch training, and names the model it
started from, whose configuration and tokenizer it needs. The original loader strips "encoder." everywhere in a name and
passes over what does not fit, so that in-batch checkpoints come out random; here the prefix is taken off once, and
every weight has to fit.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pretrieve.core import files
from pretrieve.core.errors import CorruptError, PretrieveError, UsageError
from pretrieve.models.export import save_model
from pretrieve.models.heads import seeded
from pretrieve.models.model_folder import CONTRIEVER
from pretrieve.models.pretrained import resolve
from pretrieve.models.restore import position_limit
from pretrieve.models.torch_file import read_torch
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.text import tokenizer as tokenizers

_PREFIXES = ("encoder_q.", "encoder.")  # of MoCo, of in-batch training and of fine-tuning
_UNUSED = ("pooler.",)


def convert(source: Path, output: Path, *, base: str | None = None) -> None:
    """Write the encoder of a checkpoint as a model folder: mean pooling, compared by dot product.

    Args:
        source: folder with ``checkpoint.pth``, or the file.
        output: folder to make.
        base: folder or hub name of the model it started from; what the checkpoint says without it.

    Raises:
        UsageError: there is no such file, its base is not known or not there, or the output is taken.
        CorruptError: the file is damaged, or its weights do not fit the base.
        StorageError: writing fails.
    """
    path = source / CONTRIEVER if source.is_dir() else source
    if not path.is_file():
        raise UsageError(f"there is no {path}: give the folder of a {CONTRIEVER}.")
    found = read_torch(path)
    base = base or getattr(found.get("opt"), "retriever_model_id", None)
    if not base or not isinstance(found.get("model"), dict):
        raise UsageError(f"{path} does not say what it started from: give a base (bert-base-uncased).")
    folder = resolve(str(base))
    model, tokenizer = _filled(folder, _encoder_of(found["model"], path), path), tokenizers.load(folder)
    limit = position_limit(model.config)
    encoder = TransformerEncoder(model, tokenizer.specials, pooling="mean", max_length=limit, similarity="dot")
    with files.create(output, "model") as target:
        save_model(target, encoder, tokenizer)


def _encoder_of(weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The weights of the encoder, by its own names."""
    for prefix in _PREFIXES:
        found = {name.removeprefix(prefix): values for name, values in weights.items() if name.startswith(prefix)}
        if "embeddings.word_embeddings.weight" in found:
            kept = {name: values for name, values in found.items() if not name.startswith(_UNUSED)}
            return {name: values for name, values in kept.items() if not name.endswith("position_ids")}
    raise CorruptError(f"{path}: no weights of an encoder are in it (encoder_q.embeddings..., encoder.embeddings...).")


def _filled(folder: Path, weights: dict[str, Tensor], path: Path) -> Any:
    """A model of the base's configuration, filled with the weights, strictly."""
    from transformers import AutoConfig, AutoModel  # imported here because it takes seconds

    with seeded(0, "pretrained"):
        model: nn.Module = AutoModel.from_config(AutoConfig.from_pretrained(folder))
    model.pooler = None  # type: ignore[assignment]
    mine = model.state_dict()
    wrong = sorted(mine.keys() ^ weights.keys()) or [name for name in mine if mine[name].shape != weights[name].shape]
    if wrong:
        raise CorruptError(f"{path} does not fit {folder} ({wrong[0]}): give the base that it started from.")
    model.load_state_dict({name: values.to(mine[name]) for name, values in weights.items()})
    return model.eval()


def main(arguments: Sequence[str]) -> int:
    """Convert from the command line: ``FOLDER OUTPUT [BASE]``; returns the exit code."""
    if len(arguments) not in (2, 3):
        sys.stderr.write("usage: python -m pretrieve.models.original_contriever FOLDER OUTPUT [BASE]\n")
        return 2
    try:
        convert(Path(arguments[0]), Path(arguments[1]), base=arguments[2] if len(arguments) > 2 else None)
    except PretrieveError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
