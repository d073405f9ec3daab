"""Floor 2: from a token store to batches of training examples; no torch here."""
