"""``pretrieve distill``: a static model from a teacher, on the user's documents."""
