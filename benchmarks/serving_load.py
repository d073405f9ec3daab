"""``pretrieve serve`` under load on loopback: latency unloaded, capacity, twice the capacity, memory.

    python benchmarks/serving_load.py my-index --seconds 60 --requests 100000

Client and server share the machine. Twice the capacity is sent whether or not answers come (an open loop); what is
refused gets 503. The result is one line of JSON; with ``-o FOLDER`` also a page.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from pretrieve.pipeline.open_index import open_index

WORDS = 3  # of a query
MOST = 512  # connections
IDLE = 5  # seconds after which a connection is not used again: the server ends it after ten
LOST = 0  # in place of a status, where a connection ended without an answer
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass
class Load:
    """What requests gave: how often which status, and the seconds of those that were answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    begun: float = field(default_factory=time.perf_counter)

    def add(self, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        if status == 200:
            self.seconds.append(seconds)

    def percentile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


class Client:
    """Requests over connections that are kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, float]] = []

    async def get(self, path: str) -> int:
        """The status of an answer that was read whole."""
        reader, writer = await self._connection()
        writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(_LENGTH.search(head)[1]))
        self._free.append((reader, writer, time.perf_counter()))
        return int(head[9:12])

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._free:
            reader, writer, used = self._free.pop()
            if time.perf_counter() - used < IDLE:
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def close(self) -> None:
        for _, writer, _ in self._free:
            writer.close()
            await writer.wait_closed()


async def timed(client: Client, path: str, load: Load) -> None:
    begun = time.perf_counter()
    try:
        status = await client.get(path)
    except (OSError, asyncio.IncompleteReadError):
        status = LOST
    load.add(status, time.perf_counter() - begun)


async def closed_loop(client: Client, paths: Iterator[str], clients: int, seconds: float, most: int = 1 << 60) -> Load:
    """Each client sends its next request when its last is answered, until the time or the requests are over."""
    load, left = Load(), most
    end = time.perf_counter() + seconds

    async def one() -> None:
        nonlocal left
        while left > 0 and time.perf_counter() < end:
            left -= 1
            await timed(client, next(paths), load)

    await asyncio.gather(*(one() for _ in range(clients)))
    return load


async def open_loop(client: Client, paths: Iterator[str], rate: float, seconds: float) -> Load:
    """Requests come at a rate, however many are open; beyond ``MOST`` open ones the client itself is too slow."""
    load, begun, sent, running = Load(), time.perf_counter(), 0, set()
    while (passed := time.perf_counter() - begun) < seconds:
        while sent < rate * passed and len(running) < MOST:
            task = asyncio.ensure_future(timed(client, next(paths), load))
            running.add(task)
            task.add_done_callback(running.discard)
            sent += 1
        await asyncio.sleep(max(0.0, (sent + 1) / rate - (time.perf_counter() - begun)))
    await asyncio.gather(*running)
    return load


def memory(process: int) -> int:
    """Resident bytes of a process."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1]) << 10


def paths_of(index: Path, seed: int = 0) -> Iterator[str]:
    """Addresses of queries of some words of a document each."""
    documents = open_index(index).documents
    chosen = random.Random(seed)
    texts = [documents[chosen.randrange(len(documents))].text for _ in range(min(1000, len(documents)))]
    words = [found for text in texts if len(found := re.findall(r"\w{3,}", text)) >= WORDS]
    while True:
        yield f"/search?q={quote(' '.join(chosen.sample(chosen.choice(words), WORDS)))}"


async def measure(port: int, process: int, index: Path, seconds: float, requests: int) -> dict[str, object]:
    """All figures.

    Args:
        port: of the server.
        process: its id.
        index: that is served.
        seconds: of the overload; capacity is the best of one to four clients, each for a twelfth of it.
        requests: for memory.
    """
    client, paths = Client(port), paths_of(index)
    await closed_loop(client, paths, 1, seconds, 50)
    alone = await closed_loop(client, paths, 1, seconds, 300)
    capacity = 0.0
    for clients in (1, 2, 3, 4):  # too many are refused, and refusing takes time too
        full = await closed_loop(client, paths, clients, seconds / 12)
        capacity = max(capacity, full.statuses[200] / (seconds / 12))
    over = await open_loop(client, paths, 2 * capacity, seconds)
    resident, answered = list[int](), Counter[int]()
    for _ in range(10):
        answered += (await closed_loop(client, paths, 1, 7200, requests // 10)).statuses
        resident.append(memory(process))
    await client.close()
    median = statistics.median(alone.seconds)
    return {
        "unloaded_median_ms": 1000 * median,
        "unloaded_p99_ms": 1000 * alone.percentile(0.99),
        "capacity_per_s": capacity,
        "offered_per_s": sum(over.statuses.values()) / seconds,
        "statuses": {str(status): count for status, count in sorted(over.statuses.items())},
        "loaded_median_ms": 1000 * over.percentile(0.5),
        "loaded_p99_ms": 1000 * over.percentile(0.99),
        "p99_in_unloaded_medians": over.percentile(0.99) / median,
        "requests": requests,
        "requests_statuses": {str(status): count for status, count in sorted(answered.items())},
        "resident_mib": [round(found / (1 << 20), 1) for found in resident],
    }


def run(index: Path, options: Sequence[str], seconds: float, requests: int) -> dict[str, object]:
    """Serve an index in a process of its own, and measure."""
    command = [sys.executable, "-m", "pretrieve", "serve", str(index), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = next(line for line in process.stdout if "Serving on" in line)
            port = int(re.search(r":(\d+)\s", line)[1])
            return asyncio.run(measure(port, process.pid, index, seconds, requests))
        finally:
            process.terminate()


def page(found: Mapping[str, Any]) -> str:
    """The results for people."""
    statuses = found["statuses"]
    resident = found["resident_mib"]
    ratio = found["p99_in_unloaded_medians"]
    refused = statuses.get("503", 0) / sum(statuses.values())
    rows = {
        "one client: median, p99": f"{found['unloaded_median_ms']:.1f} ms, {found['unloaded_p99_ms']:.1f} ms",
        "capacity (the best of one to four clients)": f"{found['capacity_per_s']:.0f} requests a second",
        "offered in the overload": f"{found['offered_per_s']:.0f} requests a second, for {found['seconds']:.0f} s",
        "statuses": ", ".join(f"{count:,} × {status}" for status, count in statuses.items()),
        "refused (503)": f"{refused:.0%}",
        "accepted: median, p99": f"{found['loaded_median_ms']:.1f} ms, {found['loaded_p99_ms']:.1f} ms",
        "p99 of accepted / median of one client (goal: at most 5)": f"{ratio:.2f}",
        f"memory over {found['requests']:,} requests": f"{resident[0]} to {resident[-1]} MiB",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    options = " ".join(["", *found["options"]])
    return (
        f"# `pretrieve serve` under load\n\n`python benchmarks/serving_load.py INDEX -o records/serving{options}` on "
        f"{found['date']}: an index of {found['documents']:,} documents, hybrid search with snippets, three words a "
        f"query; server and client on one machine with {found['processors']} processors.\n\n| | |\n|---|---|\n{table}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path, help="output of `pretrieve index`")
    parser.add_argument("--seconds", type=float, default=60, help="of the overload")
    parser.add_argument("--requests", type=int, default=100_000, help="for memory")
    for name in ("threads", "waiting"):
        parser.add_argument(f"--{name}", help="of the server; its own default without it")
    parser.add_argument("-o", "--output", type=Path, help="folder for results.json and README.md")
    given = parser.parse_args()
    asked = {"--threads": given.threads, "--waiting": given.waiting}
    options = [word for name, value in asked.items() if value is not None for word in (name, value)]
    found = run(given.index, options, given.seconds, given.requests)
    print(orjson.dumps(found).decode())
    if given.output is not None:
        facts = {"date": datetime.now(UTC).date().isoformat(), "documents": len(open_index(given.index).documents)}
        found = {**facts, "options": options, "seconds": given.seconds, "processors": os.cpu_count(), **found}
        given.output.mkdir(parents=True, exist_ok=True)
        (given.output / "results.json").write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
        notes = given.output / "notes.md"
        said = f"\n{notes.read_text()}" if notes.exists() else ""
        (given.output / "README.md").write_text(page(found) + said)


if __name__ == "__main__":
    main()
