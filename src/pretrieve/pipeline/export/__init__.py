"""``pretrieve export``: a model in the form that another program runs."""
