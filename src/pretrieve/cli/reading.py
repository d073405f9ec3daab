"""How documents are read: the options of every command that takes SOURCES, as one parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pretrieve.cli.groups import Without
from pretrieve.cli.options import (
    Columns,
    Exclude,
    GroupField,
    IdField,
    Include,
    NoIgnore,
    OnBadOption,
    TextField,
    TitleField,
    Wikipedia,
    WithoutTitles,
)

if TYPE_CHECKING:
    from pretrieve.text.corpus import Fields, FileFilter


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The options, in the order in which ``--help`` lists them; ``options.py`` says what each does."""

    on_bad: OnBadOption = "auto"
    include: Include = None
    exclude: Exclude = None
    no_ignore: NoIgnore = False
    columns: Columns = None
    text_field: TextField = None
    title_field: TitleField = None
    id_field: IdField = None
    group_field: GroupField = None
    without_titles: WithoutTitles = False
    wikipedia: Wikipedia = False

    def fields(self) -> Fields:
        """Where a record has its text, title and id."""
        from pretrieve.pipeline.run.sources import fields_of

        return fields_of(
            text=self.text_field,
            title=self.title_field,
            identity=self.id_field,
            group=self.group_field,
            titles=not self.without_titles,
            wikipedia=self.wikipedia,
            columns=self.columns,
        )

    def file_filter(self) -> FileFilter:
        """Which files of a folder are read."""
        from pretrieve.pipeline.run.sources import filter_of

        return filter_of(self.include, self.exclude, ignore=not self.no_ignore)


ReadingNoWikipedia = Annotated[Reading, Without("wikipedia")]
ReadingNoGroups = Annotated[Reading, Without("group_field")]
