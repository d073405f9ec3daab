"""Building and opening an index on disk, for the command line and for ``Retriever``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrieve.core import files
from pretrieve.core.errors import UsageError
from pretrieve.index.analysis import Analysis, Analyzer
from pretrieve.index.backends import Address
from pretrieve.index.filling import link_new
from pretrieve.index.index import Index, IndexOptions
from pretrieve.pipeline.open_index import open_index
from pretrieve.pipeline.run.progress import Listener
from pretrieve.pipeline.run.sources import field_words, filter_words, read_documents
from pretrieve.pipeline.run.stopping import stoppable
from pretrieve.pipeline.run.workspace import Workspace, beside, check_workspace
from pretrieve.text.corpus import Fields, FileFilter, Keep, OnBad

if TYPE_CHECKING:
    from pretrieve.core.types import TextEncoder

READ_WITH = "read_with"  # in the MANIFEST of an index: the options that name the fields of its documents
FILES = "files"  # in the MANIFEST of an index: the options that choose files in folders
PASSAGES = "passage_words"  # in the MANIFEST of an index: of the passages that documents were cut into; 0: none


def build_index(
    sources: Sequence[str],
    model: str,
    output: Path,
    listener: Listener,
    *,
    replace: bool = False,
    fields: Fields,
    file_filter: FileFilter = FileFilter(),  # noqa: B008 - frozen
    on_bad: OnBad = "auto",
    described: Mapping[str, Any] | None = None,
    lexical: IndexOptions = IndexOptions(),  # noqa: B008 - frozen
    vectors: Path | None = None,
    passages: int = 0,
    link_model: bool = False,
    store: Address | None = None,
) -> Index:
    """Read documents and index them with a model.

    Args:
        sources: as for training.
        model: a folder or a hub name.
        output: the index's folder.
        listener: receives progress.
        replace: replace an existing index.
        fields: names of the fields.
        file_filter: the files that are read in folders.
        on_bad: policy for unreadable records.
        described: usage of a model; stored in the index.
        lexical: parameters of BM25, stop words and stemmer.
        vectors: folder of the documents' vectors, written by ``encode``; default: encode them.
        passages: words of the passages that long documents are cut into; 0: they are not.
        link_model: keep the path of the model's folder from the index, in place of its files.
        store: collection that the best documents are looked up in.

    Raises:
        PretrieveError: sources or model are invalid, or writing failed.
    """
    from pretrieve.pipeline.encode.encoded import EncodedVectors

    check_workspace(output, sources, overwrite=replace)
    Analyzer(Analysis(stop_words=lexical.stop_words, stemmer=lexical.stemmer))  # refused before documents are read
    if store is not None:
        link_new(output, store, replace=replace)  # refused before documents are read
    encoder = open_model(model, described or {}, listener)
    encoded = None if vectors is None else EncodedVectors.open(vectors, encoder, model, listener, passages=passages)
    work = Workspace(output, overwrite=replace)
    with stoppable(work.advice), work:
        reading: dict[str, Any] = {"fields": fields, "file_filter": file_filter, "on_bad": on_bad}
        reading |= {"keep": Keep(passages=passages), "quarantine": beside(output, ".quarantine.jsonl")}
        documents = read_documents(sources, work.path / "documents", listener, **reading)
        listener.stage("index", len(documents), "documents")
        read = None if encoded is None else encoded.checked(documents)
        facts = {READ_WITH: field_words(fields), FILES: filter_words(file_filter), PASSAGES: passages}
        index = Index.build(
            work.output, documents, encoder, lexical, replace=replace, vectors=read, link_model=link_model, facts=facts,
            store=store,
        )  # fmt: skip
        listener.advance(len(documents))
    return index


def open_model(model: str, described: Mapping[str, Any], listener: Listener) -> TextEncoder:
    """Open the model of a new index; what is to be said of it is noted.

    Args:
        model: folder or hub name.
        described: usage of the model.
        listener: receives the notes.

    Raises:
        PretrieveError: it cannot be opened.
    """
    from pretrieve.models.devices import inference_lines
    from pretrieve.models.text_encoder import ModelOptions, open_encoder
    from pretrieve.pipeline.run.usage_warnings import before_search

    options = ModelOptions(**described)
    encoder = open_encoder(str(Path(model).absolute()) if Path(model).exists() else model, options)
    for line in (*before_search(model, options), *inference_lines(encoder)):
        listener.note(line)
    return encoder


def index_at(path: Path, described: Mapping[str, Any]) -> Index | None:
    """The index at a path, opened with its own model; None if no index is there.

    Args:
        path: a folder, or a name.
        described: usage of a model, which an index knows; and ``device``.

    Raises:
        UsageError: there is an index, and a usage is given; or as ``open_index``.
        FingerprintError: as ``open_index``.
    """
    from pretrieve.models.devices import using

    if not (path / files.MANIFEST).is_file() or files.load_manifest(path, None)["kind"] != "index":
        return None
    if usage := [name for name in described if name != "device"]:
        raise UsageError(f"{path} is an index and knows how its model is used: leave {', '.join(usage)} out.")
    with using(described.get("device") or "auto"):
        return open_index(path)
