"""Heads on top of an encoder, and the weights of heads that an earlier run has left beside its model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from pretrieve.core.errors import CorruptError, UsageError
from pretrieve.core.rng import torch_seed
from pretrieve.core.types import IntArray, Rows
from pretrieve.models.encoder import Encoder
from pretrieve.models.transformer import TransformerEncoder

HEADS = "heads.safetensors"  # in a model's folder: what learned beside the encoder, by the objective's names


@contextlib.contextmanager
def seeded(seed: int, stream: str) -> Iterator[None]:
    """Draw initial weights by address: torch's generator is seeded inside the block and put back after it."""
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(seed, stream, 0))
        yield


class Projected(Encoder):
    """An encoder whose vectors are projected: Linear, LayerNorm and, in training, dropout.

    The head of ORQA (Lee et al., *Latent retrieval for weakly supervised open domain question answering*, ACL 2019),
    which goes from BERT's pooler to 128 dimensions. It is an encoder itself, so it is exported with it.

    Args:
        encoder: what gives the vectors (R, V, D).
        dimensions: D after projection.
        seed: seed of the run, for the initial weights (normal with deviation 0.02, as BERT's).
        dropout: probability of zeroing a value in training mode.
    """

    def __init__(self, encoder: Encoder, dimensions: int = 128, *, seed: int = 0, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        with seeded(seed, "projection"):
            self.linear = nn.Linear(encoder.dimensions, dimensions)
            nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)
        self.norm = nn.LayerNorm(dimensions)
        self.dropout = nn.Dropout(dropout)
        self.dimensions, self.vectors_per_document = dimensions, encoder.vectors_per_document
        self.max_length, self.specials = encoder.max_length, encoder.specials
        self.similarity = "dot"

    def forward(self, rows: Rows, segments: IntArray | None = None) -> Tensor:
        """Encode R rows as (R, V, D): the encoder's vectors, projected and layer-normalised."""
        projected: Tensor = self.dropout(self.norm(self.linear(self.encoder(rows, segments))))
        return projected


def transformer(encoder: Encoder, method: str) -> TransformerEncoder:
    """Return an encoder that has hidden states.

    Args:
        encoder: of any kind.
        method: whose need it is, for the message.

    Raises:
        UsageError: the encoder is static, or ends in a projection.
    """
    if not isinstance(encoder, TransformerEncoder):
        kind = "a projected encoder" if isinstance(encoder, Projected) else "a static encoder"
        raise UsageError(
            f"{method} learns from hidden states, and {kind} gives none: add --base new:layers=4,hidden=256, or the "
            "folder or hub name of a transformer."
        )
    return encoder


def kept_heads(encoder: Encoder) -> dict[str, Tensor]:
    """Weights that an earlier run left beside this encoder, by name; none where it has no such folder.

    Raises:
        CorruptError: the file is damaged.
    """
    source = getattr(encoder, "source", None)
    if source is None or not (source / HEADS).is_file():
        return {}
    try:
        found: dict[str, Tensor] = safetensors.torch.load_file(source / HEADS)
    except (OSError, safetensors.SafetensorError) as error:
        raise CorruptError(f"{source / HEADS} cannot be read ({error}): restore the model from a copy.") from None
    return found


def note_new(encoder: Encoder, **parts: bool) -> tuple[str, ...]:
    """A note on what starts at random beside a base that has weights; none where the base itself is new.

    Args:
        encoder: the base.
        parts: whether each is new, by name, underscores for spaces.
    """
    new = [f"the {name.replace('_', ' ')}" for name, is_new in parts.items() if is_new]
    source = getattr(encoder, "source", None)
    if source is None or not new:
        return ()
    remedy = ""
    if parts.get("language_head"):
        remedy = " Without its language head a base learns slowly: train --method mlm first, and give its folder."
    return (f"{source} does not bring {' and '.join(new)}: randomly initialised.{remedy}",)


def start_from(module: nn.Module, weights: Mapping[str, Tensor], name: str) -> bool:
    """Put the weights called ``name.*`` into a module, strictly; says whether there were any.

    Args:
        module: a head, changed in place.
        weights: of ``kept_heads``.
        name: of the head in the objective that left them.

    Raises:
        UsageError: names or shapes differ.
    """
    found = {key.removeprefix(f"{name}."): values for key, values in weights.items() if key.startswith(f"{name}.")}
    if not found:
        return False
    mine = module.state_dict()
    wrong = sorted(mine.keys() ^ found.keys()) or [key for key in mine if mine[key].shape != found[key].shape]
    if wrong:
        raise UsageError(
            f"the saved weights of {name!r} do not fit ({wrong[0]}): train with the options that they were made with."
        )
    module.load_state_dict({key: values.to(mine[key]) for key, values in found.items()})
    return True
