"""XML: dumps of MediaWiki and StackExchange, PubMed, feeds, articles, WikiExtractor; faults, bombs, memory."""

from __future__ import annotations

import bz2
import gzip
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrieve.core.errors import DataError
from pretrieve.text.corpus import MAX_RECORD_BYTES, ReadReport, read
from pretrieve.text.formats.markup.wikitext import outline, plain
from pretrieve.text.readers import xml
from pretrieve.text.records import Fault, Note, Record

PAGE = """<page><title>{title}</title><ns>{ns}</ns><id>{id}</id>{more}<revision><id>1</id><model>wikitext</model>
<text xml:space="preserve">{text}</text></revision></page>
"""
MEDIAWIKI = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/">
<siteinfo><namespaces>
<namespace key="6">Datei</namespace><namespace key="14">Kategorie</namespace></namespaces></siteinfo>
{pages}</mediawiki>"""
POSTS = """<?xml version="1.0" encoding="utf-8"?>
<posts>
  <row Id="1" PostTypeId="1" Title="How to sort?" Body="&lt;p&gt;A &lt;b&gt;list&lt;/b&gt;.&lt;/p&gt;"
    Tags="&lt;c#&gt;&lt;list&gt;" />
  <row Id="2" PostTypeId="2" ParentId="1" Body="&lt;p&gt;Use sorted.&lt;/p&gt;" />
  <row Id="3" PostTypeId="2" ParentId="99" Body="&lt;p&gt;Orphan.&lt;/p&gt;" />
  <row Id="4" PostTypeId="5" Body="a wiki" />
</posts>
"""
PUBMED = """<?xml version="1.0"?><!DOCTYPE PubmedArticleSet SYSTEM "http://dtd.nlm.nih.gov/pubmed.dtd">
<PubmedArticleSet>
<PubmedArticle><MedlineCitation><PMID Version="1">123</PMID><Article><ArticleTitle>On <i>E. coli</i></ArticleTitle>
<Abstract><AbstractText Label="METHODS">We fed it &alpha;.</AbstractText>
<AbstractText Label="RESULTS">It grew.</AbstractText>
</Abstract></Article><CommentsCorrectionsList><CommentsCorrections><PMID>9</PMID></CommentsCorrections>
</CommentsCorrectionsList></MedlineCitation></PubmedArticle>
<PubmedArticle><MedlineCitation><PMID>124</PMID><Article><ArticleTitle>Bare</ArticleTitle></Article></MedlineCitation>
</PubmedArticle></PubmedArticleSet>
"""
RSS = """<rss version="2.0"><channel><title>Blog</title><item><title>First</title><link>http://a.org/1</link>
<description>short</description><content:encoded><![CDATA[<p>Long <b>text</b>.</p>]]></content:encoded></item>
<item><title>Bare</title><guid>g2</guid></item></channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>F</title><entry><title>Entry</title><id>urn:1</id>
<content type="xhtml"><div>Some <b>words</b>.</div></content></entry></feed>"""
JATS = """<article><front><journal-meta><journal-id>J</journal-id></journal-meta><article-meta><title-group>
<article-title>A study</article-title></title-group>
<contrib-group>Names</contrib-group><abstract><p>An <italic>abstract</italic>.</p>
</abstract></article-meta></front><body><sec><title>Intro</title><p>{long}</p>
<fig><caption><title>Fig</title><p>Cap.</p></caption></fig>
<p>More <xref>1</xref>.</p><sec><title>Deep</title><p>Below.</p></sec></sec></body>
<back><ref-list>refs</ref-list></back></article>"""
WIKI = (
    '<doc id="7" url="http://x" title="A &quot;b&quot;">\nA "b"\n\nText &lt;one&gt;.\nLine.\n</doc>\n'
    '<doc id="8" url="u" title="C">\nC\n\nTwo.\n</doc>\n'
)


def documents(path: Path, content: str | bytes, **options: object) -> dict[str, tuple[str, str]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return {found.id: (found.title, found.text) for found in read([path], **options)}


def test_articles_of_mediawiki(tmp_path: Path) -> None:
    pages = (
        PAGE.format(
            title="Elbe", ns=0, id=12, more="",
            text="[[Datei:E.jpg|mini|Die [[Elbe]]]]Die '''Elbe''' ist ein [[Fluss|Strom]]."
            "&lt;ref name=a/&gt;&lt;ref&gt;x&lt;/ref&gt; {{Infobox|a={{b}}}}\n"
            "== Verlauf ==\nIm [[Norden]].\n[[Kategorie:Fluss]]",
        )
        + PAGE.format(title="E", ns=0, id=13, more='<redirect title="Elbe"/>', text="#REDIRECT [[Elbe]]")
        + PAGE.format(title="Talk:E", ns=1, id=14, more="", text="hi")
    )  # fmt: skip
    report = ReadReport()
    path = tmp_path / "dewiki-pages-articles.xml.bz2"
    found = documents(path, bz2.compress(MEDIAWIKI.format(pages=pages).encode()), report=report)
    assert found == {"12": ("Elbe", "Die Elbe ist ein Strom.\n\nVerlauf\n\nIm Norden.")}
    assert report.notes == {"with pages that are no articles, left out": 1}
    assert f"{path}: with pages that are no articles, left out (1 redirects, 1 of other namespaces)" in report.examples


def test_long_articles_are_cut_at_their_headings(tmp_path: Path) -> None:
    text = "".join(f"== Part {number} ==\n{'Some words. ' * 100}{number}\n" for number in range(3))
    page = PAGE.format(title="Elbe", ns=0, id=12, more="", text=text)
    found = documents(tmp_path / "a.xml", MEDIAWIKI.format(pages=page))
    assert {name: title for name, (title, _) in found.items()} == {f"12#{n + 1}": f"Elbe > Part {n}" for n in range(3)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("'''Bold''' and ''slanted''", "Bold and slanted"),
        ("a <!-- no --> b", "a  b"),
        ("{{lang|de|Elbe}}, {{convert|110|km|mi}}", "Elbe, 110 km"),
        ("x{{a|{{b}}|c}}y", "xy"),
        ("x{|\n| {{a}} || b\n|}y", "xy"),
        ("x{{a|b|}}y", "xy"),
        ("[[a|b]] [[c]] [[:Category:d]] [[de:Elbe]] [[File:x.png|thumb|a [[b]] c]]", "b c Category:d"),
        ("[http://a.org label] [http://b.org]", "label"),
        ("a &amp;nbsp;b &lt;i&gt;", "a  b <i>"),
        ("open {{ stays [[ here", "open {{ stays  here"),
        ("<math>x^2</math><br>new <span class='a'>s</span>", "new s"),
    ],
)
def test_wikitext(source: str, expected: str) -> None:
    assert plain(source).strip() == expected


def test_headings_of_wikitext_that_are_none() -> None:
    for source in ("=", "==", "===", "= =", "====="):
        assert list(outline(source, "T").records(Path("p")))


OPEN = (
    "{{",
    "[[",
    "<ref>",
    "<!--",
    "{|",
    "{{|}",
    "=",
    "'",
    "[http://",
    "<a",
    "{{lang|de|",
    "{{convert|",
    "<ref ",
    "|}",
    "[[a|",
)


@pytest.mark.parametrize("mark", OPEN)
def test_wikitext_is_read_in_linear_time(mark: str) -> None:
    assert _seconds(mark * 160_000) < 3  # a tenth of that; what is not linear takes minutes


def _seconds(source: str) -> float:
    start = time.process_time()
    outline(source, "T")
    return time.process_time() - start


def test_questions_and_answers_of_stackexchange(tmp_path: Path) -> None:
    report = ReadReport()
    assert documents(tmp_path / "Posts.xml", POSTS, report=report) == {
        "1": ("How to sort?", "A list.\n\nTags: c#, list"),
        "2": ("How to sort?", "Use sorted."),
        "3": ("", "Orphan."),
    }
    assert report.notes == {
        "with posts that are no questions or answers, left out": 1,
        "with answers whose question is not in it, without a title": 1,
    }
    with pytest.raises(DataError, match=r"Users\.xml:1: no posts \(the users of StackExchange\)"):
        documents(tmp_path / "Users.xml", "<users><row Id='1'/></users>")


def test_abstracts_of_pubmed(tmp_path: Path) -> None:
    found = documents(tmp_path / "pubmed.xml.gz", gzip.compress(PUBMED.encode()))
    assert found == {
        "123": ("On E. coli", "METHODS: We fed it α.\n\nRESULTS: It grew."),
        "124": ("Bare", "Bare"),
    }


def test_feeds(tmp_path: Path) -> None:
    assert documents(tmp_path / "a.xml", RSS) == {"http://a.org/1": ("First", "Long text."), "g2": ("Bare", "Bare")}
    assert documents(tmp_path / "b.atom", ATOM) == {"urn:1": ("Entry", "Some words.")}


def test_articles_and_other_xml(tmp_path: Path) -> None:
    path = tmp_path / "a.nxml"
    long = "Some words. " * 300
    found = documents(path, JATS.format(long=long))
    assert found == {
        f"{path}#1": ("A study", "An abstract."),
        f"{path}#2": ("A study > Intro", f"{long.strip()}\n\nFig\n\nCap.\n\nMore 1."),
        f"{path}#3": ("A study > Intro > Deep", "Below."),
    }
    other = '<?xml version="1.0" encoding="windows-1251"?><catalogue><thing>Река &eacute;</thing><b>two</b></catalogue>'
    found = documents(tmp_path / "b.xml", other.encode("cp1251"))
    assert [text for _, text in found.values()] == ["Река é\n\ntwo"]
    assert [text for _, text in documents(tmp_path / "c.xml", "<a>日本</a>".encode("utf-16")).values()] == ["日本"]
    japanese = '<?xml version="1.0" encoding="Shift_JIS"?><a>日本の川</a>'.encode("cp932")
    assert [text for _, text in documents(tmp_path / "d.xml", japanese).values()] == ["日本の川"]


def test_output_of_wikiextractor_has_no_suffix(tmp_path: Path) -> None:
    assert documents(tmp_path / "wiki_00", WIKI) == {"7": ('A "b"', "Text <one>.\n\nLine."), "8": ("C", "Two.")}
    report = ReadReport()
    documents(tmp_path / "wiki_01", WIKI + WIKI[:60].replace("7", "9"), report=report, on_bad="skip")
    assert report.faults == {"cut page": 1}


def faults(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content)
    found = list(xml.read(path, MAX_RECORD_BYTES))
    assert all(isinstance(item, Record | Fault | Note) for item in found)
    return [str(item) for item in found if isinstance(item, Fault)]


def test_what_is_damaged_gives_what_was_before(tmp_path: Path) -> None:
    path = tmp_path / "Posts.xml"
    assert len(documents(path, POSTS[: POSTS.index('<row Id="4"') + 30], on_bad="skip")) == 3
    assert faults(path, POSTS[: POSTS.index('<row Id="4"') + 30].encode()) == [
        f"{path}:1: malformed XML (line 7: unclosed token)"
    ]
    assert faults(path, b"") == [f"{path}:1: empty file"]
    assert faults(path, b"<a/>") == [f"{path}:1: no text"]


def test_bombs_and_foreign_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
    start = f'<!DOCTYPE d [<!ENTITY e0 "lol"><!ENTITY f SYSTEM "file://{secret}">{entities}]>'
    (fault,) = faults(tmp_path / "a.xml", f"{start}<a>&e9;</a>".encode())
    assert "limit on input amplification" in fault
    assert faults(tmp_path / "a.xml", f"{start}<a>&f;</a>".encode()) == [f"{tmp_path / 'a.xml'}:1: no text"]


def test_a_record_that_is_too_long_is_passed_over(tmp_path: Path) -> None:
    pages = "".join(
        PAGE.format(title=str(number), ns=0, id=number, more="", text="word " * size)
        for number, size in enumerate((10, 100_000, 20))
    )
    report = ReadReport()
    found = documents(
        tmp_path / "a.xml", MEDIAWIKI.format(pages=pages), report=report, on_bad="skip", max_record_bytes=100_000
    )
    assert list(found) == ["0", "2"]
    assert report.faults == {"too long": 1}
    (fault,) = faults(tmp_path / "b.xml", b"<posts><row Body='" + b"x" * (30 << 20))
    assert "too long (more than 10,485,760 bytes in one tag)" in fault


def test_large_files_are_read_in_bounded_memory(tmp_path: Path) -> None:
    """8 MB of pages, of posts and of plain elements; 300,000 elements inside one another."""

    def written(name: str, start: bytes, block: bytes, end: bytes, count: int) -> Path:
        with (tmp_path / name).open("wb") as file:
            file.write(start)
            file.writelines(block for _ in range(count))
            file.write(end)
        return tmp_path / name

    page = PAGE.format(title="T", ns=0, id=1, more="", text="Some [[words]] here. " * 200).encode()
    row = b'<row Id="1" PostTypeId="2" ParentId="2" Body="' + b"word " * 800 + b'"/>\n'
    files: Iterator[Path] = iter(
        [
            written("a.xml", b"<mediawiki>", page, b"</mediawiki>", 2_000),
            written("b.xml", b"<posts>", row, b"</posts>", 2_000),
            written("c.xml", b"<any>", b"<p>" + b"word " * 800 + b"</p>", b"</any>", 2_000),
            written("d.xml", b"", b"<a>", b"x", 300_000),
        ]
    )
    for path in files:
        tracemalloc.start()
        count = sum(1 for _ in xml.read(path, MAX_RECORD_BYTES))
        assert tracemalloc.get_traced_memory()[1] < (90e6 if path.name == "d.xml" else 20e6), path.name
        tracemalloc.stop()
        assert count >= 1


@settings(deadline=None)
@given(data=st.data())
def test_damaged_files_give_faults_alone(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    pages = PAGE.format(title="A", ns=0, id=1, more="", text="{{a}} [[b|c]] == d ==")
    sources = [MEDIAWIKI.format(pages=pages), POSTS, PUBMED, RSS, ATOM, JATS, WIKI]
    whole = data.draw(st.sampled_from(sources)).encode()
    place = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["random", "cut", "changed"]))
    damage = data.draw(st.binary(max_size=60))
    content = {"random": damage, "cut": whole[:place], "changed": whole[:place] + damage + whole[place + 1 :]}[kind]
    faults(tmp_path_factory.mktemp("damaged") / "a.xml", content)


@settings(deadline=None)
@given(source=st.text(st.sampled_from("{}[]|='<>!-/#*: \nabref&;h")))
def test_any_wikitext_is_read(source: str) -> None:
    list(outline(source, "T").records(Path("p")))
