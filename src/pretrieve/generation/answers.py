"""Reading a generator's answer: the queries alone, without numbers, bullets, quotes or remarks."""

from __future__ import annotations

import re

import orjson

_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # but for the end of a line; some steer a terminal
# A number, a bullet or "Query 1:" in front of a query. "3.5 inch disk" keeps its number: white space has to follow.
_MARK = re.compile(r"^\s*(?:[-*•–]|\(?\d{1,3}[.):]|#+|(?:query|question)\s*\d*\s*[:.)])\s+", re.IGNORECASE)
_QUOTES = (('"', '"'), ("'", "'"), ("“", "”"), ("„", "“"), ("«", "»"), ("`", "`"), ("**", "**"))


def queries_of(answer: str, number: int, *, lines: bool) -> list[str]:
    """Return the queries of an answer, at most ``number``.

    Args:
        answer: what the generator wrote.
        number: maximum number of queries.
        lines: each line is a query; otherwise the whole first line is the only query.
    """
    text = answer.encode(errors="replace").decode()  # half a surrogate pair cannot be written
    text = _CONTROL.sub(" ", _THOUGHT.sub("", text)).strip()
    if not lines:
        return [" ".join(text.split("\n")[0].split())][:number]
    found = _listed(text) or [line for line in text.splitlines() if not _is_remark(line)]
    queries = [_bare(item) for item in found]
    return [query for query in queries if query][:number] or [""]


def _listed(text: str) -> list[str]:
    """The queries of an answer that is a JSON array of them; nothing otherwise."""
    inner = re.sub(r"^```\w*\n|\n```$", "", text)
    if not inner.startswith("["):
        return []
    try:
        value = orjson.loads(inner)
    except ValueError:
        return []
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _is_remark(line: str) -> bool:
    """Whether a line is no query: empty, a fence, a rule, or an introduction (``Here are three queries:``)."""
    text = line.strip().strip("*")
    return not text or text.startswith("```") or text.endswith((":", "：")) or not re.search(r"\w", text)


def _bare(line: str) -> str:
    """A query without marks in front of it and quotes around it."""
    text = _MARK.sub("", " ".join(line.split())).strip()
    for first, last in _QUOTES:
        if len(text) > len(first) + len(last) and text.startswith(first) and text.endswith(last):
            text = text[len(first) : -len(last)].strip()
    return text
