"""Queries for documents by a generator of the user's own, and a teacher's scores of them (floor 3)."""
