"""``pretrieve compare``: every method from one base, on the same documents, tokens and seeds."""
