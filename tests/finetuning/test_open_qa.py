"""Question answering: what is retrieved and read, both losses against plain loops, the trainer's promises, learning."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from quiz import quiz, store

from pretrieve.core.errors import UsageError
from pretrieve.finetuning.open_qa import Answers, OpenQuestionAnswering, ReadingOptions
from pretrieve.finetuning.qa_blocks import Occurrences, QABlocks
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.models.heads import Projected
from pretrieve.sampling.batches import Batches
from pretrieve.sampling.questions import QuestionRows
from pretrieve.training.checkpoint import Checkpoints, digest
from pretrieve.training.options import TrainingOptions
from pretrieve.training.step import StepContext, cached_step, full_step
from pretrieve.training.trainer import Trainer

DOCUMENTS, QUESTIONS = quiz()
SMALL = {"block": 40, "beam": 12, "read": 3, "width": 5, "hidden": 8}


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    return store(DOCUMENTS, tmp_path_factory.mktemp("quiz"))


def make(towns, *, layers=1, wide=16, projection=8, dropout=0.1, seed=0, questions=QUESTIONS, **changes):
    base = f"new:layers={layers},hidden={wide},heads=2,intermediate=32,dropout={dropout}"
    reader = build_encoder(base, store=towns, options=EncoderOptions(max_length=96), seed=seed)
    pooling = EncoderOptions(pooling="bert" if projection else "mean", max_length=96)
    retriever = build_encoder(base, store=towns, options=pooling, seed=seed + 1)
    if projection:
        retriever = Projected(retriever, projection, seed=seed, dropout=dropout)
    sampler = QuestionRows(questions, towns.tokenizer, retriever.specials, 32)
    answers = Answers(questions, towns.tokenizer, towns)
    options = ReadingOptions(**{**SMALL, **changes})
    objective = OpenQuestionAnswering((retriever, retriever), reader, towns, sampler, answers, options, seed)
    return objective, Batches(sampler=sampler, batch_size=8, seed=seed)


def test_occurrences_are_those_of_a_plain_search(towns) -> None:
    tokens, begins = towns.tokens.tolist(), [*towns.word_starts[towns.tokens], True]
    occurrences, rng = Occurrences(towns), np.random.default_rng(0)
    seen = 0
    for _ in range(300):
        start, size = int(rng.integers(len(tokens) - 6)), int(rng.integers(1, 6))
        sought = tokens[start : start + size]
        expected = [
            at
            for at in range(len(tokens) - size + 1)
            if tokens[at : at + size] == sought and begins[at] and begins[at + size]
        ]
        assert occurrences.of(sought).tolist() == expected
        seen += len(expected)
    assert seen > 300
    assert occurrences.of([]).tolist() == []


def test_blocks_are_whole_with_titles_and_joint_rows_are_question_and_body(towns) -> None:
    search_blocks, specials = QABlocks(towns, towns.specials, 24), towns.specials
    assert len(search_blocks) > len(towns), "some documents make several blocks"
    covered = np.concatenate([np.arange(a, b) for a, b in zip(search_blocks.starts, search_blocks.stops, strict=True)])
    bodies = np.concatenate([np.arange(a, b) for a, b in zip(towns.bodies, towns.ends, strict=True)])
    assert covered.tolist() == bodies.tolist(), "nothing is removed, nothing twice"
    chosen = np.array([3, 0, 7])
    rows = search_blocks.rows(chosen)
    for index, block in enumerate(chosen):
        document = search_blocks.documents[block]
        title = towns.tokens[towns.starts[document] : towns.bodies[document]].tolist()
        body = towns.tokens[search_blocks.starts[block] : search_blocks.stops[block]].tolist()
        assert rows.row(index).tolist() == [specials.cls, *title, specials.sep, *body, specials.sep]
    sampler = QuestionRows(QUESTIONS, towns.tokenizer, specials, 32)
    asked = sampler.without_specials(np.array([5, 2]))
    joint, places = search_blocks.beside(asked, np.array([[1, 2], [0, 4]]), 20)
    for row, (question, block) in enumerate([(0, 1), (0, 2), (1, 0), (1, 4)]):
        words = asked.row(question).tolist()[:8]
        body = towns.tokens[search_blocks.starts[block] : search_blocks.stops[block]].tolist()[: 17 - len(words)]
        assert joint.row(row).tolist() == [specials.cls, *words, specials.sep, *body, specials.sep]
        where = places[joint.offsets[row] : joint.offsets[row + 1]]
        assert where[where >= 0].tolist() == list(
            range(search_blocks.starts[block], search_blocks.starts[block] + len(body))
        )
    assert joint.lengths.max() <= 20


def logsumexp(values) -> float:
    return float(np.log(np.exp(np.asarray(values, float)).sum()))


def test_both_losses_by_plain_loops(towns) -> None:
    """1.5 written out: top blocks by dot product, those with an answer, every span of the blocks that are read."""
    objective, batches = make(towns, read=5)
    objective.double().eval()
    batch = batches(0)
    prepared = objective.prepare(batch, 0)
    encoded = objective.encode(prepared, 0)
    vectors = objective.query_encoder(batch.rows)[:, 0].detach().numpy()
    scores = vectors @ objective.vectors.double().numpy().T
    seen = {"retrieval": 0, "reading": 0}
    for example, number in enumerate(batch.documents):
        best = np.argsort(-scores[example], kind="stable")[:12]
        assert prepared.per_example["blocks"][example].tolist() == best.tolist()
        (answer,) = QUESTIONS[number].answers
        ids = towns.tokenizer.encode([answer]).row(0).tolist()
        text = {
            b: towns.tokens[objective.search_blocks.starts[b] : objective.search_blocks.stops[b]].tolist() for b in best
        }
        holds = [any(text[b][i : i + len(ids)] == ids for i in range(len(text[b]))) for b in best]
        retrieval = logsumexp(scores[example][best])
        retrieval -= logsumexp(scores[example][best][holds]) if any(holds) else retrieval
        every, right = [], []
        for place, block in enumerate(best[:5]):
            row = prepared.rows.row(6 * example + 1 + place)
            body = slice(len(row) - 1 - len(text[block]), len(row) - 1)
            segments = np.zeros(len(row), int)
            segments[body.start :] = 1
            rows = type(batch.rows).of([row])
            states = objective.reader.states(rows, segments)[0][body]
            for first in range(len(text[block])):
                for last in range(first, min(first + 5, len(text[block]))):
                    where = torch.tensor([first]), torch.tensor([last])
                    every.append(float(objective.spans(states, *where).detach()) + scores[example][block])
                    if text[block][first : last + 1] == ids:
                        right.append(every[-1])
        reading = logsumexp(every) - logsumexp(right) if right else 0.0
        assert float(encoded.statistics["retrieval"][example]) == pytest.approx(retrieval, rel=1e-5, abs=1e-5)
        assert float(encoded.statistics["reading"][example]) == pytest.approx(reading, rel=1e-5, abs=1e-5)
        assert float(encoded.example_loss[example].detach()) == pytest.approx(retrieval + reading, rel=1e-5, abs=1e-5)
        seen["retrieval"] += retrieval > 0
        seen["reading"] += reading > 0
    assert min(seen.values()) > 0


def test_encode_is_row_separable_and_the_cache_changes_nothing(towns) -> None:
    objective, batches = make(towns, dropout=0.2)
    objective.double()
    batch = objective.prepare(batches(1), 1)
    before = digest(objective)
    objective.eval()
    whole = objective.encode(batch, 1).example_loss
    parts = torch.cat([objective.encode(batch.slice(a, b), 1).example_loss for a, b in ((0, 3), (3, 4), (4, 8))])
    assert torch.allclose(whole, parts, rtol=1e-10, atol=1e-12)
    assert digest(objective) == before
    objective.train()
    twin = deepcopy(objective)
    context = StepContext(seed=1, chunk=3)
    results = [full_step(objective, batches(1), 1, context), cached_step(twin, batches(1), 1, context)]
    assert torch.allclose(results[0].loss, results[1].loss, rtol=1e-12)
    for one, other in zip(objective.parameters(), twin.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or torch.allclose(one.grad, other.grad, rtol=1e-9, atol=1e-12)


def test_gradient_by_finite_differences(towns) -> None:
    objective, batches = make(towns, layers=2)
    objective.double().eval()
    batch = objective.prepare(batches(0), 0)
    objective.encode(batch, 0).example_loss.mean().backward()
    rng = torch.Generator().manual_seed(0)
    learns = {name: p for name, p in objective.named_parameters() if p.requires_grad and p.grad is not None}
    assert {name.split(".")[0] for name in learns} == {"query_encoder", "reader", "spans"}
    for name, parameter in list(learns.items())[::7]:
        direction = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
        values = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                parameter += step * direction
                values.append(float(objective.encode(batch, 0).example_loss.mean()))
        with torch.no_grad():
            parameter += 1e-6 * direction
        slope = (values[0] - values[1]) / 2e-6
        assert slope == pytest.approx(float((parameter.grad * direction).sum()), rel=1e-4, abs=1e-7), name


def test_the_readers_loss_reaches_the_question_encoder(towns) -> None:
    """The block's retriever logit is part of each span's score."""
    objective, batches = make(towns)
    objective.eval()
    batch = objective.prepare(batches(0), 0)
    logits = objective.logits(batch.column(0).rows)
    blocks = torch.from_numpy(np.asarray(batch.per_example["blocks"]))
    scores, owners, _, _ = objective._scored(batch, logits.gather(1, blocks))
    scores[owners == 0].max().backward()
    assert objective.query_encoder.linear.weight.grad.abs().max() > 0


def test_blocks_stay_as_they_are_and_resume_is_bit_equal(towns, tmp_path) -> None:
    options = TrainingOptions(steps=6, batch_size=8, learning_rate=0.01)
    straight, batches = make(towns)
    frozen, vectors = digest(straight.encoder), straight.vectors.clone()
    started = digest(straight.query_encoder)
    Trainer(objective=straight, batches=batches, options=options).run()
    assert digest(straight.encoder) == frozen
    assert digest(straight.query_encoder) != started
    checkpoints = Checkpoints(folder=tmp_path)
    first, batches = make(towns)
    trainer = Trainer(objective=first, batches=batches, options=options, checkpoints=checkpoints)
    for step in range(3):
        trainer.take(batches(step))
    trainer.save()
    second, batches = make(towns)
    trainer = Trainer(objective=second, batches=batches, options=options, checkpoints=checkpoints)
    assert trainer.resume() == 3
    trainer.run()
    assert digest(second) == digest(straight)
    assert torch.equal(second.vectors, vectors), "the index is made again, the same"


def test_a_question_without_an_answer_in_the_corpus_costs_nothing(towns) -> None:
    from pretrieve.sampling.questions import Question

    objective, batches = make(towns, questions=[Question(text="Who?", answers=("nobody at all",))] * 2)
    objective.train()
    result = full_step(objective, batches(0), 0)
    assert float(result.loss) == 0.0
    assert all(float(p.grad.abs().max()) == 0 for p in objective.parameters() if p.grad is not None)


def test_beam_and_blocks_read_are_no_more_than_there_are(towns) -> None:
    objective, batches = make(towns, beam=5000, read=1000, block=90)
    prepared = objective.prepare(batches(0).slice(0, 2), 0)
    assert prepared.per_example["blocks"].shape == (2, len(towns))
    assert prepared.shape == (2, 1 + len(towns))
    for wrong in ({"block": 97}, {"joint": 97}, {"width": 0}, {"read": 0}):
        with pytest.raises(UsageError):
            make(towns, **wrong)


def correct_share(objective, towns) -> tuple[float, float]:
    """Exact answers, and questions with an answer among the blocks read."""
    objective.eval()
    batch = objective.questions.rows(np.arange(len(QUESTIONS)))
    first, stop, blocks, _ = objective.read(batch)
    right = [
        towns.tokens[a:b].tolist() == towns.tokenizer.encode(question.answers).row(0).tolist()
        for a, b, question in zip(first, stop, QUESTIONS, strict=True)
    ]
    held = [np.isin(row[:2], objective.answers.held(n, objective.search_blocks)).any() for n, row in enumerate(blocks)]
    return float(np.mean(right)), float(np.mean(held))


def test_it_learns_to_retrieve_and_to_read(towns) -> None:
    torch.set_num_threads(1)
    changes = {"width": 3, "read": 2, "block": 60, "beam": 100, "hidden": 64}
    objective, batches = make(towns, wide=64, projection=0, dropout=0.0, **changes)
    batches = Batches(sampler=batches.sampler, batch_size=24, seed=0)
    before = correct_share(objective, towns)
    options = TrainingOptions(steps=80, batch_size=24, learning_rate=0.005, warmup=0.1, clip=1.0)
    Trainer(objective=objective, batches=batches, options=options).run()
    after = correct_share(objective, towns)
    assert after[0] > before[0] + 0.6, (before, after)
    assert after[1] > before[1] + 0.3, (before, after)


def test_an_answer_across_two_blocks_is_in_neither(towns) -> None:
    from pretrieve.sampling.questions import Question

    search_blocks = QABlocks(towns, towns.specials, 24)
    texts = [towns.tokens[a:b].tolist() for a, b in zip(search_blocks.starts, search_blocks.stops, strict=True)]
    crossing = [b for b in range(len(texts) - 1) if search_blocks.documents[b] == search_blocks.documents[b + 1]]
    asked = [towns.decode([texts[b][-1], texts[b + 1][0]]) for b in crossing]
    answers = Answers([Question(text="?", answers=(text,)) for text in asked], towns.tokenizer, towns)
    found = 0
    for number, block in enumerate(crossing):
        ids = [texts[block][-1], texts[block + 1][0]]
        expected = [b for b, text in enumerate(texts) if any(text[i : i + 2] == ids for i in range(len(text) - 1))]
        occurs = len(answers.of(number)[0])
        found += occurs > len(expected)
        if occurs:
            assert answers.held(number, search_blocks).tolist() == expected
    assert found, "some occurrences do cross the edge of a block"
