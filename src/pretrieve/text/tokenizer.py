"""Tokenizers: trained on the corpus or taken from a model; ids in, ids out, nothing of a model's code.

A trained vocabulary is WordPiece (Schuster & Nakajima, *Japanese and Korean voice search*, ICASSP 2012) or, where words
have no spaces, BPE (Sennrich et al., ACL 2016); Unigram (Kudo, *Subword regularization*, ACL 2018) is optional.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from pretrieve.core import files
from pretrieve.core.errors import UsageError
from pretrieve.core.types import BoolArray, IntArray, Rows, SpecialTokens
from pretrieve.text.language import spaceless, starts_spaceless
from pretrieve.text.special_tokens import end_texts, names_of, special_tokens

Algorithm = Literal["auto", "wordpiece", "bpe", "unigram"]
_UNKNOWN = "[UNK]"
_SPECIAL = ["[PAD]", _UNKNOWN, "[CLS]", "[SEP]", "[MASK]"]
_ALPHABET = 4_000  # characters that get an entry of their own; the rest is unknown
_FILE = "tokenizer.json"
_VOCABULARY = "vocab.txt"  # of BERT's older checkpoints, which have nothing else


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """A tokenizer and what we need to know of it.

    Attributes:
        backend: the ``tokenizers.Tokenizer``; truncation and padding are off.
        specials: ids of its special tokens.
    """

    backend: tokenizers.Tokenizer
    specials: SpecialTokens

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the vocabulary and of every rule."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:16]

    @cached_property
    def word_starts(self) -> BoolArray:
        """Whether a token begins a word, (V,): see ``word_starts``."""
        return word_starts(self.backend)

    @cached_property
    def lettered(self) -> BoolArray:
        """Whether a token holds a letter or a digit, (V,): see ``lettered``."""
        return lettered(self.backend)

    def bare(self) -> SpecialTokens:
        """The special tokens for an encoder that puts nothing around its rows (``cls`` and ``sep`` are None)."""
        return replace(self.specials, cls=None, sep=None)

    def encode(self, texts: Sequence[str]) -> Rows:
        """Token ids of R texts, without special tokens, as ragged rows (int64)."""
        ids = [encoding.ids for encoding in self.backend.encode_batch_fast(list(texts), add_special_tokens=False)]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids], dtype=np.int64)]).astype(np.int64)
        return Rows(np.fromiter(chain.from_iterable(ids), np.int64, count=int(offsets[-1])), offsets)

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        """The text of some token ids; special tokens are left out."""
        return str(self.backend.decode([int(token) for token in ids]))

    def to_bytes(self) -> bytes:
        """The tokenizer as JSON, in the format of the ``tokenizers`` library."""
        return str(self.backend.to_str(pretty=False)).encode()

    def save(self, folder: files.Folder) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json`` into an artefact."""
        config = {name: str(self.backend.id_to_token(token)) for name, token in names_of(self.specials).items()}
        folder.write(_FILE, self.to_bytes())
        folder.json("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **config})


def load(source: str | Path) -> Tokenizer:
    """Load a tokenizer from a folder with a ``tokenizer.json`` or ``vocab.txt``, or by the name of a model of the hub.

    Where ``sentence_bert_config.json`` beside it asks for small letters, it makes them, as sentence-transformers does.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    folder = Path(source)
    if not folder.is_dir():
        return _load_from_hub(str(source))
    if not (folder / _FILE).is_file():
        inner = sorted(folder.glob(f"*/{_FILE}"))  # beside the first module, or beside each of separate towers
        if (folder / "modules.json").is_file() and inner:
            return load(inner[0].parent)
        if (folder / _VOCABULARY).is_file():
            return _lowered(_of_vocabulary(folder), folder)
        raise UsageError(f"{folder} has no {_FILE}: save the model with a fast tokenizer, or choose another model.")
    return _lowered(of_bytes((folder / _FILE).read_bytes(), _config_of(folder), str(folder), folder=folder), folder)


def _lowered(tokenizer: Tokenizer, folder: Path) -> Tokenizer:
    said = folder / "sentence_bert_config.json"
    if said.is_file() and json.loads(said.read_text(encoding="utf-8")).get("do_lower_case"):
        before = tokenizer.backend.normalizer
        small = normalizers.Lowercase()
        tokenizer.backend.normalizer = small if before is None else normalizers.Sequence([small, before])
    return tokenizer


def of_bytes(
    data: bytes, config: dict[str, Any] | None = None, where: str = _FILE, *, folder: Path | None = None
) -> Tokenizer:
    """Build a tokenizer from the JSON of the ``tokenizers`` library.

    Args:
        data: what ``to_bytes`` gives, or the ``tokenizer.json`` of a model.
        config: ``tokenizer_config.json`` of the model, which names special tokens; guessed by their spelling if absent.
        where: what to name in messages.
        folder: of the model, if the tokenizer of a decoder is to end texts (``text/special_tokens.py``).

    Raises:
        UsageError: it cannot be read, or puts more than one token before or after a text.
    """
    try:
        backend = tokenizers.Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises a bare Exception
        raise UsageError(f"{where}: the tokenizer cannot be read ({error}).") from None
    backend.no_truncation()
    backend.no_padding()
    if folder is not None:
        end_texts(backend, config or {}, folder)
    return Tokenizer(backend, special_tokens(backend, config or {}, where))


def _of_vocabulary(folder: Path) -> Tokenizer:
    """BERT's own tokenizer, out of its list of pieces and what ``tokenizer_config.json`` says of letters."""
    config = _config_of(folder)
    pieces = (folder / _VOCABULARY).read_text(encoding="utf-8").rstrip("\n").split("\n")
    backend = tokenizers.Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token=_UNKNOWN))
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=config.get("do_lower_case", True),
        strip_accents=config.get("strip_accents"),
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
    )
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    backend.add_special_tokens([token for token in _SPECIAL if token in pieces])
    return of_bytes(_surrounding(backend).to_str().encode(), config, str(folder))


def _surrounding(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Make a tokenizer add [CLS] and [SEP] around texts on request."""
    tokens = [(token, backend.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=tokens
    )
    return backend


def train(
    texts: Iterable[str], *, vocabulary_size: int = 32_768, algorithm: Algorithm = "auto", lowercase: bool = True
) -> Tokenizer:
    """Train a vocabulary; the same texts give the same tokenizer (but for Unigram, whose library rounds as it goes).

    Args:
        texts: training texts, held in memory: a sample (``Documents.sample`` picks some evenly).
        vocabulary_size: maximum number of entries, special tokens included; a small corpus gives fewer.
        algorithm: ``auto`` takes BPE where most texts are in a script without spaces between words, else WordPiece.
        lowercase: fold case, and remove accents as BERT's uncased models do.

    Raises:
        UsageError: the vocabulary is smaller than the special tokens.
    """
    if vocabulary_size <= len(_SPECIAL):
        raise UsageError(f"a vocabulary of {vocabulary_size} is too small: ask for at least 1,000 entries.")
    texts = list(texts)
    if algorithm == "auto":
        step = max(1, len(texts) // 1000)
        algorithm = "bpe" if spaceless("\n".join(text[:20] for text in texts[::step])) else "wordpiece"
    make = {"wordpiece": _wordpiece, "bpe": _bpe, "unigram": _unigram}[algorithm]
    backend = _surrounding(make(texts, vocabulary_size, lowercase))
    return of_bytes(str(backend.to_str()).encode())


def word_starts(backend: tokenizers.Tokenizer) -> BoolArray:
    """Return for every token whether it begins a word, (V,).

    WordPiece marks continuations with ``##``; byte-level and sentencepiece vocabularies mark beginnings with a space.
    Letters of scripts without spaces, and in the latter two signs of punctuation, always count as beginnings.
    """
    model = json.loads(backend.to_str())
    kind = model["model"].get("type") or ("WordPiece" if "max_input_chars_per_word" in model["model"] else "BPE")
    tokens = [backend.id_to_token(index) or "" for index in range(_size(backend))]
    if kind == "WordLevel":
        return np.ones(len(tokens), dtype=bool)
    if kind == "WordPiece":
        prefix = model["model"]["continuing_subword_prefix"]
        return np.array([not t.startswith(prefix) or starts_spaceless(t[len(prefix) :]) for t in tokens])
    if "ByteLevel" in json.dumps([model["pre_tokenizer"], model["decoder"]]):
        tokens = [_from_bytes(token) for token in tokens]
    special = set(backend.get_added_tokens_decoder())
    return np.array([i in special or _begins(token) for i, token in enumerate(tokens)])


def lettered(backend: tokenizers.Tokenizer) -> BoolArray:
    """Return for every token whether it contains a letter or a digit, (V,); special tokens do not.

    A piece of a character (byte-level vocabularies have such) counts as a letter: signs are whole tokens.
    """
    by_bytes = "ByteLevel" in json.dumps([json.loads(backend.to_str())[part] for part in ("pre_tokenizer", "decoder")])
    special = set(backend.get_added_tokens_decoder())
    tokens = [backend.id_to_token(index) or "" for index in range(_size(backend))]
    if by_bytes:
        tokens = [_from_bytes(token) for token in tokens]
    return np.array(
        [i not in special and any(c.isalnum() or c == "\ufffd" for c in token) for i, token in enumerate(tokens)]
    )


def _begins(token: str) -> bool:
    return (
        bool(token) and (token[0] == "▁" or not token[0].isalnum() or starts_spaceless(token)) and token[0] != "\ufffd"
    )


def _from_bytes(token: str) -> str:
    """Undo the byte alphabet of GPT-2: every byte is a printable character, those that are not moved up by 256."""
    table = _byte_alphabet()
    return bytes(table[char] for char in token if char in table).decode(errors="replace")


def _byte_alphabet() -> dict[str, int]:
    if not _BYTES:
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        moved = [byte for byte in range(256) if byte not in printable]
        _BYTES.update({chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(moved)})
    return _BYTES


_BYTES: dict[str, int] = {}


def _size(backend: tokenizers.Tokenizer) -> int:
    return max(backend.get_vocab(with_added_tokens=True).values()) + 1


def _wordpiece(texts: Sequence[str], size: int, lowercase: bool) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token=_UNKNOWN))
    # camelCase is two words, as snake_case is: what BERT's rules leave whole is cut before case is folded
    parts = normalizers.Replace(tokenizers.Regex(r"(?<=[\p{Ll}\d])(?=\p{Lu})"), " ")
    backend.normalizer = normalizers.Sequence([parts, normalizers.BertNormalizer(lowercase=lowercase)])
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    letters = _alphabet(texts, backend.normalizer, min(_ALPHABET, (size - len(_SPECIAL)) // 2))
    continuing = [f"##{c}" for c in letters if len(backend.pre_tokenizer.pre_tokenize_str(f"a{c}")) == 1]
    # The library numbers continuing letters in the order of a hash table, and breaks ties by number: naming them all
    # beforehand makes training repeatable. They are not special, so that the model is built anew from the vocabulary.
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=[*_SPECIAL, *letters, *continuing],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        min_frequency=2,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    vocabulary = backend.get_vocab(with_added_tokens=True)
    trained = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=_UNKNOWN))
    trained.normalizer, trained.pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    trained.decoder = backend.decoder
    trained.add_special_tokens(_SPECIAL)
    return trained


def _bpe(texts: Sequence[str], size: int, lowercase: bool) -> tokenizers.Tokenizer:
    backend = _sentencepiece_like(models.BPE(unk_token=_UNKNOWN), lowercase)
    letters = ["▁", *_alphabet(texts, backend.normalizer, min(_ALPHABET, size - len(_SPECIAL) - 1))]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=_SPECIAL,
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        max_token_length=8,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def _unigram(texts: Sequence[str], size: int, lowercase: bool) -> tokenizers.Tokenizer:
    backend = _sentencepiece_like(models.Unigram(), lowercase)
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=_SPECIAL, unk_token=_UNKNOWN, show_progress=False, max_piece_length=8
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def _sentencepiece_like(model: Any, lowercase: bool) -> tokenizers.Tokenizer:
    """Spaces are written ``▁`` and belong to the word that follows; punctuation stands alone."""
    backend = tokenizers.Tokenizer(model)
    steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(tokenizers.Regex(r"\s+"), " ")])
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Punctuation()]
    )
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    return backend


def _alphabet(texts: Sequence[str], normalizer: Any, limit: int) -> list[str]:
    """The most frequent characters after normalisation, most frequent first, ties by character."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    normal: Counter[str] = Counter()
    for char, count in counts.items():
        for part in normalizer.normalize_str(char):
            normal[part] += 0 if part.isspace() else count
    return sorted(+normal, key=lambda char: (-normal[char], char))[:limit]


def _load_from_hub(name: str) -> Tokenizer:
    from huggingface_hub import hf_hub_download  # only here: a folder needs no network
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        data = Path(hf_hub_download(name, _FILE))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{name!r} is neither a folder nor a model of the hub with a {_FILE} ({reason}).") from None
    try:
        config = Path(hf_hub_download(name, "tokenizer_config.json")).parent
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError):
        config = data.parent
    return of_bytes(data.read_bytes(), _config_of(config), name, folder=config)


def _config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            config |= json.loads((folder / name).read_text(encoding="utf-8"))
    return config
