"""Steps, checkpoints and ranks (level 3); independent of the methods."""
