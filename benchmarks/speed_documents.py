"""What reading PDF files and dumps costs beside the libraries that do the parsing, on one core.

    python benchmarks/speed_documents.py [FOLDER] [--pages 400] [--rounds 5]

PDF: ``pypdfium2`` alone gives the text of all pages; beside it is what pretrieve's reader takes in both of its
processes, with their start. Wikitext and DOCX: megabytes a second, beside expat alone on the same bytes. All in CPU
seconds, in turns; the medians are printed. Without FOLDER (of PDF files) a file of ``--pages`` pages is made.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from xml.parsers import expat

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import made_files as made
from pretrieve.text.corpus import MAX_RECORD_BYTES
from pretrieve.text.formats import pdf_pages
from pretrieve.text.readers import docx, pdf, xml
from pretrieve.text.records import Record

LETTERS = "etaoinshrdlucmfwypvbgk"


def prose(words: int, seed: int) -> str:
    rng = random.Random(seed)
    return " ".join("".join(rng.choices(LETTERS, k=rng.randint(2, 10))) for _ in range(words)) + "."


def dump(path: Path, pages: int) -> Path:
    """A dump of MediaWiki with links, templates, references and headings."""
    with path.open("w") as file:
        file.write("<mediawiki>")
        for number in range(pages):
            text = "".join(
                f"== Part {part} ==\n'''{prose(20, part)}''' [[{prose(2, number)}|link]] {{{{cite|a=b}}}} "
                f"{prose(200, part)}"
                "&lt;ref&gt;a reference&lt;/ref&gt;\n"
                for part in range(5)
            )
            head = f"<page><title>P{number}</title><ns>0</ns><id>{number}</id>"
            file.write(f"{head}<revision><text>{text}</text></revision></page>\n")
        file.write("</mediawiki>")
    return path


def pdfium(files: list[Path]) -> int:
    import pypdfium2

    characters = 0
    for path in files:
        try:
            document = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError:
            continue
        for number in range(len(document)):
            page = document[number]
            words = page.get_textpage()
            characters += len(words.get_text_range())
            words.close()
            page.close()
        document.close()
    return characters


def read_pdf(files: list[Path]) -> int:
    return sum(
        len(str(item.fields["text"]))
        for path in files
        for item in pdf.read(path, MAX_RECORD_BYTES)
        if isinstance(item, Record)
    )


def expat_alone(data: bytes) -> None:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = parser.EndElementHandler = parser.CharacterDataHandler = lambda *_: None
    parser.Parse(data, True)


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process and of those that it ended."""
    start = sum(os.times()[:4])
    work()
    pdf_pages.stop()
    return sum(os.times()[:4]) - start


def compare(
    name: str, ours: Callable[[], object], alone: Callable[[], object], amount: float, unit: str, rounds: int
) -> None:
    pairs = [(seconds(alone), seconds(ours)) for _ in range(rounds)]
    library, reader = (statistics.median(values) for values in zip(*pairs, strict=True))
    ratio = statistics.median(alone / ours for alone, ours in pairs)
    print(
        f"{name}: {amount / reader:,.0f} {unit}/s; the parser alone {amount / library:,.0f} {unit}/s; ratio {ratio:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--pages", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if arguments.folder:
            files = sorted(arguments.folder.rglob("*.pdf"))
        else:
            files = [made.pdf(place / "a.pdf", [[prose(250, number)] for number in range(arguments.pages)])]
        pages = sum("text" in message for path in files for message in _messages(path))
        compare("PDF", lambda: read_pdf(files), lambda: pdfium(files), pages, "pages", arguments.rounds)
        path = dump(place / "a.xml", 300)
        data = path.read_bytes()
        size = len(data) / 1e6
        compare("MediaWiki", lambda: list(xml.read(path, MAX_RECORD_BYTES)), lambda: expat_alone(data), size, "MB", 3)
        word = made.docx(place / "a.docx", "".join(made.paragraph(prose(60, number)) for number in range(5_000)))
        whole = made.zipfile.ZipFile(word).read("word/document.xml")
        size = len(whole) / 1e6
        compare("DOCX", lambda: list(docx.read(word, MAX_RECORD_BYTES)), lambda: expat_alone(whole), size, "MB", 3)


def _messages(path: Path) -> list[dict[str, object]]:
    from pretrieve.text.files.streams import DamagedStreamError

    try:
        return list(pdf_pages.messages(path))
    except DamagedStreamError:
        return []


if __name__ == "__main__":
    main()
