"""Makes ``tests/`` importable for its folders (``from tiny import ...``), and one thread the rule.

Property tests try the same examples in every ``make test``, so that a change is judged and not the day's luck; ``make
torture`` looks for new ones. The tests of ``slow.txt`` are marked slow, and ``make quick`` leaves them out.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import settings

SLOW = Path(__file__).parent / "slow.txt"  # a folder, file or test function a line; `make slow` writes functions
SECONDS = 1.0  # of all cases of a function, what they set up included, from which it is slow
_spent: Counter[str] = Counter()

torch.set_num_threads(1)
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # for the processes of tests: sums of other threads differ in the last bits
settings.register_profile("same", derandomize=True)
settings.register_profile("new", derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-slow", action="store_true", help="Write tests/slow.txt anew from this run of all tests.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = set(SLOW.read_text().split()) if SLOW.is_file() else set()
    for item in items:
        file, _, function = _function(item.nodeid).partition("::")
        if slow & {file.split("/")[0], file, f"{file}::{function}"}:
            item.add_marker(pytest.mark.slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.accelerator.is_available():
        pytest.skip("there is no accelerator here")


@pytest.fixture
def accelerators(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let ``torch.accelerator`` find accelerators that are not there, to test what is chosen and refused."""

    def there(kind: str = "cuda", count: int = 1, name: str = "NVIDIA H200", *, bfloat16: bool = True) -> None:
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device(kind))
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
        monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 0)
        stream = SimpleNamespace(is_capturing=lambda: False)  # optimizers ask for it
        monkeypatch.setattr(torch.accelerator, "current_stream", lambda device=None: stream)
        if kind == "cuda":
            monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=None: SimpleNamespace(name=name))
            monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bfloat16)

    return there


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _spent[_function(report.nodeid)] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--write-slow"):
        slow = sorted(name for name, seconds in _spent.items() if seconds >= SECONDS)
        SLOW.write_text("".join(f"{name}\n" for name in slow))


def _function(nodeid: str) -> str:
    """A test's function, as ``slow.txt`` names it."""
    return nodeid.removeprefix("tests/").split("[")[0]
