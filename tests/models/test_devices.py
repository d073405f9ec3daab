"""Which device is chosen, which is refused, and what is said of it."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from pretrieve.core.errors import UsageError
from pretrieve.models import devices


def test_without_an_accelerator_auto_is_the_cpu() -> None:
    assert devices.chosen() == torch.device("cpu")
    assert devices.describe("float32", attention=False) == "device: cpu, float32, 1 process"
    assert devices.idle_accelerator() == ""


def test_auto_takes_the_accelerator(accelerators: Callable[..., None]) -> None:
    accelerators("cuda", 2)
    assert devices.chosen() == torch.device("cuda", 0)
    assert devices.describe() == "device: cuda:0 (NVIDIA H200), bfloat16, variable-length attention, 1 process"
    with devices.using("cuda:1"):
        assert devices.chosen() == torch.device("cuda", 1)
        with devices.using("auto"):
            assert devices.chosen() == torch.device("cuda", 1)
        with devices.using("cpu"):
            assert devices.chosen() == torch.device("cpu")
    assert devices.chosen() == torch.device("cuda", 0)


@pytest.mark.parametrize(("kind", "computed"), [("cuda", "bfloat16"), ("mps", "float32")])
def test_auto_precision_is_what_the_device_has(accelerators, kind: str, computed: str) -> None:
    accelerators(kind)
    assert devices.precision_of("auto", devices.chosen()) == computed
    assert devices.precision_of("float32", devices.chosen()) == "float32"


def test_old_cards_stay_in_single_precision(accelerators: Callable[..., None]) -> None:
    accelerators("cuda", bfloat16=False)
    assert "float32, attention by rows of equal length" in devices.describe()


def test_the_cpu_stays_in_single_precision() -> None:
    assert devices.precision_of("auto", torch.device("cpu")) == "float32"
    assert devices.precision_of("bfloat16", torch.device("cpu")) == "bfloat16"


def test_double_precision_is_refused_on_mps(accelerators: Callable[..., None]) -> None:
    accelerators("mps")
    with pytest.raises(UsageError, match="mps has none"):
        devices.precision_of("float64", devices.chosen())


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps", "xpu"])
def test_an_accelerator_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"--device {name}: PyTorch .* finds no accelerator here"):
        devices.check(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CUDA", "0", ""])
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="give auto, cpu, cuda, cuda:1, mps or xpu"):
        devices.check(name)


def test_another_number_or_kind_is_refused(accelerators: Callable[..., None]) -> None:
    accelerators("cuda", 2)
    with pytest.raises(UsageError, match="--device cuda:2: there is no such device here; give one of cuda:0, cuda:1"):
        devices.check("cuda:2")
    with pytest.raises(UsageError, match=r"--device mps: PyTorch .* finds cuda here"):
        devices.check("mps")


def test_an_idle_accelerator_is_warned_of(accelerators: Callable[..., None]) -> None:
    accelerators("cuda")
    assert devices.idle_accelerator() == ""
    with devices.using("cpu"):
        assert "an accelerator is idle: leave --device out to use cuda" in devices.idle_accelerator()


def test_choosing_imports_no_torch() -> None:
    code = "import sys; from pretrieve.models import devices; devices.check('cpu'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_query_encoders_of_untied_bases_are_moved_too() -> None:
    import tiny

    documents, queries = (tiny.encoder("static", tiny.store()) for _ in range(2))
    documents.untie(queries)
    devices.place(documents, torch.device("meta"))
    assert {p.device.type for p in (*documents.parameters(), *queries.parameters())} == {"meta"}
