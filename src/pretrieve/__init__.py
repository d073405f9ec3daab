"""pretrieve: point it at your documents, get a better retriever, no labels."""
