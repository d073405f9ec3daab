"""Counts of what was served, in the text format of Prometheus."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Mapping

from pretrieve.serving.limits import Gate
from pretrieve.serving.served import Served

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Requests by route and status, and how long they took."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0

    def add(self, route: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            route: as it is declared, never what a client wrote.
            status: of HTTP.
            seconds: that it took.
        """
        self._requests[route, status] += 1
        self._buckets[bisect.bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds

    def text(self, gate: Gate, served: Mapping[str, Served]) -> str:
        """All counts as text.

        Args:
            gate: knows who waits.
            served: the indexes by name.
        """
        requests = [(f'{{route="{route}",status="{status}"}}', count) for (route, status), count in
                    sorted(self._requests.items())]  # fmt: skip
        total, buckets = 0, []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self._buckets, strict=True):
            total += count
            buckets.append((f'_bucket{{le="{bound}"}}', total))
        names = {name: f'{{index="{_label(name)}"}}' for name in served}
        return "".join([
            _family("requests_total", "counter", "Requests answered.", requests),
            _family("request_seconds", "histogram", "Time to answer.",
                    [*buckets, ("_sum", self._seconds), ("_count", total)]),
            _family("searches_inside", "gauge", "Requests that run or wait for a thread.", [("", gate.inside)]),
            _family("refused_total", "counter", "Requests refused since too many waited.", [("", gate.refused)]),
            _family("documents", "gauge", "Documents of an index.",
                    [(names[name], len(one.index)) for name, one in served.items()]),
            _family("index_opened_total", "counter", "Times an index was opened.",
                    [(names[name], one.opened) for name, one in served.items()]),
            _family("index_problem", "gauge", "1 where a changed index cannot be opened, and the old one answers.",
                    [(names[name], int(bool(one.problem))) for name, one in served.items()]),
        ])  # fmt: skip


def _family(name: str, kind: str, text: str, values: Iterable[tuple[str, float]]) -> str:
    full = f"pretrieve_{name}"
    lines = [f"# HELP {full} {text}", f"# TYPE {full} {kind}", *(f"{full}{label} {value}" for label, value in values)]
    return "\n".join(lines) + "\n"


def _label(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
