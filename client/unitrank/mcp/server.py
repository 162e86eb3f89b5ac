"""Serves the tools over stdin and stdout with the official SDK of the Model Context Protocol."""

import functools
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING

from unitrank.client.sync import Client
from unitrank.errors import NotPossible, UnitrankError
from unitrank.mcp.tools import Tools

if TYPE_CHECKING:
    from mcp.server import MCPServer

INSTRUCTIONS = (
    "Unitrank ranks the units of a neural network's layer by importance for groups of inputs, and tests each ranking against "
    "random orders. Begin with list_models, list_layers and list_datasets. Before a job is started, check_job checks its request. "
    "After wait_for_job, read_verdict has the answer: repeat its verdict and its warnings, and claim nothing beyond them."
)


def server(client: Client, allow_jobs: bool) -> "MCPServer":
    """The server with the tools on the client's service. Raises NotPossible without the SDK.

    `allow_jobs`: also offer the tools that start and cancel jobs.
    """
    try:
        from mcp.server import MCPServer
        from mcp.types import ToolAnnotations
    except ImportError as error:
        raise NotPossible("the SDK of MCP is not installed: pip install 'unitrank[mcp]'", code="not_installed") from error
    tools, served = Tools(client), MCPServer("unitrank", instructions=INSTRUCTIONS, version=version("unitrank"))
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    writes = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)
    for tool in tools.reading():
        served.add_tool(_answering(tool), annotations=reads, structured_output=False)
    for tool in tools.writing() if allow_jobs else []:
        served.add_tool(_answering(tool), annotations=writes, structured_output=False)
    return served


def _answering(tool: Callable[..., str]) -> Callable[..., str]:
    """The tool, whose errors of the client become answers that the assistant reads."""
    from mcp.server.mcpserver.exceptions import ToolError

    @functools.wraps(tool)
    def answered(*values: object, **arguments: object) -> str:
        try:
            return tool(*values, **arguments)
        except UnitrankError as error:
            raise ToolError(str(error)) from error

    return answered
