"""The prompt: a template with the document, cut to the length that the generator reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pretrieve.core.errors import UsageError, suggest
from pretrieve.core.types import Document

Kind = Literal["chat", "plain", "seq2seq"]  # answers messages; continues a text; maps a text to a text

_FIELDS = ("document", "title", "number")
_FIELD = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"\S+")

_CHAT = """Write {number} different search queries that the document below answers, as people type them into a search \
engine. Use the language of the document and, where you can, other words than it does. Each query must be clear \
without the document. Answer with the queries alone, one on each line.

Title: {title}
Document: {document}"""

# A model without a chat template continues a text, so it is shown what to write (InPars, arXiv 2202.05144).
_PLAIN = """Document: Honey keeps for years in a closed jar, because it holds too little water for bacteria to grow. \
When it turns solid, a bowl of warm water makes it liquid again.
Query: why does honey not go bad

Document: The night train leaves Vienna at 19:42 and reaches Venice at 8:34. Seats in the sleeping car are sold from \
six months before the journey.
Query: how early can I book a sleeper from Vienna to Venice

Document: {document}
Query:"""

# A doc2query model was trained on texts without an instruction; GPL's released code puts the title before the text.
DEFAULTS: dict[Kind, str] = {"chat": _CHAT, "plain": _PLAIN, "seq2seq": "{title} {document}"}


@dataclass(frozen=True)
class Prompt:
    """A template and how it is filled.

    Attributes:
        template: text with ``{document}``, and maybe ``{title}`` and ``{number}``.
        number: queries to generate per document.
        words: a document is cut after so many words.

    Raises:
        UsageError: the template has no ``{document}``, or an unknown field.
    """

    template: str
    number: int
    words: int

    def __post_init__(self) -> None:
        for name in _FIELD.findall(self.template):
            if name not in _FIELDS:
                raise UsageError(f"--prompt: unknown field {{{name}}}.{suggest(name, _FIELDS)}")
        if "{document}" not in self.template:
            raise UsageError("--prompt holds no {document}: put it where the document's text belongs.")

    @property
    def at_once(self) -> bool:
        """Whether one answer holds all queries of a document, one on each line: the template names ``{number}``."""
        return "{number}" in self.template

    def fill(self, document: Document, words: int | None = None) -> str:
        """Put a document into the template.

        A line about the title is left out for a document without one.

        Args:
            document: the document.
            words: cut its text after so many words instead.
        """
        template = self.template
        if not document.title:
            kept = [line for line in template.split("\n") if "{title}" not in line or "{document}" in line]
            template = "\n".join(kept)
        text = opening(document.text, self.words if words is None else words)
        values = {"document": text, "title": document.title, "number": str(self.number)}
        filled = _FIELD.sub(lambda match: values[match[1]], template)  # in one pass: a document may hold "{title}"
        return filled if document.title else filled.lstrip()


def opening(text: str, words: int) -> str:
    """The first words of a text, with the white space between them as it is."""
    end = 0
    for count, match in enumerate(_WORD.finditer(text)):
        if count == words:
            return text[:end]
        end = match.end()
    return text
