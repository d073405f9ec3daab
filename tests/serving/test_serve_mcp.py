"""``pretrieve serve --mcp``: the tool over standard input and output, used by the client of the official package."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.conftest import HOSTILE, pretrieve

mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")


def test_a_client_searches_by_the_tool(served_folder, tmp_path) -> None:
    arguments = ["-m", "pretrieve", "serve", str(served_folder / "index"), "--mcp"]
    server = mcp.StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))

    async def use():
        async with mcp.Client(server) as client:
            tools = (await client.list_tools()).tools
            asked = (
                {"query": "kamika lokaka", "k": 3},
                {"query": f"lokaka {HOSTILE[:40]}", "filter": "lang=en", "index": "index"},
                {"query": "a", "filter": "((("},
                {"query": "a", "index": "other"},
                {"query": "a", "k": 0},
                {"query": ""},
            )
            return tools, [await client.call_tool("search", one) for one in asked]

    with ThreadPoolExecutor(1) as pool:  # a browser of other tests may have left its loop in this thread
        tools, (first, second, *refused) = pool.submit(lambda: asyncio.run(use())).result()
    assert [tool.name for tool in tools] == ["search"]
    assert set(tools[0].input_schema["properties"]) == {"query", "k", "filter", "index"}

    said = json.loads(pretrieve("search", served_folder / "index", "kamika lokaka", "-k", "3", "--json"))
    assert not first.is_error
    assert first.structured_content == said
    assert len(second.structured_content["hits"]) == 10
    assert [one.is_error for one in refused] == [True] * 4
    for one, says in zip(refused, ("filter", "no index 'other'", "k", "empty"), strict=True):
        assert says in one.content[0].text
        assert "Traceback" not in one.content[0].text


def test_what_the_tool_has_no_use_for_is_refused(served_folder, run) -> None:
    for option in ("--token", "--model"):
        done = run("serve", served_folder / "index", "--mcp", option, "x")
        assert done.code == 2
        assert f"leave out {option}" in done.err
