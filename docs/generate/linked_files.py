"""Pages of the site that are made from files outside docs/.

README.md becomes the first page, and each file that a page links to becomes a page of its own.
Links are written as they work on GitHub. A broken link stays as it is, and MkDocs reports it.
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

HOME = "index.md"
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
LANGUAGES = {
    ".ipynb": "json",
    ".json": "json",
    ".py": "python",
    ".ts": "typescript",
    ".toml": "toml",
    ".yml": "yaml",
    ".yaml": "yaml",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of the site with the first page and the pages of linked files."""
    root = Path(config.config_file_path).parent
    files.append(File.generated(config, HOME, abs_src_path=str(root / "README.md")))
    pages = list(files.documentation_pages())
    # The list grows in the loop: a file that a linked file links to becomes a page, too.
    for page in pages:
        linked = {_linked(root, page, target) for target in LINK.findall(page.content_string)} if page.abs_src_path else set()
        for path in sorted(path for path in linked if _is_outside(root, path) and not files.get_file_from_path(_page_of(path))):
            linked_page = _page(config, root, path)
            files.append(linked_page)
            pages.append(linked_page)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with links that work in the site."""
    if page.file.abs_src_path is None:
        # The page is one file in a code block: its text has no links.
        return markdown
    root, folder = Path(config.config_file_path).parent, os.path.dirname(page.file.src_uri)

    def in_site(match: re.Match[str]) -> str:
        path = _linked(root, page.file, match[1])
        if path == "README.md":
            return os.path.relpath(HOME, folder)
        if _is_outside(root, path):
            return os.path.relpath(_page_of(path), folder)
        inside = path.removeprefix("docs/")
        return os.path.relpath(inside, folder) if inside != path else match[1]

    return LINK.sub(in_site, markdown)


def _linked(root: Path, page: File, target: str) -> str:
    """The path that a link of the page leads to, from the top of the project."""
    folder = os.path.dirname(os.path.relpath(str(page.abs_src_path), root))
    return os.path.normpath(os.path.join(folder, target))


def _is_outside(root: Path, path: str) -> bool:
    return path != "README.md" and not path.startswith(("docs/", "..")) and (root / path).is_file()


def _page_of(path: str) -> str:
    return path if path.endswith(".md") else f"{path}.md"


def _page(config: MkDocsConfig, root: Path, path: str) -> File:
    """The page of a file. A file that is not Markdown is shown in a code block."""
    if path.endswith(".md"):
        return File.generated(config, path, abs_src_path=str(root / path), inclusion=InclusionLevel.NOT_IN_NAV)
    text = (root / path).read_text(encoding="utf-8")
    content = f"# {path}\n\n````{LANGUAGES.get(Path(path).suffix, 'text')}\n{text}````\n"
    return File.generated(config, _page_of(path), content=content, inclusion=InclusionLevel.NOT_IN_NAV)
