"""One step of presets on the CPU and on the pretended device, as JSON lines: do loss and gradients agree?"""

from __future__ import annotations

import json
import os
import sys

import torch

import pretend_device
import tiny
from pretrieve.methods import names
from pretrieve.models import devices
from pretrieve.training.step import StepContext, full_step

CONTEXT = StepContext(seed=5)


def compared(preset: str, kind: str) -> dict[str, object]:
    """Loss, gradients and waits of a preset on the pretended device, beside those of the CPU."""
    (plain, batches), (moved, _) = (tiny.run(preset, kind, seed=5, dropout=0.0) for _ in range(2))
    expected = full_step(plain, batches(0), 0, CONTEXT)
    with pretend_device.pretended() as device:
        devices.place(moved, device)
        with pretend_device.waits() as waits:
            found = full_step(moved, batches(0), 0, CONTEXT)
            counted = dict(waits)
        placed = {values.device.type for values in (*moved.parameters(), *moved.buffers(), found.loss)}
    losses = [float(expected.loss), float(found.loss.inner)]  # type: ignore[attr-defined]
    pairs = [(one.grad, two.grad) for one, two in zip(plain.parameters(), moved.parameters(), strict=True)]
    largest = max(float(one.abs().max()) for one, _ in pairs if one is not None)
    gradients = all(
        (one is None and two is None) or torch.allclose(one, two.inner, rtol=1e-4, atol=1e-5 * max(1.0, largest))
        for one, two in pairs
    )
    return {"preset": preset, "kind": kind, "placed": sorted(placed), "losses": losses, "gradients": gradients,
            "waits": counted}  # fmt: skip


if __name__ == "__main__":
    with pretend_device.pretended():
        pass  # before the first backward pass: autograd counts devices once
    for preset in sys.argv[1:] or names():
        for kind in tiny.kinds(preset):
            print(json.dumps(compared(preset, kind)), flush=True)
    os._exit(0)  # autograd's threads of this device may outlive the interpreter, and end in an abort
