"""Generators of transformers: the draw by NumPy, the same texts in any batch, prompts that fit, and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import writers
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Document
from pretrieve.generation.asking import Ask, Sampling, write_queries
from pretrieve.generation.local import LocalGenerator
from pretrieve.generation.nucleus import Nucleus
from pretrieve.generation.prompts import Prompt

KINDS = ("t5", "bart", "gpt2", "llama", "chat")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("generators")
    documents = writers.collection(folder / "documents.jsonl")
    for kind in KINDS:
        writers.generator(folder / kind, documents, kind)
    writers.encoder(folder / "bert", documents, labels=0)
    return folder


@pytest.fixture(scope="module")
def documents(tmp_path_factory) -> list[tuple[int, Document]]:
    """Five documents of different lengths, so that a batch has padding."""
    made = writers.collection(tmp_path_factory.mktemp("d") / "d.jsonl")[:5]
    return [(n, replace(d, text=" ".join(d.text.split()[: 3 + 3 * n]))) for n, d in enumerate(made)]


def chosen(logits: np.ndarray, drawn: float, temperature: float, top_k: int, top_p: float) -> int:
    """The word that a number falls on, by a loop."""
    values = np.exp((logits - logits.max()) / temperature)
    values /= values.sum()
    order = sorted(range(len(values)), key=lambda word: -values[word])[: top_k or None]
    values /= values[order].sum()
    nucleus, mass = [], 0.0
    for word in order:
        if mass >= top_p:
            break
        nucleus.append(word)
        mass += values[word]
    reached = 0.0
    for word in nucleus:
        reached += values[word]
        if drawn * mass < reached:
            return word
    return nucleus[-1]


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.5, 0, 0.9), (2.0, 5, 0.3), (1.0, 3, 1.0), (1.0, 99, 0.01)]
)
def test_the_draw_equals_numpy(temperature, top_k, top_p) -> None:
    rng = np.random.default_rng(0)
    uniform = rng.random((6, 50))
    uniform[0, 0], uniform[1, 0] = 0.0, np.nextafter(1.0, 0.0)
    draw = Nucleus(uniform, temperature, top_k, top_p)
    for step in range(50):
        logits = rng.standard_normal((6, 12)) * 2
        found = draw(torch.zeros(6, 3 + step), torch.from_numpy(logits))
        assert (torch.isfinite(found).sum(1) == 1).all()
        wanted = [chosen(logits[row], uniform[row, step], temperature, top_k, top_p) for row in range(6)]
        assert found.argmax(1).tolist() == wanted


def test_temperature_zero_leaves_the_scores() -> None:
    scores = torch.randn(2, 5)
    assert torch.equal(Nucleus(np.zeros((2, 1)), 0.0, 0, 1.0)(torch.zeros(2, 1), scores), scores)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_depend_on_seed_and_document_alone(made, documents, kind) -> None:
    """Alone, in another batch, after others: the same queries; another seed gives others."""
    prompt = Prompt("{document}", 2, 300)
    model = LocalGenerator(str(made / kind), Sampling(max_new_tokens=5))
    assert model.kind == {"t5": "seq2seq", "bart": "seq2seq", "chat": "chat"}.get(kind, "plain")
    torch.manual_seed(5)
    together = write_queries(model, prompt, documents)
    apart = [write_queries(model, prompt, [item])[0] for item in reversed(documents)][::-1]
    assert together == apart
    assert sum(len(queries) == 2 and queries[0] != queries[1] and all(queries) for queries in together) >= 3
    assert all(len(query.split()) <= 5 for queries in together for query in queries), "the prompt is no part of it"
    again = LocalGenerator(str(made / kind), Sampling(max_new_tokens=5))
    assert again.fingerprint == model.fingerprint
    assert write_queries(again, prompt, documents[2:]) == together[2:]
    other = LocalGenerator(str(made / kind), Sampling(max_new_tokens=5, seed=1))
    assert write_queries(other, prompt, documents) != together


def test_one_answer_holds_all_where_the_prompt_says_a_number(made, documents) -> None:
    model = LocalGenerator(str(made / "chat"), Sampling(max_new_tokens=4))
    asked: list[int] = []
    complete = model.complete
    model.complete = lambda prompt, asks: asked.append(len(asks)) or complete(prompt, asks)
    write_queries(model, Prompt("{number}: {document}", 3, 10), documents)
    write_queries(model, Prompt("{document}", 3, 10), documents)
    assert asked == [5, 15]


def test_a_long_document_is_cut_and_not_the_prompt(made) -> None:
    """BART has 64 positions, GPT-2 128 for prompt and answer: the end of the prompt is seen all the same."""
    word = "lokaka"
    document = Document(id="d", text=f"{word} " * 5000)
    for kind, room in (("bart", 64), ("gpt2", 128 - 8)):
        model = LocalGenerator(str(made / kind), Sampling(max_new_tokens=8))
        prompt = Prompt("{document} END", 1, 4000)
        fitted = model._fitted(prompt, Ask(document, 0), model._prompt_budget(8))
        assert fitted.endswith("END")
        assert room * 0.8 < len(fitted.split()) <= room
        assert model.complete(prompt, [Ask(document, 0)])[0]
    with pytest.raises(UsageError, match="shorter --prompt"):
        model.complete(Prompt("many words here " * 60 + "{document}", 1, 9), [Ask(document, 0)])


def test_a_plain_model_stops_at_the_end_of_a_line(made) -> None:
    model = LocalGenerator(str(made / "gpt2"), Sampling())
    model._tokenizer.batch_decode = lambda rows: [{7: "a\n"}.get(int(row[0]), "a") for row in rows]
    assert model._at_line_end(torch.tensor([[1, 7], [7, 1]]), None).tolist() == [True, False]


def test_what_is_no_generator_is_refused(made, tmp_path) -> None:
    with pytest.raises(UsageError, match="BertForMaskedLM, which writes no text"):
        LocalGenerator(str(made / "bert"), Sampling())
    with pytest.raises(UsageError, match="no such folder"):
        LocalGenerator(str(tmp_path / "nothing"), Sampling())
    with pytest.raises(UsageError, match="could be opened"):
        LocalGenerator(str(tmp_path), Sampling())


def test_missing_weights_are_refused(made, documents, tmp_path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(made / "llama", tmp_path / "llama")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"lacks 1 weights.*lm_head"):
        write_queries(LocalGenerator(str(folder), Sampling()), Prompt("{document}", 1, 9), documents)


@pytest.mark.parametrize(
    "bad", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.1}, {"max_new_tokens": 0}, {"top_k": -1}]
)
def test_bad_sampling(bad) -> None:
    with pytest.raises(UsageError):
        Sampling(**bad)
