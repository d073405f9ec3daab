"""pretrieve: point it at your documents, get a better retriever, no labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pretrieve.retriever import Retriever

__all__ = ["Retriever"]


def __getattr__(name: str) -> Any:
    """Import ``Retriever`` when it is first asked for: the command line starts without it."""
    if name == "Retriever":
        from pretrieve.retriever import Retriever

        return Retriever
    raise AttributeError(f"module 'pretrieve' has no attribute {name!r}")
