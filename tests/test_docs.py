"""The site of the docs: all links of it and of the README work, and it loads no foreign file."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOREIGN = re.compile(
    r"""<(?:script|img|iframe)[^>]*\ssrc=["']?(https?:|//)|<link[^>]*rel=["']?(?:stylesheet|preconnect)[^>]*(https?:|//)"""
)


@pytest.mark.check
def test_site_when_built_then_has_every_page_and_a_search_index_and_loads_no_foreign_file(tmp_path: Path) -> None:
    built = build(ROOT, tmp_path)

    assert built.returncode == 0, built.stdout + built.stderr
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} | {"index"} <= {page.stem for page in tmp_path.glob("*.html")}
    assert "conductance" in (tmp_path / "search" / "search_index.json").read_text()
    for page in tmp_path.rglob("*.html"):
        assert not FOREIGN.search(page.read_text()), page


BROKEN = [
    ("README.md", "docs/no-page.md"),
    ("README.md", "docs/verdict.md#no-anchor"),
    ("docs/verdict.md", "../examples/no-example.py"),
]


@pytest.mark.check
def test_site_when_links_are_broken_then_is_not_built_and_each_is_named(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path / "copy")
    for page, link in BROKEN:
        with (copy / page).open("a") as text:
            text.write(f"\nSee [there]({link}).\n")

    built = build(copy, tmp_path / "site")

    assert built.returncode != 0
    assert [name for name in ("no-page", "#no-anchor", "no-example") if name not in built.stderr] == []


@pytest.mark.check
def test_site_when_a_page_comes_from_outside_docs_then_its_links_start_at_its_file(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path / "copy")
    (copy / "examples" / "more.md").write_text("# More\n\n[pipeline](pipeline.py), [verdict](../docs/verdict.md)\n")
    with (copy / "CHANGELOG.md").open("a") as text:
        text.write("\nSee [the verdict](docs/verdict.md), [more](examples/more.md).\n")
    with (copy / "examples" / "pipeline.py").open("a") as text:
        text.write("# [first](../README.md), [none](nowhere.md)\n")

    built = build(copy, tmp_path / "site")

    assert built.returncode == 0, built.stdout + built.stderr
    assert 'href="docs/' not in (tmp_path / "site" / "CHANGELOG.html").read_text()
    assert '<a href="verdict.html">the verdict</a>' in (tmp_path / "site" / "CHANGELOG.html").read_text()
    assert '<a href="../verdict.html">verdict</a>' in (tmp_path / "site" / "examples" / "more.html").read_text()
    assert "[first](../README.md), [none](nowhere.md)" in (tmp_path / "site" / "examples" / "pipeline.py.html").read_text()


def test_extending_when_it_shows_code_then_the_code_is_in_the_sources() -> None:
    page = (ROOT / "docs" / "extending.md").read_text()
    code_blocks = re.findall(r"^```(?:python|py|toml)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    files = (
        "engine/unitrank_engine/methods/gradient.py",
        "api_schemas/unitrank_schemas/methods/random.py",
        "api_schemas/unitrank_schemas/jobs/clusters.py",
        "engine/unitrank_engine/job/clusters/finders.py",
        "service/unitrank_service/contents/model_formats.py",
        "engine/unitrank_engine/models/formats.py",
        "plots/unitrank_plots/__init__.py",
        "service/unitrank_service/routes/methods.py",
        "examples/architecture/perceptron_architecture.py",
        "examples/architecture/pyproject.toml",
    )
    sources = [(ROOT / file).read_text() for file in files]

    blocks = [block for block in code_blocks if not block.startswith("import unitrank")]
    assert len(blocks) == len(files)
    assert all(any(block in source for source in sources) for block in blocks)


def copy_sources(to: Path) -> Path:
    """Copy the sources of the site to a folder that a test may change; returns the folder."""
    for folder in ("docs", "examples", "integrations", "api_schemas", "plots", "engine", "service"):
        shutil.copytree(ROOT / folder, to / folder)
    for file in ("mkdocs.yml", "action.yml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"):
        shutil.copy(ROOT / file, to)
    return to


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    return subprocess.run(
        command, cwd=root, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
