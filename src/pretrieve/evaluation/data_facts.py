"""What a labelled collection cannot judge: counted, and said beside the figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pretrieve.text.beir import Collection


def data_facts(collection: Collection) -> dict[str, int]:
    """Count what makes the figures of a collection mean something else than they seem to.

    Args:
        collection: documents, queries and qrels.

    Returns:
        Numbers by name: ``queries`` and ``documents``; ``repeated_document_ids`` and the ``documents_of_repeated_ids``;
        ``missing_documents`` of the qrels, and ``queries_without_relevant`` documents in the corpus;
        ``query_ids_of_documents`` and ``query_ids_of_same_text``; ``empty_documents``, ``empty_queries``;
        ``repeated_queries`` and ``repeated_qrels``, lines that say what an earlier one says.
    """
    documents, queries, qrels = collection.documents, collection.queries, collection.qrels
    counts = Counter(document.id for document in documents)
    same = {document.id: document for document in documents if document.id in queries}
    return {
        "queries": len(qrels),
        "documents": len(documents),
        "repeated_document_ids": sum(count > 1 for count in counts.values()),
        "documents_of_repeated_ids": sum(count for count in counts.values() if count > 1),
        "missing_documents": len({name for grades in qrels.values() for name in grades if name not in counts}),
        "queries_without_relevant": sum(
            not any(grade > 0 and name in counts for name, grade in grades.items()) for grades in qrels.values()
        ),
        "query_ids_of_documents": len(same),
        "query_ids_of_same_text": sum(
            queries[name].strip() in (one.text.strip(), f"{one.title} {one.text}".strip()) for name, one in same.items()
        ),
        "empty_documents": sum(not (document.text.strip() or document.title.strip()) for document in documents),
        "empty_queries": sum(not queries[query].strip() for query in qrels),
        "repeated_queries": collection.repeated.get("queries", 0),
        "repeated_qrels": collection.repeated.get("qrels", 0),
    }


def data_warnings(facts: Mapping[str, int], *, drop_same_id: bool | None = False) -> list[str]:
    """Say what the figures do not say, one line for each kind that is there.

    Args:
        facts: from ``data_facts``.
        drop_same_id: whether hits with the id of the query are dropped; None where there is no such option.
    """
    option = "; where queries are documents (ArguAna, Quora), --drop-same-id keeps them from finding themselves"
    lines = {
        "repeated_document_ids": "Ids of several documents: {repeated_document_ids:,}, of "
        "{documents_of_repeated_ids:,} documents; the best place of an id counts (MaxP).",
        "missing_documents": "Judged documents that are not in the corpus: {missing_documents:,}.",
        "queries_without_relevant": "Queries without a relevant document in the corpus: "
        "{queries_without_relevant:,} of {queries:,}; they are kept and count 0, as in trec_eval.",
        "query_ids_of_documents": "Ids of queries that are ids of documents too: {query_ids_of_documents:,}, with the "
        f"same text {{query_ids_of_same_text:,}}{'' if drop_same_id is None else option}.",
        "empty_documents": "Empty documents: {empty_documents:,}.",
        "empty_queries": "Empty queries: {empty_queries:,} of {queries:,}; they are kept.",
        "repeated_queries": "Lines of queries that repeat an earlier line: {repeated_queries:,}.",
        "repeated_qrels": "Lines of qrels that repeat an earlier line: {repeated_qrels:,}.",
    }
    told = [name for name in lines if facts[name] and not (drop_same_id and name == "query_ids_of_documents")]
    return [lines[name].format(**facts) for name in told]
