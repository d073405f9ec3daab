"""Values of options that a shell completes. Nothing here imports torch; what cannot be listed completes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from pretrieve.core.errors import PretrieveError

Completed = Callable[[str], list[str]]
_VARIABLE = "_PRETRIEVE_COMPLETE"  # set by the shell's script when it asks
_OPTIONS = ("--install-completion", "--show-completion")
_UNKNOWN_SHELL = (
    "the shell that this runs in is not known. _PRETRIEVE_COMPLETE=source_bash pretrieve prints the script for bash "
    "(source_zsh and source_fish: for these); put it where your shell reads it, such as ~/.bashrc."
)


def is_completing() -> bool:
    """Whether a shell asks for completions: nothing but them is printed then."""
    return _VARIABLE in os.environ


def missing_shell(arguments: Iterable[str], code: object) -> str:
    """What to do where no shell was found to make a script for; empty if that is not what happened.

    Args:
        arguments: the command line, without the program's name.
        code: what the command line returned.
    """
    return _UNKNOWN_SHELL if code and set(_OPTIONS) & set(arguments) else ""


def one_of(*values: str) -> Completed:
    """Complete one of these values."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


def several(complete: Completed) -> Completed:
    """Complete the last one of values that commas separate; those before it are not offered again."""

    def complete_last(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        return [f"{before}{comma}{value}" for value in complete(last) if value not in taken]

    return complete_last


def methods(incomplete: str) -> list[str]:
    """Complete a method's name, the user's own among them."""
    return [name for name in _methods() if name.startswith(incomplete)]


def methods_or_none(incomplete: str) -> list[str]:
    """Complete a method's name, or ``none``."""
    return [*one_of("none")(incomplete), *methods(incomplete)]


def negatives(*without: str) -> Completed:
    """Complete a strategy for hard negatives, the user's own among them, but none of these."""
    from pretrieve.pipeline.finetune.negatives import summaries

    return one_of(*(name for name in summaries() if name not in without))


def stemmers(incomplete: str) -> list[str]:
    """Complete a Snowball stemmer."""
    from Stemmer import algorithms

    return one_of("auto", "none", *algorithms())(incomplete)


devices = one_of("auto", "cpu", "cuda", "mps", "xpu")
settings_of_bm25 = one_of("bm25s", "lucene", "anserini")
stages = one_of("tokens", "distil", "contrast")
trackers = one_of("auto", "none", "tensorboard", "wandb", "mlflow", "comet_ml", "aim", "clearml", "swanlab", "trackio")


def _methods() -> Iterator[str]:
    import pretrieve.methods

    try:
        yield from pretrieve.methods.names()
    except PretrieveError:  # said by the command
        return
