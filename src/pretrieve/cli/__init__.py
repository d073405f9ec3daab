"""Floor 5: the command line. Each command is one file, and imports what it needs only when it runs."""
