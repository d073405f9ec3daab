"""The optimizers of a run: torch's AdamW, and the Adam variant of BERT's code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pretrieve.models.shards import is_part
from pretrieve.training.options import TrainingOptions


class BertAdam(torch.optim.Optimizer):
    """Adam without bias correction, with decoupled weight decay (google-research/bert, ``optimization.py``).

    Without bias correction the first updates are larger than AdamW's: 3.2 times at the first step with the usual
    decays, 2.0 times at step 300.

    Args:
        params: parameters, or groups of them with a ``weight_decay`` each.
        lr: learning rate.
        betas: decay of the mean and of the square.
        eps: added to the root of the square.
        weight_decay: decoupled.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._step_supports_amp_scaling = True  # takes ``found_inf``, as torch's own do

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; none where the flag ``found_inf`` is set.

        Args:
            closure: ignored; part of torch's interface.
        """
        flag: Tensor | None = getattr(self, "found_inf", None)
        for group in self.param_groups:
            mean_decay, square_decay = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["exp_avg"] = torch.zeros_like(parameter)
                    state["exp_avg_sq"] = torch.zeros_like(parameter)
                mean, square = state["exp_avg"], state["exp_avg_sq"]
                before = [] if flag is None else [values.clone() for values in (mean, square, parameter)]
                mean.lerp_(parameter.grad, 1 - mean_decay)
                square.mul_(square_decay).addcmul_(parameter.grad, parameter.grad, value=1 - square_decay)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.addcdiv_(mean, square.sqrt().add_(group["eps"]), value=-group["lr"])
                for values, was in zip((mean, square, parameter), before, strict=False):
                    values.copy_(torch.where(torch.as_tensor(flag).bool(), was, values))


def build_optimizer(objective: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """Build the optimizer of a run; weight decay is on matrices only (not on biases and norms).

    Args:
        objective: module whose parameters are optimized.
        options: ``optimizer`` chooses AdamW (Loshchilov & Hutter, ICLR 2019; fused) or BERT's.

    Returns:
        The optimizer, with empty state.
    """
    parameters = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in some if (p.ndim >= 2) == matrices], "weight_decay": options.weight_decay * matrices}
        for some in ([p for p in parameters if not is_part(p)], [p for p in parameters if is_part(p)])
        for matrices in (True, False)
    ]  # parts apart: an optimizer takes a group's tensors together
    groups = [group for group in groups if group["params"]]
    betas, epsilon = (options.beta1, options.beta2), options.epsilon
    if options.optimizer == "bert":
        return BertAdam(groups, lr=options.learning_rate, betas=betas, eps=epsilon)
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=betas, eps=epsilon, fused=True)
