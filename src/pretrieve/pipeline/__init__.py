"""Floor 4: the road from documents to a retriever, in the order it is walked: prepare, train, judge, keep."""
