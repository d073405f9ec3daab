"""Makes ``tests/`` importable for its folders (``from tiny import ...``), and one thread the rule.

Property tests try the same examples in every ``make test``, so that a change is judged and not the day's luck; ``make
torture`` looks for new ones. The tests of ``slow.txt`` are marked slow, and ``make quick`` leaves them out.
"""

import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import settings

SLOW = Path(__file__).parent / "slow.txt"  # a folder, file or test function a line; `make slow` writes functions
SECONDS = 1.0  # of all cases of a function, what they set up included, from which it is slow
_spent: Counter[str] = Counter()

torch.set_num_threads(1)
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


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _spent[_function(report.nodeid)] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--write-slow"):
        slow = sorted(name for name, seconds in _spent.items() if seconds >= SECONDS)
        SLOW.write_text("".join(f"{name}\n" for name in slow))


def _function(nodeid: str) -> str:
    """A test's function, as ``slow.txt`` names it."""
    return nodeid.removeprefix("tests/").split("[")[0]
