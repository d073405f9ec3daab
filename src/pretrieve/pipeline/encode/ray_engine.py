"""``encode --engine ray``: the parts of a collection on the workers of Ray Data, on one machine or a cluster.

A worker does what a process with ``--shard i/n`` does, so a worker that is lost costs its unfinished shard: Ray starts
another, which finds the shards that are there. All see the same folders, for the sources, the model and the vectors.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core.errors import PretrieveError
from pretrieve.models.bag import Bag
from pretrieve.pipeline.encode.part import EncodeReport, encode_part
from pretrieve.pipeline.encode.request import EncodeRequest
from pretrieve.pipeline.encode.shards import numbers_in
from pretrieve.pipeline.run.progress import Listener, Silent


def encode_by_ray(request: EncodeRequest, listener: Listener) -> EncodeReport:
    """Encode with as many workers as the request says, on the cluster of ``RAY_ADDRESS`` or on this machine.

    Args:
        request: checked before.
        listener: receives the number of workers.

    Raises:
        PretrieveError: that of the first worker that failed.
    """
    import ray
    import ray.data

    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    gpus = 0 if Bag.readable(Path(request.model)) else int(ray.cluster_resources().get("GPU", 0))
    workers = request.workers or gpus or int(ray.cluster_resources()["CPU"])
    listener.stage("encode", unit="parts")
    listener.note(f"{workers:,} workers of Ray on {len(ray.nodes()):,} machines, {'a GPU' if gpus else 'a CPU'} each.")
    results = (
        ray.data.from_items([{"part": number} for number in range(workers)], override_num_blocks=workers)
        .map_batches(
            Worker,
            fn_constructor_args=(replace(_absolute(request), engine="local", workers=None), workers),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=0 if gpus else 1,
            num_gpus=1 if gpus else 0,
        )
        .take_all()
    )
    for result in results:
        if result["error"]:
            raise PretrieveError(result["error"])
    return _together(request, [EncodeReport(**orjson.loads(result["report"])) for result in results])


class Worker:
    """An actor that encodes parts, one after the other."""

    def __init__(self, request: EncodeRequest, parts: int) -> None:
        self._request, self._parts = request, parts

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Encode the part of a batch; an error for the user is returned, because Ray would wrap it."""
        (part,) = batch["part"].tolist()
        try:
            report = encode_part(replace(self._request, part=(part, self._parts)), Silent())
        except PretrieveError as error:
            return {"error": [str(error)], "report": [""]}
        return {"error": [""], "report": [orjson.dumps(report.to_json()).decode()]}


def _absolute(request: EncodeRequest) -> EncodeRequest:
    """The request with absolute paths: a worker may run in another folder."""
    sources = (str(Path(name).absolute()) if Path(name).exists() else name for name in request.sources)
    model = str(Path(request.model).absolute()) if Path(request.model).exists() else request.model
    return replace(request, sources=tuple(sources), model=model, output=request.output.absolute())


def _together(request: EncodeRequest, reports: list[EncodeReport]) -> EncodeReport:
    there = set(numbers_in(request.output))
    assert there == set(range(reports[0].shards)), "every part was encoded"
    return replace(
        reports[0],
        vectors=str(request.output),
        model=request.model,
        written=sum(report.written for report in reports),
        present=sum(report.present for report in reports),
        missing=[],
    )
