"""Source code: a short file is a document, a longer one a document a definition with its comments, all lines kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pretrieve.text.files.streams import stem, whole_text
from pretrieve.text.formats.definitions import Definition, definitions
from pretrieve.text.formats.outline import WHOLE, located
from pretrieve.text.records import Fault, Mark, Note, Record

_LANGUAGES = """
.py .pyi .js .mjs .cjs .jsx .ts .mts .cts .tsx .vue .svelte .java .kt .kts .scala .groovy .go .rs .c .h .cc .cpp .cxx
.hh .hpp .cu .m .mm .cs .fs .vb .swift .dart .rb .php .pl .pm .lua .r .sh .bash .zsh .ksh .ps1 .bat .sql .hs .ml
.mli .ex .exs .erl .clj .lisp .el .scm .f90 .f95 .pas .zig .nim .v .sol .proto .graphql .cmake .tf .gradle
"""
SUFFIXES = tuple(_LANGUAGES.split())
_SMALL = 200  # characters of a definition that is no document of its own
_MINIFIED = 5_000  # characters of a line that nobody typed
_FOLDERS = 2  # folders of a path that a title shows
_WORD = re.compile(r"\S")
_NAMES = {
    "py": "python", "pyi": "python", "js": "javascript", "mjs": "javascript", "cjs": "javascript", "jsx": "javascript",
    "ts": "typescript", "mts": "typescript", "cts": "typescript", "tsx": "typescript", "kt": "kotlin", "kts": "kotlin",
    "rs": "rust", "h": "c", "cc": "cpp", "cxx": "cpp", "hh": "cpp", "hpp": "cpp", "cu": "cuda", "m": "objective-c",
    "mm": "objective-c", "cs": "csharp", "fs": "fsharp", "vb": "visual-basic", "rb": "ruby", "pl": "perl", "pm": "perl",
    "sh": "shell", "bash": "shell", "zsh": "shell", "ksh": "shell", "ps1": "powershell", "bat": "batch",
    "hs": "haskell", "ml": "ocaml", "mli": "ocaml", "ex": "elixir", "exs": "elixir", "erl": "erlang", "clj": "clojure",
    "el": "emacs-lisp", "scm": "scheme", "f90": "fortran", "f95": "fortran", "pas": "pascal", "sol": "solidity",
    "proto": "protobuf", "tf": "terraform",
}  # fmt: skip


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a file as one document if short, else as one document a definition, titled ``src/box.py > Box.open``.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of the file.
    """
    content = whole_text(path, limit)
    if isinstance(content, Fault):
        yield content
        return
    source, suffix = content.text, stem(path)[1]
    longest = max(map(len, source.split("\n")))
    if longest > _MINIFIED and 2 * longest > len(source):
        yield Fault(f"{path}:1", "generated code", f"a line of {longest:,} characters")
        return
    yield from content.notes
    facts = partial(_facts, suffix)
    title = "/".join(Path(str(path)).parts[-1 - _FOLDERS :])
    if len(source) <= WHOLE:
        fields = {"id": str(path), "title": title, "text": source}
        yield Record(f"{path}:1", fields, fixed=True, marks=(Mark(0, 1),), facts=facts)
        return
    number = 0
    for line, name, text in _pieces(source.split("\n"), definitions(source, suffix)):
        for part, mark in located(text, line + 1):
            number += 1
            fields = {"id": f"{path}#{number}", "title": f"{title} > {name}" if name else title, "text": part}
            yield Record(f"{path}:{line + 1}", fields, fixed=True, marks=(mark,), facts=facts, parent=str(path))


def _facts(suffix: str) -> dict[str, object]:
    """The programming language of a file."""
    name = suffix.lstrip(".")
    return {"language": _NAMES.get(name, name)}


def _pieces(lines: Sequence[str], found: Sequence[Definition]) -> Iterator[tuple[int, str, str]]:
    """Line, name and text of each piece; small ones go with the piece before, where that is around or beside them."""
    starts = [Definition(0, 0, ""), *found]
    path: list[str] = []
    held: tuple[int, str, str] | None = None
    for index, (definition, name) in enumerate(_named(starts, path)):
        stop = starts[index + 1].line if index + 1 < len(starts) else len(lines)
        text = "\n".join(lines[definition.line : stop])
        if not _WORD.search(text):
            continue
        if held is not None and (len(text) < _SMALL or len(held[2]) < _SMALL) and len(held[2]) + len(text) <= WHOLE:
            held = (held[0], held[1] if len(held[2]) >= len(text) or not name else name, f"{held[2]}\n{text}")
            continue
        if held is not None:
            yield held
        held = (definition.line, name, text)
    if held is not None:
        yield held


def _named(starts: Sequence[Definition], path: list[str]) -> Iterator[tuple[Definition, str]]:
    """Definitions with their names, below the names of those that they stand in."""
    for definition in starts:
        del path[definition.depth :]
        path.append(definition.name)
        yield definition, ".".join(name for name in path if name)
