"""A report as one HTML file: style and pictures inside it, no script, nothing from the network."""

from __future__ import annotations

from importlib.resources import files as package_files
from itertools import count

from pretrieve.core.extras import require
from pretrieve.core.shown import shown
from pretrieve.reporting.page import Chart, Page
from pretrieve.reporting.svg import draw


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

    made = Environment(loader=PackageLoader("pretrieve.reporting"), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    made.filters |= {"shown": shown, "drawn": drawn}
    style = (package_files("pretrieve.reporting") / "static" / "report.css").read_text(encoding="utf-8")
    return made.get_template("report.html").render(page=page, style=Markup(style))  # noqa: S704 - ours
