"""Floor 1: from documents to batches of token ids; no torch here."""
