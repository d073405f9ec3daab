"""From a token store to batches of training examples; does not import torch."""
