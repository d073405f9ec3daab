"""``pretrieve finetune`` and ``pretrieve mine``: labels, hard negatives, a tuned retriever."""
