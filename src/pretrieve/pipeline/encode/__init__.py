"""Vectors of a collection as shards on disk."""
