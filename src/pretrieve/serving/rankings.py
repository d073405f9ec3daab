"""Rankings side by side: what each column of the page holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pretrieve.index.answer_json import default_group
from pretrieve.index.asked import MODES, Mode
from pretrieve.index.find import Result, search
from pretrieve.index.hits import Hit, Hits
from pretrieve.index.index import Index
from pretrieve.serving.api import State, searching
from pretrieve.serving.asked import SearchRequest
from pretrieve.serving.comparing import change, overlap, rbo
from pretrieve.serving.facets import Facets, count
from pretrieve.serving.limits import RequestError
from pretrieve.serving.origins import Voice, origins
from pretrieve.serving.served import Served
from pretrieve.serving.why import Why, explain

PAGE = 10  # hits of a page
COLUMNS = 4
NO_FACETS = Facets(documents=0, facets=(), left_out=())


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What a column is asked for.

    Attributes:
        name: as the address has it: a mode, an index, or ``INDEX:MODE``.
        index: name of the index.
        mode: of the search.
    """

    name: str
    index: str
    mode: Mode


@dataclass(frozen=True, kw_only=True)
class Row:
    """One hit of a column.

    Attributes:
        hit: the hit.
        found_by: ``lexical``, ``dense``, ``both`` or ``fusion``.
        voices: what each ranker says of it.
        moved: its change against the first column; empty in that.
        why: shared terms and near tokens.
    """

    hit: Hit
    found_by: str
    voices: Sequence[Voice]
    moved: str
    why: Why


@dataclass(frozen=True, kw_only=True)
class Column:
    """One ranking of the page.

    Attributes:
        name: as the address has it.
        index: name of the index.
        rows: the hits of this page.
        ids: of all hits down to this page, best first.
        gone: ids of the first column's page that are not among ``ids``.
        overlap: overlap@10 with the first column.
        rbo: the same.
        relevant: whether there is an answer.
        notes: what the user should know.
        facets: of the first column.
    """

    name: str
    index: str
    rows: Sequence[Row]
    ids: Sequence[str]
    gone: Sequence[str]
    overlap: float
    rbo: float
    relevant: bool
    notes: Sequence[str]
    facets: Facets


def offered(served: Mapping[str, Served], default: str) -> list[str]:
    """The names of rankings that the page offers.

    Args:
        served: the indexes by name.
        default: the index of the request.
    """
    others = [name for name in served if name != default]
    return [*MODES, *others, *(f"{name}:dense" for name in others)]


def read_rankings(names: Sequence[str], served: Mapping[str, Served], default: str) -> list[Ranking]:
    """The rankings that an address names.

    Args:
        names: of the rankings; none: hybrid search.
        served: the indexes by name.
        default: the index of the request.

    Raises:
        RequestError: a name is unknown or there twice, or there are too many; status 400.
    """
    found = [_ranking(name, served, default) for name in names or ["hybrid"]]
    if len({(one.index, one.mode) for one in found}) < len(found) or len(found) > COLUMNS:
        raise RequestError(400, f"with={','.join(names):.80}: give up to {COLUMNS} different rankings.")
    return found


def _ranking(name: str, served: Mapping[str, Served], default: str) -> Ranking:
    index, _, mode = name.rpartition(":")
    if name in served:
        index, mode = name, "hybrid"
    elif name == mode:
        index = default
    for known in MODES:
        if mode == known and index in served:
            return Ranking(name=name, index=index, mode=known)
    known_names = ", ".join([*MODES, *served, *(f"{one}:dense" for one in served)])
    raise RequestError(400, f"with={name:.60}: give {known_names}.")


def columns(state: State, asked: SearchRequest, rankings: Sequence[Ranking], page: int) -> list[Column]:
    """All rankings of a page; every one is compared with the first.

    Args:
        state: the indexes.
        asked: what is asked for.
        rankings: one for each column.
        page: from 1.

    Raises:
        RequestError: query or filter cannot be read.
    """
    found: list[Column] = []
    for ranking in rankings:
        served = state.of(ranking.index)
        here = replace(asked, mode=ranking.mode)
        index = served.index
        with searching(served):
            result = search(
                index, here.query, page * PAGE, here.mode, filter=here.filter,
                group_by=default_group(index, here.group_by), syntax=True,
            )  # fmt: skip
            facets = NO_FACETS if found else count(index, result.asked)
            rows = _rows(index, result, page, found[0].ids if found else None)
        ids = [hit.id for hit in result.hits]
        base = found[0].ids if found else ids
        found.append(
            Column(
                name=ranking.name,
                index=served.name,
                rows=rows,
                ids=ids,
                gone=[one for one in base[(page - 1) * PAGE :] if one not in ids],
                overlap=overlap(base, ids),
                rbo=rbo(base, ids),
                relevant=result.relevant,
                notes=result.notes,
                facets=facets,
            )
        )
    return found


def _rows(index: Index, result: Result, page: int, base: Sequence[str] | None) -> list[Row]:
    """The hits of a page."""
    first = (page - 1) * PAGE
    here = replace(result, hits=Hits(result.hits[first:]), numbers=result.numbers[first:])
    said, whys = origins(index, here, page * PAGE), explain(index, here)
    return [
        Row(hit=hit, found_by=who, voices=voices, moved="" if base is None else change(hit.rank, hit.id, base), why=why)
        for hit, (who, voices), why in zip(here.hits, said, whys, strict=True)
    ]
