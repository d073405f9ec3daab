"""The workflow of ``pretrieve encode``: any number of documents into vectors, by any number of processes.

Every process reads the sources and encodes every n-th shard of them. A shard is written whole or not at all, so the
same command continues where it was stopped; shards that are there are compared with the documents, and a collection
that has changed is refused. Nothing depends on which process wrote a shard, or when.
"""

from __future__ import annotations

from pretrieve.core.errors import UsageError
from pretrieve.pipeline.encode.part import EncodeReport, encode_part
from pretrieve.pipeline.encode.request import EncodeRequest
from pretrieve.pipeline.run.progress import Listener, Silent


def encode(request: EncodeRequest, listener: Listener | None = None, *, check: bool = False) -> EncodeReport:
    """Encode documents or queries into shards on disk; the same request continues where it was stopped.

    Args:
        request: arguments of the run.
        listener: receives progress.
        check: encode nothing; read every byte that is there, and refuse a collection with missing shards.

    Raises:
        UsageError: a value cannot be, or has no effect.
        PretrieveError: any other error that a user can fix: documents, model, shards of another run, disk.
    """
    listener = listener or Silent()
    request.check()
    if check and request.part != (0, 1):
        raise UsageError("--check looks at all shards: leave --shard out.")
    if request.engine == "ray" and not check:
        from pretrieve.pipeline.encode.ray_engine import encode_by_ray

        return encode_by_ray(request, listener)
    return encode_part(request, listener, check=check)
