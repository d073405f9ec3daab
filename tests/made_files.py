"""Files of Office, books and PDF, made small: zip archives of XML as programs write them, and PDF by fpdf2."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
A = (
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)
TYPES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


def archive(path: Path, parts: Mapping[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in parts.items():
            file.writestr(name, data)
    return path


def relations(found: Sequence[tuple[str, str]]) -> str:
    """Relations ``rId1``, ``rId2``... of types and targets."""
    lines = [
        f'<Relationship Id="rId{number}" Type="{TYPES}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(found, start=1)
    ]
    return f'{HEAD}<Relationships xmlns="{PACKAGE}">{"".join(lines)}</Relationships>'


def paragraph(text: str, style: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    half = len(text) // 2  # programs cut runs anywhere
    runs = "".join(f'<w:r><w:t xml:space="preserve">{escape(part)}</w:t></w:r>' for part in (text[:half], text[half:]))
    return f"<w:p>{properties}{runs}</w:p>"


def table(rows: Sequence[Sequence[str]]) -> str:
    cells = ["".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows]
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in cells)}</w:tbl>"


def docx(path: Path, body: str, **parts: str) -> Path:
    """A document; its style of headings has the id that a German Word gives it."""
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="berschrift{level}"><w:name w:val="heading {level}"/></w:style>'
        for level in (1, 2)
    )
    title = '<w:style w:type="paragraph" w:styleId="Titel"><w:name w:val="Title"/></w:style>'
    found = {
        "word/document.xml": f"{HEAD}<w:document {W}><w:body>{body}</w:body></w:document>",
        "word/styles.xml": f"{HEAD}<w:styles {W}>{styles}{title}</w:styles>",
    }
    return archive(path, found | {name.replace("__", "/") + ".xml": part for name, part in parts.items()})


def shape(lines: Sequence[str], kind: str = "body") -> str:
    text = "".join(f"<a:p><a:r><a:t>{escape(line)}</a:t></a:r></a:p>" for line in lines)
    return f'<p:sp><p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr><p:txBody>{text}</p:txBody></p:sp>'


def pptx(path: Path, slides: Sequence[tuple[str, Sequence[str], str]]) -> Path:
    """A presentation of slides: title, lines, notes. The files of slides are numbered from the last one."""
    count = len(slides)
    files = [f"slides/slide{count - number}.xml" for number in range(count)]
    order = "".join(f'<p:sldId id="{256 + number}" r:id="rId{number + 1}"/>' for number in range(count))
    parts = {
        "ppt/presentation.xml": f"{HEAD}<p:presentation {A}><p:sldIdLst>{order}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations([("slide", file) for file in files]),
    }
    for file, (title, lines, notes) in zip(files, slides, strict=True):
        body = shape([title], "title") + shape(lines) + shape(["7"], "sldNum")
        parts[f"ppt/{file}"] = f"{HEAD}<p:sld {A}><p:cSld><p:spTree>{body}</p:spTree></p:cSld></p:sld>"
        if notes:
            name = file.replace("slides/slide", "notesSlides/notesSlide")
            parts[file.replace("slides/", "ppt/slides/_rels/") + ".rels"] = relations([("notesSlide", f"../{name}")])
            parts[f"ppt/{name}"] = f"{HEAD}<p:notes {A}>{shape([notes])}{shape(['7'], 'sldNum')}</p:notes>"
    return archive(path, parts)


def xlsx(path: Path, sheets: Mapping[str, Sequence[Sequence[str | float]]]) -> Path:
    """A workbook; texts are shared strings; a number with a negative sign is the date of its days."""
    strings: list[str] = []
    parts: dict[str, str | bytes] = {}
    for number, rows in enumerate(sheets.values(), start=1):
        lines = []
        for row in rows:
            cells = []
            for value in row:
                if isinstance(value, str):
                    strings.append(value)
                    cells.append(f'<c t="s"><v>{len(strings) - 1}</v></c>')
                else:
                    cells.append(f'<c s="{int(value < 0)}"><v>{abs(value)}</v></c>')
            lines.append(f"<row>{''.join(cells)}</row>")
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            f"{HEAD}<worksheet><sheetData>{''.join(lines)}</sheetData></worksheet>"
        )
    names = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{number}" r:id="rId{number}"/>'
        for number, name in enumerate(sheets, start=1)
    )
    shared = "".join(f"<si><t>{escape(text)}</t></si>" for text in strings)
    styles = '<numFmts/><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
    targets = [("worksheet", f"worksheets/sheet{number}.xml") for number in range(1, len(sheets) + 1)]
    return archive(
        path,
        parts
        | {
            "xl/workbook.xml": f'{HEAD}<workbook xmlns:r="{TYPES}"><sheets>{names}</sheets></workbook>',
            "xl/_rels/workbook.xml.rels": relations(targets),
            "xl/sharedStrings.xml": f"{HEAD}<sst>{shared}</sst>",
            "xl/styles.xml": f"{HEAD}<styleSheet>{styles}</styleSheet>",
        },
    )


def odt(path: Path, body: str, title: str = "") -> Path:
    names = " ".join(f'xmlns:{prefix}="urn:oasis:{prefix}"' for prefix in ("office", "text", "table", "draw", "dc"))
    content = f"{HEAD}<office:document-content {names}><office:body>{body}</office:body></office:document-content>"
    meta = f"{HEAD}<office:document-meta {names}><dc:title>{escape(title)}</dc:title></office:document-meta>"
    return archive(path, {"content.xml": content, "meta.xml": meta, "META-INF/manifest.xml": f"{HEAD}<manifest/>"})


def epub(path: Path, title: str, chapters: Sequence[str]) -> Path:
    """A book; its files are numbered from the last chapter."""
    count = len(chapters)
    names = [f"text/part%20{count - number}.xhtml" for number in range(count)]
    items = "".join(f'<item id="i{number}" href="{name}"/>' for number, name in enumerate(names))
    spine = "".join(f'<itemref idref="i{number}"/>' for number in range(count))
    package = (
        f"<metadata><dc:title>{escape(title)}</dc:title></metadata><manifest>{items}</manifest><spine>{spine}</spine>"
    )
    parts = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container><rootfile full-path="OEBPS/book.opf"/></container>',
        "OEBPS/book.opf": f'{HEAD}<package xmlns:dc="http://purl.org/dc/elements/1.1/">{package}</package>',
    }
    for name, body in zip(names, chapters, strict=True):
        parts[f"OEBPS/{name.replace('%20', ' ')}"] = (
            f"{HEAD}<html><head><title>x</title></head><body>{body}</body></html>"
        )
    return archive(path, parts)


def pdf(
    path: Path, pages: Sequence[Sequence[str]], title: str = "", contents: Mapping[int, str] = {}, **more: str
) -> Path:
    """A file whose pages have these paragraphs; ``contents`` names pages; ``password`` encrypts it."""
    from fpdf import FPDF

    file = FPDF(format=(148, 210))
    file.set_font("Helvetica", size=10)
    if title:
        file.set_title(title)
    for number, paragraphs in enumerate(pages):
        file.add_page()
        if number in contents:
            file.start_section(contents[number])
        for text in paragraphs:
            file.multi_cell(0, 6, text, align="L", new_x="LMARGIN", new_y="NEXT")
    if "password" in more:
        file.set_encryption(owner_password="owner", user_password=more["password"])
    file.output(str(path))
    return path
