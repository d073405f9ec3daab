"""FlashAttention 3 and 4 as an option: refused where they cannot be used, named where they are."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pretrieve.core.errors import UsageError
from pretrieve.models import devices, flash_attention


@pytest.fixture
def gpus(accelerators: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A GPU of a generation."""

    def there(generation: int, **also) -> None:
        accelerators("cuda", **also)
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (generation, 0))

    return there


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Install empty packages of these names."""

    def install(*names: str) -> None:
        for name in names:
            path = tmp_path.joinpath(*name.split("."))
            path.mkdir(parents=True)
            for folder in (path, *list(path.parents)[: name.count(".")]):
                (folder / "__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()

    yield install
    for name in ("flash_attn", "flash_attn.cute", "flash_attn_interface"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("generation", "installed", "expected"),
    [
        (9, ("flash_attn_interface",), "FA3"),
        (9, ("flash_attn.cute",), "FA4"),
        (10, ("flash_attn_interface", "flash_attn.cute"), "FA4"),
        (10, ("flash_attn_interface",), "stock"),
        (8, ("flash_attn_interface", "flash_attn.cute"), "stock"),
        (9, (), "stock"),
    ],
)
def test_auto_takes_what_fits_and_is_installed(gpus, packages, generation, installed, expected) -> None:
    gpus(generation)
    packages(*installed)
    assert flash_attention.choose("auto", devices.chosen()) == expected
    assert flash_attention.choose("stock", devices.chosen()) == "stock"
    assert flash_attention.choose("auto", devices.chosen(), "float32") == "stock"


def test_what_cannot_be_used_is_refused(gpus, packages) -> None:
    assert flash_attention.choose("auto", torch.device("cpu")) == "stock"
    with pytest.raises(UsageError, match=r"FA3: it needs a Hopper GPU .*, and cpu computes; leave flash_attention out"):
        flash_attention.choose("FA3", torch.device("cpu"))
    gpus(8)
    with pytest.raises(UsageError, match=r"FA4: it needs a Hopper GPU .* or a Blackwell GPU, and NVIDIA H200 computes"):
        flash_attention.choose("FA4", devices.chosen())
    gpus(9)
    with pytest.raises(UsageError, match="the package flash_attn_interface is not installed"):
        flash_attention.choose("FA3", devices.chosen())
    packages("flash_attn_interface")
    with pytest.raises(UsageError, match="it computes in bfloat16 only"):
        flash_attention.choose("FA3", devices.chosen(), "float32")
    with pytest.raises(UsageError, match="give stock, auto, FA3 or FA4"):
        flash_attention.choose("FA2", devices.chosen())
    with pytest.raises(UsageError, match="does not expose FA3"), flash_attention.using("FA3"):
        pass


def test_the_first_line_names_it_while_it_is_used(gpus, packages) -> None:
    from torch.nn.attention import register_flash_attention_impl
    from torch.nn.attention._fa3 import register_flash_attention_fa3

    gpus(9)
    packages("flash_attn_interface")
    register_flash_attention_impl("FA3", register_fn=lambda: SimpleNamespace(remove=lambda: None))
    try:
        with flash_attention.using("auto"):
            assert "variable-length attention (FA3), 1 process" in devices.describe()
        assert "variable-length attention, 1 process" in devices.describe()
    finally:
        register_flash_attention_impl("FA3", register_fn=register_flash_attention_fa3)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["FA3", "FA4"])
def test_vectors_are_those_of_torchs_own(name: str) -> None:
    import tiny

    device = devices.chosen()
    try:
        flash_attention.choose(name, device)
    except UsageError as error:
        pytest.skip(str(error))
    objective, batches = tiny.run("contriever-inbatch", "new", seed=5, dropout=0.0)
    devices.place(objective, device)
    found = []
    for asked in ("stock", name):
        with flash_attention.using(asked), torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            found.append(objective.encoder(batches(0).rows).float())
    torch.testing.assert_close(*found, rtol=2e-2, atol=2e-2)
