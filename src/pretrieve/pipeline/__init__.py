"""Floor 5: what each command does, from its request to what it leaves on disk."""
