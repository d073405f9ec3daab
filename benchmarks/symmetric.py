"""A symmetric task out of a labelled collection: which other questions are about the same document?

    python benchmarks/symmetric.py FOLDER -o OUT --split test
    pretrieve evaluate OUT --drop-same-id --model MODEL

The questions of the split are both documents and queries of the new BEIR folder; two that share a relevant document are
relevant for each other. Questions alone with their documents are documents only.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import orjson

from pretrieve.text.beir import Collection, load_collection


def siblings(qrels: Mapping[str, Mapping[str, int]]) -> dict[str, list[str]]:
    """For each query the others that share a relevant document, where there are any."""
    askers: dict[str, list[str]] = defaultdict(list)
    for query, judged in qrels.items():
        for document, grade in judged.items():
            if grade > 0:
                askers[document].append(query)
    found: dict[str, set[str]] = defaultdict(set)
    for together in askers.values():
        for query in together:
            found[query].update(other for other in together if other != query)
    return {query: sorted(others) for query, others in sorted(found.items()) if others}


def write(collection: Collection, output: Path) -> int:
    """Write the folder; the number of queries."""
    related = siblings(collection.qrels)
    (output / "qrels").mkdir(parents=True)
    texts = {name: text for name, text in collection.queries.items() if name in collection.qrels}
    for file, chosen in (("corpus", texts), ("queries", {name: texts[name] for name in related})):
        lines = [orjson.dumps({"_id": name, "text": text}) + b"\n" for name, text in chosen.items()]
        (output / f"{file}.jsonl").write_bytes(b"".join(lines))
    rows = "".join(f"{query}\t{other}\t1\n" for query, others in related.items() for other in others)
    (output / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
    return len(related)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--split", default="test")
    asked = parser.parse_args()
    count = write(load_collection(asked.folder, asked.split), asked.output)
    print(f"{asked.output}: {count:,} questions with another one about the same document")


if __name__ == "__main__":
    main()
