"""Options of every command that reads documents: the fields that hold what, and what to do about bad records."""

from __future__ import annotations

from typing import Literal

from pretrieve.text.corpus import Fields

OnBad = Literal["fail", "skip", "quarantine"]


def fields_of(
    *,
    text: str | None,
    title: str | None,
    identity: str | None,
    group: str | None,
    titles: bool,
    wikipedia: bool = False,
) -> Fields:
    """Names of fields as the user gave them; None leaves the usual conventions."""
    return Fields(text=text, title=title, id=identity, group=group, use_titles=titles, wikipedia=wikipedia)


def field_words(fields: Fields) -> list[str]:
    """Options of a command that say which fields of the sources hold what, those that are not usual."""
    words: list[str] = []
    for name in ("text", "title", "id", "group"):
        words += [f"--{name}-field", value] if (value := getattr(fields, name)) else []
    words += [] if fields.use_titles else ["--without-titles"]
    return words + (["--wikipedia"] if fields.wikipedia else [])
