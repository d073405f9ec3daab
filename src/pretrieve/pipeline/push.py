"""Upload a model folder to the Hugging Face hub; what would be uploaded is known without a network."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrieve.core.errors import PretrieveError, UsageError
from pretrieve.core.files import MANIFEST, load_manifest
from pretrieve.models.model_folder import model_folder
from pretrieve.models.whole_model import check_whole

CARD = "README.md"
_START, _CURVES, _WORKSPACE = "start", "curves", ".work"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPlan:
    """What is uploaded of a model folder.

    Attributes:
        model: the folder.
        files: sizes in bytes by name, in order.
        left_out: number of files that stay, by the reason.
        front_matter: metadata of the card; empty where there is none.
    """

    model: Path
    files: Mapping[str, int]
    left_out: Mapping[str, int]
    front_matter: str

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "model": str(self.model),
            "files": dict(self.files),
            "bytes": sum(self.files.values()),
            "left_out": dict(self.left_out),
            "front_matter": self.front_matter,
        }


def plan_push(model: Path, *, with_start: bool = False) -> PushPlan:
    """Check a model folder and list what is uploaded of it.

    Args:
        model: the folder.
        with_start: take along the model before training and the curves of the tracker.

    Raises:
        UsageError: it is no model folder.
        ModelError: the model is not whole.
        CorruptError: a file of it is damaged, or is not the one of its MANIFEST.
    """
    listed = load_manifest(model, "model")["files"] if (model / MANIFEST).is_file() else {}
    check_whole(model_folder(model))
    kept: dict[str, int] = {}
    left_out: Counter[str] = Counter()
    for path in sorted(path for path in model.rglob("*") if path.is_file()):
        name = path.relative_to(model)
        reason = None if name.as_posix() in listed else _left_out(name, with_start=with_start)
        if reason is None:
            kept[name.as_posix()] = path.stat().st_size
        else:
            left_out[reason] += 1
    return PushPlan(model=model, files=kept, left_out=left_out, front_matter=_front_matter(model / CARD))


def _left_out(name: Path, *, with_start: bool) -> str | None:
    """Why a file stays; None for one that is uploaded."""
    if any(part.startswith(".") for part in name.parts):
        return "hidden"
    if any(part.endswith(_WORKSPACE) for part in name.parts[:-1]):
        return "workspace"
    folders = [part for part in (_START, _CURVES) if part in name.parts[:-1]]
    return folders[0] if folders and not with_start else None


def _front_matter(card: Path) -> str:
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    lines = text.splitlines()
    end = lines[1:].index("---") + 1 if lines[:1] == ["---"] and "---" in lines[1:] else 0
    return "\n".join(lines[1:end])


def check_repository(name: str) -> None:
    """Refuse what cannot be the name of a repository on the hub.

    Raises:
        UsageError: it is none.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # exported without saying so

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UsageError(f"{name} is no name of a repository, such as owner/my-model: {_line(error)}") from None


def push(plan: PushPlan, repository: str, *, private: bool = False, revision: str | None = None) -> str:
    """Upload a model in one commit; the repository and the branch are made where they are missing.

    Args:
        plan: of ``plan_push``.
        repository: its name, such as ``owner/my-model``.
        private: make the repository private; one that is there and public is refused.
        revision: branch; default: main.

    Returns:
        Address of the commit.

    Raises:
        UsageError: the name is no repository's.
        PretrieveError: there is no token or no network, the hub refuses, or the repository is public.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import OfflineModeIsEnabled

    check_repository(repository)
    token = get_token()
    if token is None:
        raise PretrieveError(
            "pushing needs a token of the hub that may write: run `hf auth login`, or set HF_TOKEN. "
            "--dry-run needs none."
        )
    try:
        return _upload(HfApi(token=token), plan, repository, private=private, revision=revision)
    except PretrieveError:
        raise
    except OfflineModeIsEnabled:
        raise PretrieveError(f"{repository}: with HF_HUB_OFFLINE=1 nothing is uploaded: unset it.") from None
    except Exception as error:  # httpx, its transport and the hub's library have an error of their own for everything
        raise PretrieveError(
            f"{repository} was not pushed: {_line(error)}. Check the network, the name, and that the token may write."
        ) from None


def _upload(api: Any, plan: PushPlan, repository: str, *, private: bool, revision: str | None) -> str:
    made = api.create_repo(repository, private=private or None, exist_ok=True)
    name = made.repo_id
    if private and not api.model_info(name).private:
        raise PretrieveError(
            f"{name} exists and is public: make it private on the hub first, or push without --private."
        )
    if revision is not None:
        api.create_branch(name, branch=revision, exist_ok=True)
    commit = api.upload_folder(
        repo_id=name,
        folder_path=plan.model,
        revision=revision,
        allow_patterns=[glob.escape(file) for file in plan.files],
        commit_message="Upload a model of pretrieve",
    )
    return str(commit.commit_url)


def _line(error: BaseException) -> str:
    """The first line of an error that says something."""
    lines = [line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
