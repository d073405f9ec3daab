"""The forward pass of packed transformers through PyTorch's compiler, as an option of training."""

from __future__ import annotations

import torch
from torch import nn

from pretrieve.models.packed import attention, packed_attention
from pretrieve.models.transformer import TransformerEncoder


def compile_forward(module: nn.Module) -> int:
    """Compile the transformers in a module, for rows packed end to end: only the number of tokens changes.

    Attention is left as it is: it is one kernel already, and its blocks change with every batch.

    Args:
        module: changed in place; the first steps are slow.

    Returns:
        How many transformers are compiled.
    """
    from transformers import AttentionInterface  # imported here because it takes seconds

    found = [part for part in module.modules() if isinstance(part, TransformerEncoder) and part.packed]
    if found:
        AttentionInterface.register(attention(), torch.compiler.disable(packed_attention))  # type: ignore[no-untyped-call]
    for part in found:
        part.model.compile(dynamic=True)
    return len(found)
