"""What every model card says."""

from __future__ import annotations

CONTENTS = """## What it holds

Weights, the vocabulary, which may be words of the documents, and how the model was made, with the names of the
sources. It holds no document, query or label. An index of it holds the text of all documents.
"""
