"""Makes ``tests/`` importable for its folders (``from tiny import ...``), and one thread the rule."""

import torch

torch.set_num_threads(1)
