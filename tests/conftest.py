"""Makes ``tests/`` importable for its folders (``from tiny import ...``), and one thread the rule.

Property tests try the same examples in every ``make test``, so that a change is judged and not the day's luck; ``make
torture`` looks for new ones.
"""

import os

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("same", derandomize=True)
settings.register_profile("new", derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
