"""What the site takes from outside of docs/: README.md as its first page, and each file that a page links to as a page of its own.

Links are written as they hold on GitHub. One that leads to nothing stays as it is, and MkDocs says so.
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

HOME = "index.md"
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
LANGUAGES = {".py": "python", ".toml": "toml", ".yml": "yaml", ".yaml": "yaml"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """With the first page, and the pages that are made of files."""
    root = Path(config.config_file_path).parent
    files.append(File.generated(config, HOME, abs_src_path=str(root / "README.md")))
    pages = list(files.documentation_pages())
    # It grows: what a page of these links to is a page, too.
    for page in pages:
        linked = {_linked(root, page, target) for target in LINK.findall(page.content_string)} if page.abs_src_path else set()
        for path in sorted(path for path in linked if _is_outside(root, path) and not files.get_file_from_path(_page_of(path))):
            found = _made(config, root, path)
            files.append(found)
            pages.append(found)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """With links that hold in the site."""
    if page.file.abs_src_path is None:
        # One file in a fence: what looks like a link there is none.
        return markdown
    root, folder = Path(config.config_file_path).parent, os.path.dirname(page.file.src_uri)

    def held(match: re.Match[str]) -> str:
        path = _linked(root, page.file, match[1])
        if path == "README.md":
            return os.path.relpath(HOME, folder)
        if _is_outside(root, path):
            return os.path.relpath(_page_of(path), folder)
        inside = path.removeprefix("docs/")
        return os.path.relpath(inside, folder) if inside != path else match[1]

    return LINK.sub(held, markdown)


def _linked(root: Path, page: File, target: str) -> str:
    """The path from the top of the project that the link leads to, wherever the site has the page."""
    folder = os.path.dirname(os.path.relpath(str(page.abs_src_path), root))
    return os.path.normpath(os.path.join(folder, target))


def _is_outside(root: Path, path: str) -> bool:
    return path != "README.md" and not path.startswith(("docs/", "..")) and (root / path).is_file()


def _page_of(path: str) -> str:
    return path if path.endswith(".md") else f"{path}.md"


def _made(config: MkDocsConfig, root: Path, path: str) -> File:
    """The file's page; one that is no Markdown is shown in a fence, and comes from nowhere."""
    if path.endswith(".md"):
        return File.generated(config, path, abs_src_path=str(root / path), inclusion=InclusionLevel.NOT_IN_NAV)
    text = (root / path).read_text(encoding="utf-8")
    shown = f"# {path}\n\n````{LANGUAGES.get(Path(path).suffix, 'text')}\n{text}````\n"
    return File.generated(config, _page_of(path), content=shown, inclusion=InclusionLevel.NOT_IN_NAV)
