"""Contract tests for authors of methods, on tiny documents and encoders made in memory.

Example:
    >>> import neighbours  # doctest: +SKIP
    >>> from pretrieve.testing import check_method
    >>> check_method(neighbours)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import cast

import torch

from pretrieve.core.errors import ExtensionError
from pretrieve.core.extensions import failing_line
from pretrieve.methods import Method, check
from pretrieve.testing.contract import PROMISES, card_and_presets_are_whole
from pretrieve.testing.stock import stock_model_scores_as_ours
from pretrieve.testing.tiny import KINDS, Case

__all__ = ["check_method"]


def check_method(module: ModuleType, settings: Mapping[str, object] | None = None) -> None:
    """Check that a method fulfils the contract: every preset, on every kind of encoder that its card lists.

    The card and the values of presets are whole; ``encode`` is separable by rows, free of side effects and gives
    (B, N, V, D); ``compare`` is shared among ranks; a cached gradient is the full one; two runs are bit-equal, and so
    is a resumed one; statistics are finite; a checkpoint reloads strictly; ``explain`` covers every row; and
    sentence-transformers scores as the trained encoder does. It takes some seconds for each preset and kind.

    Args:
        module: the imported module of the method.
        settings: options to override where the presets do not fit documents of about 25 tokens.

    Raises:
        ExtensionError: a check fails; the text names the file, the preset, the check and the value found.
    """
    check(module)
    method = cast(Method, module)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for preset in method.PRESETS:
            with _told(module, f"preset {preset!r}"):
                card_and_presets_are_whole(method, preset)
            for kind in method.CARD.encoders:
                case = Case(method=method, preset=preset, kind=KINDS[kind], settings=settings or {})
                for promise in (*PROMISES, stock_model_scores_as_ours):
                    with _told(module, f"{case}: {promise.__name__.replace('_', ' ')}"):
                        promise(case)
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _told(module: ModuleType, what: str) -> Iterator[None]:
    """Convert any exception into one error that names the method's file and the check."""
    try:
        yield
    except ExtensionError:
        raise  # its text names the file and the line
    except Exception as error:
        text = " ".join(str(error).split()).removesuffix(".")
        raise ExtensionError(f"{failing_line(str(module.__file__), error)}: {what}: {text}.") from error
