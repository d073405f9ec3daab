"""The documents of a served index with the vectors of another model, so that the two can be compared."""

from __future__ import annotations

from pathlib import Path

from pretrieve.index.analysis import Analyzer
from pretrieve.index.index import Index
from pretrieve.index.options import IndexOptions
from pretrieve.pipeline.index import open_model
from pretrieve.pipeline.run.progress import Listener, Silent, counted
from pretrieve.serving.served import Served


class WithModel(Served):
    """An index of another one's documents, analysed as they are there; it follows that one's changes.

    Args:
        source: the other index.
        model: folder or hub name.
        place: the folder that the index is made in, by whose name requests call it; it does not exist yet.
        listener: receives progress.

    Raises:
        PretrieveError: the model cannot be opened, or writing failed.
    """

    def __init__(self, source: Served, model: str, place: Path, listener: Listener) -> None:
        self._source, self._model = source, model
        encoder, documents = open_model(model, {}, listener), source.index.documents
        listener.stage("index", len(documents), "documents")
        index = Index.build(place, counted(documents, listener), encoder, _options(source.index), link_model=True)
        super().__init__(place.name, place, index)

    @property
    def described(self) -> str:
        """What it is of, for people."""
        return f"{self._source.name} with {self._model}"

    def _version(self) -> object:
        return self._source.opened

    def _anew(self) -> Index:
        """With what has changed in the other index; unchanged documents are not encoded again."""
        # A model of its own: the tokenizer of the one that answers serves one thread at a time.
        own = Index.open(self.path, open_model(self._model, {}, Silent()))
        return own.add(self._source.index.documents, remove=True)[0]


def name_of(model: str) -> str:
    """The name of a model's index: the last part of its path."""
    path = Path(model)
    return path.resolve().name if path.name in ("", "..") else path.name


def _options(index: Index) -> IndexOptions:
    """Words are analysed and weighted as in an index; only vectors and their weight differ."""
    assert isinstance(index.lexical.analyzer, Analyzer)
    analysis = index.lexical.analyzer.analysis
    return IndexOptions(
        bm25=index.lexical.options,
        stop_words=analysis.stop_words,
        stemmer=analysis.stemmer,
        languages=analysis.languages,
    )
