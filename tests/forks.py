"""Processes of one's own, forked from a server that has imported torch; any folder of tests may use them."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.connection import Connection
from typing import Any

import pytest

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(  # what takes seconds to import
    [
        "pretrieve.cli.app",
        "pretrieve.pipeline.pretrain.train",
        "torch._dynamo",
        "transformers.models.bert.modeling_bert",
        "transformers.loss.loss_utils",
    ]
)


def start(target: Any, *arguments: Any) -> tuple[Any, Connection]:
    """A process, and where it sends from."""
    here, there = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=target, args=(there, *arguments))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        process.start()
    there.close()
    return process, here
