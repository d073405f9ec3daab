"""``pretrieve push``: upload a model to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretrieve.cli.options import Json, OutputJson
from pretrieve.cli.output import say, working, write_json

if TYPE_CHECKING:
    from pretrieve.pipeline.push import PushPlan

NAME = "push"
EXAMPLE = "pretrieve push my-model owner/my-model --private --dry-run"
_REASONS = {
    "start": "of the model before training (start)",
    "curves": "of the tracker (curves)",
    "workspace": "of workspaces",
    "hidden": "hidden",
}


def command(
    model: Annotated[Path, typer.Argument(help="Folder of a model.", show_default=False)],
    repository: Annotated[
        str, typer.Argument(metavar="REPO", help="Repository on the hub, such as owner/my-model.", show_default=False)
    ],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, made if it is missing; default: main.", show_default=False)
    ] = None,
    with_start: Annotated[
        bool, typer.Option("--with-start", help="Push the model before training and the tracker's curves, too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be pushed, without a token or network.")
    ] = False,
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Upload the model in MODEL to REPO on the Hugging Face hub, with its card; needs a token (`hf auth login`)."""
    from pretrieve.pipeline import push

    with working(as_json, output_json):
        push.check_repository(repository)
        plan = push.plan_push(model, with_start=with_start)
        address = None if dry_run else push.push(plan, repository, private=private, revision=revision)
    facts = {"repository": repository, "private": private, "revision": revision, "pushed": address, **plan.to_json()}
    if write_json(facts, as_json, output_json):
        return
    place = f"{repository}{f' ({revision})' if revision else ''}{', private' if private else ''}"
    _print(plan, f"Would push to {place}:" if dry_run else f"Pushed to {place}:")
    say(f"\n{address}" if address else "\nNothing was pushed.", lines=True)


def _print(plan: PushPlan, head: str) -> None:
    """The files with their sizes, what stays, and the card's metadata."""
    say(head)
    for name, size in plan.files.items():
        say(f"  {size:>13,}  {name}")
    say(f"  {sum(plan.files.values()):>13,}  bytes in {len(plan.files)} files")
    for reason, number in plan.left_out.items():
        say(f"  left out: {number} files {_REASONS[reason]}")
    if plan.front_matter:
        say(f"\nThe card's metadata:\n{plan.front_matter}", lines=True)
    else:
        say("\nnote: there is no card with metadata (README.md).", lines=True)
    if not any(line.startswith("license:") for line in plan.front_matter.splitlines()):
        say("note: the card names no licence: add license: NAME to its metadata in README.md.")
