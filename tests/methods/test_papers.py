"""The papers of every card: complete, agreeing with what the method's file says, and valid BibTeX."""

import re
import unicodedata

import pytest

from pretrieve import methods
from pretrieve.methods import Paper, bibtex

ARXIV = re.compile(r"\b\d{4}\.\d{5}\b")
REQUIRED = {
    "inproceedings": {"author", "title", "booktitle", "year"},
    "article": {"author", "title", "journal", "year"},
    "misc": {"author", "title", "year", "eprint"},
}


def parsed(text: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Kind and fields of every entry by its key; a text that is no BibTeX fails."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for entry in text.strip().split("\n\n"):
        head, *lines, end = entry.split("\n")
        kind, key = re.fullmatch(r"@(\w+)\{([a-z0-9]+),", head).groups()
        assert end == "}"
        assert key not in found, f"{key} twice"
        fields = dict(re.fullmatch(r"  (\w+) = \{(.+)\},", line).groups() for line in lines)
        assert len(fields) == len(lines)
        for value in fields.values():
            depth = 0
            for character in re.sub(r"\\[{}]", "", value):
                depth += {"{": 1, "}": -1}.get(character, 0)
                assert depth >= 0, value
            assert depth == 0, value
            assert not re.search(r"(?<!\\)[&%$#_]", value), value
        found[key] = kind, fields
    return found


def plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text).casefold()
    return " ".join(re.sub(r"[^a-z0-9]+", " ", letters.encode("ascii", "ignore").decode()).split())


@pytest.mark.parametrize("name", methods.names())
def test_every_method_has_papers_that_are_those_of_its_file(name: str) -> None:
    module, _ = methods.find(name)
    said, papers = plain(module.__doc__), module.CARD.papers
    titles = [plain(title) for title in re.findall(r"\*([^*]+)\*", module.__doc__)]
    assert papers
    for source in (module.__doc__, module.CARD.paper):
        assert set(ARXIV.findall(source)) <= {paper.arxiv for paper in papers}
    for paper in papers:
        words = said.split()
        assert plain(paper.authors.split(", ")[0]).split()[-1] in words
        assert str(paper.year) in words
        assert paper.venue in module.__doc__ or name == "structure"
        if titles and paper.arxiv in module.__doc__:
            assert any(plain(paper.title).startswith(title) for title in titles)


def test_all_entries_are_valid_and_have_keys_of_their_own() -> None:
    papers = [paper for name in methods.names() for paper in methods.facts(name).card.papers]
    found = parsed(bibtex(papers))
    assert len(found) == len(set(papers)) == len({paper.arxiv for paper in papers})
    for kind, fields in found.values():
        assert REQUIRED[kind] <= fields.keys()
        assert re.fullmatch(r"\d{4}\.\d{5}", fields["eprint"])
        assert all(author.isascii() and " " in author for author in fields["author"].split(" and "))
    assert found["izacard2022unsupervised"][1]["journal"] == "TMLR"
    assert "Ana Marasovi{\\'c}" in found["gururangan2020dont"][1]["author"]


def test_what_tex_reads_as_signs_is_escaped() -> None:
    paper = Paper(authors="Ada Müller, Bo Çelik", title="A_b & 50 % of {x}", year=2020, arxiv="2001.00001")
    assert paper.key == "muller2020ab"
    text = paper.bibtex()
    assert '{\\"u}' in text
    assert "{\\c C}elik" in text
    assert parsed(text)["muller2020ab"][1]["title"] == "{A\\_b \\& 50 \\% of {x}}"
