"""Formats of files of labels, one file for each family; ``docs/labels.md`` shows an example of each."""
