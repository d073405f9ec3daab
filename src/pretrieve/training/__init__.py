"""Floor 3: steps, checkpoints, ranks; knows no method by name."""
