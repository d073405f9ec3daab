"""The same search as a tool of the Model Context Protocol, over standard input and output."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from pretrieve.core.shown import shown
from pretrieve.serving.api import State, answer
from pretrieve.serving.asked import read_batch
from pretrieve.serving.limits import RequestError

_DESCRIPTION = "Search documents by words and by meaning; hits have id, title, best sentence, place and fields."
_MOST = 100  # hits of a call: what a model reads


def make_tool_server(state: State) -> MCPServer[Any]:
    """Make a server with the tool ``search``.

    Args:
        state: the indexes, and what is refused.
    """
    server: MCPServer[Any] = MCPServer("pretrieve", version=version("pretrieve"), log_level="ERROR")

    def search(
        query: Annotated[str, Field(description='Text; "a phrase", +must, -without and field:value are understood.')],
        k: Annotated[int, Field(ge=1, le=_MOST, description="Number of hits.")] = 10,
        filter: Annotated[str, Field(description="Such as lang=en and date>=2025; empty: all documents.")] = "",  # noqa: A002
        index: Annotated[str, Field(description="Name of an index; empty: the first.")] = "",
    ) -> dict[str, Any]:
        return _answered(state, {"query": query, "k": k, "filter": filter, "index": index})

    names = ", ".join(shown(name) for name in state.served)
    server.tool(description=f"{_DESCRIPTION} Indexes: {names}.", structured_output=True)(search)
    return server


def _answered(state: State, asked: dict[str, Any]) -> dict[str, Any]:
    """The answer to a call, from the indexes as they are now.

    Raises:
        ToolError: it is refused.
    """
    try:
        (request,) = read_batch(asked, state.limits)
        for served in state.served.values():
            served.refresh()
        return answer(state, request)
    except RequestError as error:
        raise ToolError(str(error)) from None
