"""`unitrank mcp` against the SDK's own client over stdio, on a running service."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from mcp import Client as Assistant
from mcp import StdioServerParameters

from unitrank.client.sync import Client

pytestmark = pytest.mark.integrations
READING = {
    "list_models",
    "list_layers",
    "list_datasets",
    "list_methods",
    "list_jobs",
    "check_job",
    "wait_for_job",
    "read_verdict",
}
REQUEST = {"model": "mcp-net", "layer": "relu1", "dataset": "mcp-data", "methods": ["conductance", "random"]}


@pytest.fixture(autouse=True, scope="module")
def contents(url: str, files: tuple[Path, Path]) -> None:
    """The service has a network and a dataset."""
    with Client(url) as client:
        client.models.put("mcp-net", files[0])
        client.datasets.put("mcp-data", files[1])


def _asked(url: str, *words: str, ask: Callable[[Assistant], Awaitable[None]]) -> None:
    """Start the server as an assistant does, and let `ask` use its tools."""
    environment = {name: os.environ[name] for name in ("PYTHONPATH", "no_proxy") if name in os.environ}
    program = StdioServerParameters(
        command=sys.executable, args=["-m", "unitrank", "mcp", *words], env=environment | {"UNITRANK_URL": url}
    )

    async def session() -> None:
        async with Assistant(program, read_timeout_seconds=90) as assistant:
            await ask(assistant)

    asyncio.run(session())


async def _text(assistant: Assistant, tool: str, **arguments: object) -> str:
    answer = await assistant.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    return str(answer.content[0].text)


def test_mcp_when_it_may_start_jobs_then_an_assistant_gets_from_the_models_to_the_verdict(url: str) -> None:
    async def ask(assistant: Assistant) -> None:
        assert "mcp-net: ready, " in await _text(assistant, "list_models")
        assert "relu1: ReLU, 16 units" in await _text(assistant, "list_layers", model="mcp-net")
        assert "mcp-data: ready, 60 examples" in await _text(assistant, "list_datasets")
        assert "conductance: " in await _text(assistant, "list_methods")
        assert (await _text(assistant, "check_job", **REQUEST)).startswith("The request is valid: ")
        job = (await _text(assistant, "start_job", **REQUEST, clusters={"by": "label"})).split()[1].strip(":")
        assert await _text(assistant, "wait_for_job", job=job) == f"job {job}: succeeded. read_verdict reads its result."
        assert f"job {job}: succeeded, model mcp-net" in await _text(assistant, "list_jobs", model="mcp-net")
        verdict = await _text(assistant, "read_verdict", job=job)
        with Client(url) as client:
            words = client.jobs.get(job).result().verdict
        assert verdict.startswith("\n".join(words))
        assert "| conductance |" in verdict

    _asked(url, "--allow-jobs", ask=ask)


def test_mcp_when_no_option_is_given_then_no_tool_changes_anything(url: str) -> None:
    async def ask(assistant: Assistant) -> None:
        tools = (await assistant.list_tools()).tools
        assert {tool.name for tool in tools} == READING
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
        answer = await assistant.call_tool("start_job", REQUEST)
        assert answer.is_error
        assert "start_job" in str(answer.content[0].text)

    _asked(url, ask=ask)


def test_mcp_when_a_request_is_wrong_then_the_assistant_reads_the_reason(url: str) -> None:
    async def ask(assistant: Assistant) -> None:
        wrong = await assistant.call_tool("check_job", REQUEST | {"layer": "relu9"})
        missing = await assistant.call_tool("read_verdict", {"job": "none"})

        assert (wrong.is_error, missing.is_error) == (True, True)
        assert "layer 'relu9' not found" in str(wrong.content[0].text)
        assert "job_not_found" in str(missing.content[0].text)

    _asked(url, ask=ask)
