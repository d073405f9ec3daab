"""Floor 2: finding: dense, lexical and fused search; neither torch nor transformers here."""
