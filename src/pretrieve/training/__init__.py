"""Steps, checkpoints and ranks; independent of the methods."""
