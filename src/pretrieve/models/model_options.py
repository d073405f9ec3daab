"""Usage of a model as the user gives it. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from pretrieve.core.bounds import WIDTH, check_bounds
from pretrieve.core.types import Similarity
from pretrieve.models.checkpoints import Pooling

_KEPT = ("pooling", "similarity", "query_prompt", "document_prompt", "max_length", "like", "truncate_dim")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Settings of a model; None leaves a setting to the registry or the model's files.

    Attributes:
        pooling: pooling of the last hidden states, where the model's files do not specify it.
        similarity: similarity function of the vectors.
        query_prompt: prompt of a query.
        document_prompt: prompt of a document.
        max_length: maximum length of a text in tokens.
        like: name of the published checkpoint whose settings apply.
        truncate_dim: number of dimensions kept of each vector; default: as the model's files say, or all.
        batch_size: texts of 256 tokens that go through it at once; more of shorter ones.
        device: where to compute, such as cpu or cuda:1; default: the device of the command, or the best available.
    """

    pooling: Pooling | None = None
    similarity: Similarity | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    max_length: int | None = None
    like: str | None = None
    truncate_dim: int | None = None
    batch_size: int = 32
    device: str | None = None

    def __post_init__(self) -> None:
        check_bounds(self, 1, WIDTH, "truncate_dim")

    def described(self) -> dict[str, str | int]:
        """What was given and determines the vectors: an index keeps it, to open the model in the same way."""
        return {name: value for name in _KEPT if (value := getattr(self, name)) is not None}


OWN_USAGE = ModelOptions()  # nothing given: the model as its own files say
