"""``pretrieve read`` and ``pretrieve answer``: a retriever and a reader from questions with answers."""
