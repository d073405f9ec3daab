"""Train with a method of your own: ``examples/methods/lead.py`` is found by the variable ``PRETRIEVE_METHODS``.

``pretrieve methods lead`` and ``pretrieve inspect SOURCE --method lead`` work too, where the variable is set.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from standard_library import documents

os.environ["PRETRIEVE_METHODS"] = str(Path(__file__).resolve().parent / "methods")


def main() -> None:
    from pretrieve import Retriever

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()

    retriever = Retriever.train(documents(), method="lead", steps=options.steps)
    for hit in retriever.search("parse the date of a mail", top_k=5):
        print(f"{hit.score:6.2f}  {hit.title}")


if __name__ == "__main__":
    main()
