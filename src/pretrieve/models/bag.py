"""Inference of an exported static model with NumPy alone: what a cold search loads in place of torch.

Returns what ``SentenceTransformer(folder).encode`` returns. The token vectors are memory-mapped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import tokenizers

from pretrieve.core.errors import CorruptError, FingerprintError, UsageError
from pretrieve.core.files import MANIFEST, fingerprint, load_manifest
from pretrieve.core.manifest import check_entry, sha256_of
from pretrieve.core.types import FloatArray, IntArray, Similarity
from pretrieve.models.model_kind import SETTINGS, module_entries, prompts_of
from pretrieve.models.model_options import OWN_USAGE, ModelOptions
from pretrieve.models.static_folder import StaticFolder, find_static, read_static
from pretrieve.models.static_folder import map_tensor as map_tensor
from pretrieve.models.whole_model import check_whole

_FEW = 16  # up to this many texts a loop is as fast as SciPy's product, without importing it
_LONG = 1 << 17  # tokens of a text above which its vectors are not gathered: they would take gigabytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Bag:
    """A static model: texts in, vectors out.

    Attributes:
        vectors: token vectors (V, D), float32, memory-mapped.
        tokenizer: tokenizer of the model.
        prompts: prompt of a text, by task ("query", "document").
        normalise: whether to normalise vectors.
        similarity: how they are compared.
        fingerprint: identity of vectors and tokenizer.
        location: folder of the model.
        weight: weight of its vectors in the fusion with BM25, chosen in training; None if not chosen.
        passages: weight of BM25's best passage in the fusion, chosen in training.
        rows: row of ``vectors`` for each token; None: the token's own.
        weights: weight of each token; None: 1.
        unknown: a token that is left out, as model2vec does; None: none.
        max_length: number of tokens that are read of a text; None: all.
        truncate_dim: number of dimensions that are kept; None: all.
        described: settings of the user, stored by an index to open the model in the same way.
        folder: its files; None: ``location`` is the folder.
    """

    vectors: FloatArray
    tokenizer: tokenizers.Tokenizer
    prompts: Mapping[str, str]
    normalise: bool
    similarity: Similarity
    fingerprint: str
    location: str
    weight: float | None = None
    passages: float = 0.0
    rows: IntArray | None = None
    weights: FloatArray | None = None
    unknown: int | None = None
    max_length: int | None = None
    truncate_dim: int | None = None
    described: Mapping[str, str | int] = field(default_factory=dict)
    folder: Path | None = None

    @staticmethod
    def readable(folder: Path) -> bool:
        """Return whether a folder holds a static model that ``load`` can read."""
        return find_static(folder) is not None

    @staticmethod
    def load(folder: Path, options: ModelOptions = OWN_USAGE, *, location: str | None = None) -> Bag:
        """Open a static model of sentence-transformers or model2vec.

        Args:
            folder: of the model.
            options: settings of the user.
            location: name of the model; default: the folder.

        Raises:
            UsageError: the folder is no static model, or a setting does not apply to one.
            ModelError: a file is missing.
            CorruptError: its token vectors or its tokenizer cannot be read.
        """
        found = find_static(folder)
        if found is None:
            names = ", ".join(sorted({kind.rsplit(".", 1)[-1] for kind, _ in module_entries(folder)}))
            said = f"its modules are {names}" if names else "it has no modules.json"
            raise UsageError(f"{folder} is not a static sentence-transformers model: {said}.")
        for given in ("pooling", "like"):
            if getattr(options, given) is not None:
                raise UsageError(f"{folder} is a static model, whose usage is its own: leave {given} out.")
        check_whole(folder)
        return _open(folder, found, options, location or str(folder))

    @property
    def configuration(self) -> str:
        """Hash of what the model's files say of how its vectors are made, beside token vectors and tokenizer."""
        return fingerprint([self.prompts.get("document", ""), self.normalise, self.unknown is None, self.truncate_dim])

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies, and other processes, map the same files."""
        folder = self.folder or Path(self.location)
        return _reopened, (folder.absolute(), self.location, self.fingerprint, dict(self.described))

    def encode(self, texts: Sequence[str], prompt: str = "") -> FloatArray:
        """Encode R texts, each after the prompt: (R, D) float32; a text without a known token is zero."""
        inputs = [prompt + text for text in texts]
        encodings = self.tokenizer.encode_batch_fast(inputs, add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        if self.unknown is not None:
            ids = [[token for token in row if token != self.unknown] for row in ids]
        if self.max_length is not None:
            ids = [row[: self.max_length] for row in ids]
        sums = self._sum_few(ids) if len(ids) <= _FEW else self._sum_many(ids)
        if self.normalise:  # the length of the sum: that of the mean cancels
            scale = np.sqrt(np.einsum("rd,rd->r", sums, sums))
            scale[scale == 0] = 1
        else:
            scale = np.maximum([len(row) for row in ids], 1).astype(np.float32)
        sums /= scale[:, None]
        return sums if self.truncate_dim is None else np.ascontiguousarray(sums[:, : self.truncate_dim])

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors (Q, D) of queries, with the model's prompt for them."""
        return self.encode(texts, self.prompts.get("query", ""))

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Vectors (R, D) of documents, with the model's prompt for them."""
        return self.encode(texts, self.prompts.get("document", ""))

    def tokens(self, text: str, most: int) -> tuple[list[str], FloatArray]:
        """The different tokens of a text that have letters or digits, and the vectors that are added up for them.

        Args:
            text: without a prompt.
            most: number of tokens that are read.

        Returns:
            T tokens as the tokenizer names them, and their weighted vectors (T, D).
        """
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        limit = most if self.max_length is None else min(most, self.max_length)
        named = dict(zip(encoding.ids[:limit], encoding.tokens[:limit], strict=True))
        ids = [token for token, name in named.items() if token != self.unknown and any(map(str.isalnum, name))]
        self._check(max(ids, default=0))
        found = np.asarray(self.vectors[ids if self.rows is None else self.rows[ids]])
        found = found if self.weights is None else found * self.weights[ids, None]
        return [named[token] for token in ids], found[:, : self.truncate_dim]

    def _sum_few(self, ids: list[list[int]]) -> FloatArray:
        sums = np.zeros((len(ids), self.vectors.shape[1]), np.float32)
        for index, row in enumerate(ids):
            if len(row) > _LONG:
                self._sum_long(row, sums[index])
            elif row:
                self._check(max(row))
                rows = row if self.rows is None else self.rows[row]
                found = self.vectors[rows] if self.weights is None else self.vectors[rows] * self.weights[row, None]
                np.sum(found, axis=0, out=sums[index])
        return sums

    def _sum_long(self, row: list[int], out: FloatArray) -> None:
        """The sum of a long text's vectors, each read once."""
        tokens, counts = np.unique(row, return_counts=True)
        self._check(int(tokens[-1]))
        amounts = counts.astype(np.float32) * (1 if self.weights is None else self.weights[tokens])
        np.matmul(amounts, self.vectors[tokens if self.rows is None else self.rows[tokens]], out=out)

    def _sum_many(self, ids: list[list[int]]) -> FloatArray:
        from scipy.sparse import csr_array  # imported here because the import takes longer than a query

        offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])]).astype(np.int64)
        tokens: IntArray = np.fromiter(chain.from_iterable(ids), np.int64, count=int(offsets[-1]))
        self._check(int(tokens.max(initial=0)))
        weights = np.ones(len(tokens), np.float32) if self.weights is None else self.weights[tokens]
        rows = tokens if self.rows is None else self.rows[tokens]
        product: FloatArray = csr_array((weights, rows, offsets), shape=(len(ids), len(self.vectors))) @ self.vectors
        return product

    def _check(self, highest: int) -> None:
        if highest >= len(self.vectors if self.rows is None else self.rows):
            raise CorruptError(f"{self.location}: token {highest} has no vector: restore tokenizer and vectors.")


def _open(folder: Path, found: StaticFolder, options: ModelOptions, location: str) -> Bag:
    parts = [found.inner / "model.safetensors", found.inner / "tokenizer.json"]
    weights, tokenizer = read_static(found.inner), _tokenizer(parts[1])
    if tokenizer.get_vocab_size() > weights.vocabulary:
        raise CorruptError(f"{folder}: tokenizer and vectors do not match: restore the model.")
    settings, chosen = _read_json(folder / SETTINGS), _read_json(folder / MANIFEST).get("meta", {})
    given = {"query": options.query_prompt, "document": options.document_prompt}
    prompts = dict(zip(given, prompts_of(settings), strict=True))
    prompts |= {task: text for task, text in given.items() if text is not None}
    made_otherwise = [options.document_prompt, options.max_length, options.truncate_dim]
    identity = model_fingerprint(folder, parts)
    return Bag(
        vectors=weights.table,
        rows=weights.rows,
        weights=weights.weights,
        unknown=_unknown(tokenizer) if found.without_unknown else None,
        tokenizer=tokenizer,
        prompts={task: text for task, text in prompts.items() if text},
        normalise=found.normalise,
        similarity=_similarity(location, options, settings),
        fingerprint=fingerprint([identity, *made_otherwise])
        if any(v is not None for v in made_otherwise)
        else identity,
        location=location,
        weight=chosen.get("weight"),
        passages=chosen.get("passages", 0.0),
        max_length=options.max_length,
        truncate_dim=options.truncate_dim or settings.get("truncate_dim"),
        described=options.described(),
        folder=folder,
    )


def _similarity(location: str, options: ModelOptions, settings: Mapping[str, Any]) -> Similarity:
    said = options.similarity or settings.get("similarity_fn_name") or "cosine"
    if said not in ("dot", "cosine"):
        raise UsageError(f"{location} compares by {said}: give similarity (dot or cosine) as its authors use it.")
    found: Similarity = said
    return found


def _unknown(tokenizer: tokenizers.Tokenizer) -> int | None:
    """The token for unknown words, where the tokenizer's model names one."""
    name = getattr(tokenizer.model, "unk_token", None)
    return None if name is None else tokenizer.token_to_id(name)


def _reopened(folder: Path, location: str, fingerprint: str, described: Mapping[str, Any]) -> Bag:
    """The model that another process opened.

    Raises:
        UsageError: it is no longer there.
        FingerprintError: another one is there.
    """
    bag = Bag.load(folder, ModelOptions(**described))
    if bag.fingerprint != fingerprint:
        raise FingerprintError(f"{folder} holds model {bag.fingerprint}, but {fingerprint} was opened: open it again.")
    return replace(bag, location=location)


def third_ranker(folder: Path) -> tuple[Bag, float] | None:
    """The static model that was trained with a retrieval model, and its weight in the fusion; None without one.

    Raises:
        UsageError: the static model in the model's MANIFEST is missing.
        CorruptError: the file is damaged.
    """
    found = _read_json(folder / MANIFEST).get("meta", {}).get("third")
    return None if found is None else (Bag.load(folder / found["path"]), float(found["weight"]))


def model_fingerprint(folder: Path, parts: list[Path]) -> str:
    """Fingerprint of a model: a hash of the sha256 of the files that determine its vectors.

    Args:
        folder: the model's folder; its MANIFEST, where it has one, is compared with the files.
        parts: weights and tokenizer.

    Raises:
        CorruptError: a file is not the one of the MANIFEST, or the MANIFEST is damaged.
    """
    known = load_manifest(folder, None)["files"] if (folder / MANIFEST).is_file() else {}
    names = [path.relative_to(folder).as_posix() for path in parts]
    for name in names:
        if name in known:
            check_entry(folder, name, known[name])
    return fingerprint(
        {
            name: known[name]["sha256"] if name in known else sha256_of(path)
            for name, path in zip(names, parts, strict=True)
        }
    )


def _tokenizer(path: Path) -> tokenizers.Tokenizer:
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception
        raise CorruptError(f"{path}: the tokenizer cannot be read ({error}): restore the model.") from None
    tokenizer.no_padding()
    return tokenizer


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise CorruptError(f"{path} is damaged: restore the model from a copy or train it again.") from None
