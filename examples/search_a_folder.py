"""Train on a folder without labels, and search it: ``python examples/search_a_folder.py docs/ "how do I ...?"``.

Without arguments it reads the sources of Python's ``asyncio``. ``--steps 20`` is a quick look; the default takes a
minute and a half.
"""

from __future__ import annotations

import argparse
import asyncio

from pretrieve import Retriever


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=asyncio.__path__[0])
    parser.add_argument("query", nargs="?", default="cancel a task after a timeout")
    parser.add_argument("--steps", type=int, help="in place of a minute and a half")
    parser.add_argument("--save", metavar="INDEX", help="folder for the index, which `pretrieve search` opens")
    options = parser.parse_args()

    retriever = Retriever.train(options.folder, steps=options.steps)
    for hit in retriever.search(options.query, top_k=5):
        print(f"{hit.score:6.2f}  {hit.title}  ({hit.place})")
    if options.save:
        retriever.save(options.save, overwrite=True)


if __name__ == "__main__":
    main()
