"""What every run shares: its workspace and lock, recipe, progress, and how it is published."""
