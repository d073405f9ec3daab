"""Files that ``pretrieve evaluate`` and ``compare`` write beside what they print."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pretrieve.core.errors import UsageError

if TYPE_CHECKING:
    from pretrieve.evaluation.crosslingual_result import CrossLingualResult
    from pretrieve.evaluation.fair import FairTable
    from pretrieve.evaluation.result import Result
    from pretrieve.pipeline.compare.evaluator import Scores
    from pretrieve.pipeline.compare.request import CompareRequest

_PRINTED = Path("-")


@dataclass(frozen=True, kw_only=True)
class EvaluationFiles:
    """Where results go; None: nowhere, and ``-`` is standard output.

    Attributes:
        per_query: values by query.
        latex: the table for LaTeX.
        csv: the table as CSV.
        html: the report.
        json: all of the result.
        run: file or folder of the rankings.
        markdown: the tables as Markdown.
    """

    per_query: Path | None
    latex: Path | None
    csv: Path | None
    html: Path | None
    json: Path | None
    run: Path | None = None
    markdown: Path | None = None

    @property
    def prints(self) -> bool:
        """Whether a table goes to standard output in place of what is printed otherwise."""
        return _PRINTED in (self.latex, self.csv)

    def check(self, folder: Path, models: Iterable[str], *, as_json: bool) -> None:
        """Refuse what cannot be written, before the work.

        Args:
            folder: the collection, whose files are not replaced.
            models: models and runs, which are not replaced either.
            as_json: JSON goes to standard output.

        Raises:
            UsageError: two results would go to one place, a path is a folder or lies in a file, or it is read.
            MissingExtraError: Parquet or a report cannot be written here.
        """
        from pretrieve.core.files import check_apart
        from pretrieve.evaluation.paper import check_parquet

        if as_json + (self.latex == _PRINTED) + (self.csv == _PRINTED) > 1:
            raise UsageError("--json, --latex - and --csv - all print to standard output: give one of them.")
        taken: dict[Path, str] = {}
        for option, path in self._named():
            if path == _PRINTED:
                if option in ("--latex", "--csv"):
                    continue
                raise UsageError(f"{option} -: give the name of a file.")
            other = taken.setdefault(path.resolve(), option)
            if other != option:
                raise UsageError(f"{option} and {other} would both write {path}: give each a file of its own.")
            _check_place(option, path)
            if path.is_file():
                check_apart(path, [folder, *models, *_read_of(folder)])
        if self.per_query is not None:
            check_parquet(self.per_query)
        if self.html is not None:
            from pretrieve.reporting.report import check_output

            check_output(self.html, "--html")

    def check_one_language(self, folder: Path) -> None:
        """Refuse runs where there are several languages, and each query has a ranking in each pair.

        Raises:
            UsageError: one is asked for, and the folder has several languages.
        """
        from pretrieve.evaluation.crosslingual import is_cross_lingual

        if self.run is not None and is_cross_lingual(folder):
            raise UsageError("--run is for one language: leave it out, or take --per-query.")

    def write(self, result: Result | CrossLingualResult) -> None:
        """Write the files but the report, print what goes to standard output, and say what was written.

        Raises:
            StorageError: writing to disk failed.
        """
        from pretrieve.core.files import write_file
        from pretrieve.core.shown import shown
        from pretrieve.evaluation import crosslingual_paper as pairs
        from pretrieve.evaluation.paper import per_query, to_csv, to_latex
        from pretrieve.evaluation.result import Result, note_lines

        if self.markdown is not None:
            write_file(self.markdown, result.markdown().encode())
        for line in note_lines(result.warnings) if self.prints else ():
            typer.echo(shown(line), err=True)
        if not isinstance(result, Result):
            if self.per_query is not None:
                self._put_values(pairs.pairs_per_query(result, self.per_query), pairs.lines_per_query(result))
            self._put_tables(lambda: pairs.pairs_latex(result), lambda: pairs.pairs_csv(result))
            return
        for row, path in result.runs.items():
            typer.echo(shown(f"{path}: run of {row}"), err=True)
        if self.per_query is not None:
            self._put_values(per_query(result, self.per_query), len(result.queries) * len(result.rows))
        self._put_tables(lambda: to_latex(result), lambda: to_csv(result))

    def write_comparison(self, request: CompareRequest, table: FairTable, scores: Scores) -> None:
        """As ``write``, for a comparison.

        Raises:
            StorageError: writing to disk failed.
        """
        from pretrieve.evaluation.fair_paper import fair_csv, fair_latex, fair_per_query
        from pretrieve.text.beir import read_qrels

        if self.per_query is not None:
            queries = list(read_qrels(request.benchmark, request.split))
            data = fair_per_query(scores, queries, request.metric, self.per_query)
            self._put_values(data, len(queries) * len(scores))
        self._put_tables(lambda: fair_latex(table), lambda: fair_csv(table))

    def write_report(self, folder: Path, result: Result | CrossLingualResult | None = None) -> None:
        """Write the report, if it is asked for; last, as it may be refused.

        Args:
            folder: of a comparison; or the collection of an evaluation.
            result: of the evaluation.

        Raises:
            DataError: it would be larger than a page may be.
            StorageError: writing to disk failed.
        """
        if self.html is None:
            return
        from pretrieve.core.shown import shown
        from pretrieve.reporting.report import ReportRequest, write_evaluation_report, write_report

        if result is None:
            write_report(ReportRequest(source=folder, output=self.html))
        else:
            runs = [*map(Path, getattr(result, "runs", {}).values())] if folder.is_dir() else []
            write_evaluation_report(result.to_json(), self.html, folder, runs)
        typer.echo(shown(f"{self.html}: the report"), err=True)

    def _put_values(self, data: bytes, lines: int) -> None:
        from pretrieve.core.files import write_file
        from pretrieve.core.shown import shown

        assert self.per_query is not None
        write_file(self.per_query, data)
        typer.echo(shown(f"{self.per_query}: {lines:,} lines, one for each query and system"), err=True)

    def _put_tables(self, latex: Callable[[], str], csv: Callable[[], str]) -> None:
        from pretrieve.core.files import write_file
        from pretrieve.core.shown import shown

        for target, render in ((self.latex, latex), (self.csv, csv)):
            if target == _PRINTED:
                typer.echo(render(), nl=False)
            elif target is not None:
                write_file(target, render().encode())
                typer.echo(shown(f"{target}: the table"), err=True)

    def _named(self) -> list[tuple[str, Path]]:
        """The options that are given."""
        given = {
            "--run": self.run,
            "--per-query": self.per_query,
            "--latex": self.latex,
            "--csv": self.csv,
            "--html": self.html,
            "--markdown": self.markdown,
            "--output-json": self.json,
        }
        if self.html is not None:
            from pretrieve.reporting.report import data_path

            given["the data of --html"] = data_path(self.html)
        return [(option, path) for option, path in given.items() if path is not None]


def _check_place(option: str, path: Path) -> None:
    """Refuse a folder in place of a file, and a path below a file."""
    if path.is_dir() and option != "--run":
        raise UsageError(f"{option} {path}: it is a folder; give the name of a file.")
    parent = next(one for one in path.absolute().parents if one.exists())
    if not parent.is_dir():
        raise UsageError(f"{option} {path}: {parent} is not a folder.")


def _read_of(folder: Path) -> list[Path]:
    """The files of a collection."""
    return [
        path
        for stem in ("corpus", "queries", "qrels")
        for path in (*folder.glob(f"{stem}*"), *folder.glob(f"{stem}/*"))
    ]
