"""From a token store to batches of training examples (level 2); does not import torch."""
