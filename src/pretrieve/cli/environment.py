"""Where a command runs, in lines: for ``--verbose``, log files and the details of an unexpected error."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence

from pretrieve.core.shown import command_line

_PACKAGES = ("pretrieve", "torch", "transformers", "sentence-transformers", "tokenizers", "numpy", "typer", "rich")
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "HF_HOME", "HF_HUB_OFFLINE", "OMP_NUM_THREADS", "PRETRIEVE_METHODS", "PRETRIEVE_READERS",
    "RANK", "WORLD_SIZE",
)  # fmt: skip
_SECRET = "--token"  # noqa: S105 - the name of the option


def given_command(arguments: Sequence[str]) -> str:
    """The command line as it can be copied, but for secrets, which are replaced by ``***``.

    Args:
        arguments: the command line, without the program's name.
    """
    words = ["pretrieve"]
    for before, word in zip(["", *arguments], arguments, strict=False):
        secret = before == _SECRET or word.startswith(f"{_SECRET}=")
        words.append(f"{_SECRET}=***" if secret and before != _SECRET else "***" if secret else word)
    return command_line(words)


def versions() -> Iterator[str]:
    """Versions of Python and of the packages that results depend on; none is imported."""
    from importlib.metadata import PackageNotFoundError, version

    yield f"Python {platform.python_version()} on {platform.platform()}"
    for name in _PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} is not installed"


def environment() -> Iterator[str]:
    """The lines that ``--verbose`` begins with."""
    python, *packages = versions()
    yield python
    yield ", ".join(packages)
    variables = [f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ]
    yield f"{os.cpu_count()} processors; {', '.join(variables) or 'no variables that matter here'}"
    yield f"folder {_folder()}, process {os.getpid()}"


def spent(since: float) -> str:
    """Time and memory of this process.

    Args:
        since: when it began, by ``time.monotonic``.
    """
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    memory = used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    processor = used.ru_utime + used.ru_stime
    return f"{time.monotonic() - since:.1f} s, {processor:.1f} s of processors, at most {memory:,.0f} MB of memory"


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - as text
    except OSError:
        return "that is gone"
