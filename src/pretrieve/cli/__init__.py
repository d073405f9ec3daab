"""Floor 5: the command line. Each command is one file, and imports what it needs only when it runs."""

from __future__ import annotations

from pretrieve.cli.app import main

__all__ = ["main"]
