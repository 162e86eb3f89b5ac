"""The site of the docs with its versions, and its search, in a browser."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.support.browsing import browser, opened
from tests.test_docs import copy_sources

pytestmark = pytest.mark.slow

__all__ = ["browser"]

VERSIONS = ("0.1", "0.2")
AUTHOR = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "init.defaultBranch=main"]


class Quiet(SimpleHTTPRequestHandler):
    """Serves the files of a folder, without a log."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with the branch `gh-pages`, which has two versions."""
    root, pages = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("pages")
    copy_sources(root)
    for words in (["init", "-q"], [*AUTHOR, "commit", "-q", "--allow-empty", "-m", "sources"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    names = {f"GIT_{who}_{part}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    environment = os.environ | names | {"DOCS_VERSIONS": "mike", "NO_MKDOCS_2_WARNING": "1"}
    programs = Path(sys.executable).parent
    environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    mike = [str(programs / "mike"), "-q"]
    deploy = ["deploy", "--alias-type", "redirect", "--update-aliases"]
    for words in (*([*deploy, version, "latest"] for version in VERSIONS), ["set-default", "latest"]):
        subprocess.run([*mike, *words], cwd=root, env=environment, check=True)
    subprocess.run(["git", f"--work-tree={pages}", "checkout", "-q", "gh-pages", "--", "."], cwd=root, check=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(pages))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_site_when_opened_then_another_version_can_be_chosen(browser: Any, site: str) -> None:
    with opened(browser, site) as page:
        page.goto("/")
        page.wait_for_url("**/0.2/**")
        # A hovered button is covered by its own menu, and Playwright's `hover` then never ends.
        page.locator(".md-version__current").focus()
        page.locator(".md-version").get_by_role("link", name="0.1").click()
        page.wait_for_url("**/0.1/**")
        version = page.locator(".md-version__current").inner_text()

    assert version.startswith("0.1")


@pytest.mark.parametrize(("words", "title"), [("selectivity", "The verdict"), ("heartbeat_grace", "Operations")])
def test_search_when_words_are_typed_then_the_page_with_them_is_found(browser: Any, site: str, words: str, title: str) -> None:
    with opened(browser, site) as page:
        page.goto("/0.2/for-researchers.html")
        page.get_by_role("textbox", name="Search").fill(words)
        hits = page.locator(".md-search-result__link", has=page.locator("h1", has_text=title))
        hits.first.click()
        page.get_by_role("heading", level=1, name=title).wait_for()
