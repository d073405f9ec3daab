"""A report as one HTML file: style and pictures inside it, no script, nothing from the network."""

from __future__ import annotations

import re
from importlib.resources import files as package_files
from itertools import count
from typing import TYPE_CHECKING

from pretrieve.core.extras import require
from pretrieve.core.shown import shown
from pretrieve.reporting.page import Chart, Page, Table, Within
from pretrieve.reporting.svg import draw, strip

if TYPE_CHECKING:
    from markupsafe import Markup

_CODE = re.compile(r"`([^`]+)`")
_LED = re.compile(r"^(What was done|How sure):")
_NUMBER = re.compile(r"^(number )?[<+\-−]? ?[\d.,]*( \([\d.]+ to [\d.]+\))?$")


def html(page: Page) -> str:
    """The report as HTML; text of documents and names is escaped.

    Args:
        page: the report.

    Raises:
        MissingExtraError: the extra ``report`` is not installed.
    """
    require("report", "pretrieve report")
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    numbers = count()

    def drawn(chart: Chart) -> Markup:
        return Markup(draw(chart, f"chart{next(numbers)}"))  # noqa: S704 - ElementTree has escaped it

    def placed(within: Within) -> Markup:
        return Markup(strip(within, f"strip{next(numbers)}"))  # noqa: S704 - ElementTree has escaped it

    made = Environment(loader=PackageLoader("pretrieve.reporting"), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    made.filters |= {"shown": shown, "drawn": drawn, "placed": placed, "marked": _marked, "numeric": _numeric}
    style = (package_files("pretrieve.reporting") / "static" / "report.css").read_text(encoding="utf-8")
    return made.get_template("report.html").render(page=page, style=Markup(style))  # noqa: S704 - ours


def _marked(line: str) -> Markup:
    """A sentence with its `names` as code, and with what it is about in bold."""
    from markupsafe import Markup, escape

    text = _CODE.sub(r"<code>\1</code>", str(escape(shown(line))))
    return Markup(_LED.sub(r"<strong>\1:</strong>", text))  # noqa: S704 - escaped above


def _numeric(table: Table) -> set[int]:
    """Columns of numbers, which are aligned on the right."""
    columns = list(zip(*table.rows, strict=True))
    return {place for place, cells in enumerate(columns) if any(cells) and all(map(_NUMBER.match, cells))}
