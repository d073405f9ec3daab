"""``pretrieve train``: prepare the documents, train every variant, select without labels, save."""
