"""``pretrieve generate``: labels from documents, by a generator, a round-trip filter and a cross-encoder."""
