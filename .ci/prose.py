"""Finds prose that must be read twice, and names that hide what a variable holds.

    python .ci/prose.py [PATH ...] [--only RULE] [--count]

It reads docstrings, comments, messages and documentation of the files and folders given, or of all.
A finding is one line: path, line number, rule, the text, and a better form. Exit 1 with findings.
"""

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

COLUMNS = 100
# The first two quote what the rules reject; the others are not prose, or not the project's.
LEFT_OUT = re.compile(r"\.ci/prose\.py|tests/test_prose\.py|tests/support/axe/.*|.*LICENSE|.*\.(css|json|lock|png|svg|txt|typed)")


class Rule(NamedTuple):
    """`pattern`: the words that are rejected. `rejected`, `better`: an example."""

    pattern: str
    rejected: str
    better: str


WORDS = r"[Ww]hat|[Ww]ho(?:ever|se)?|[Ww]hatever|[Ss]uch|[Ss]o many|[Tt]hat which"
COMPARED = r"longer|more|less|other|different|\w+er"
SENTENCES = {
    # A question may begin with these words.
    "opening": Rule(rf"(?:^|(?<=[.!?] ))(?:{WORDS})\b(?![^.!?]*\?)", "What is slower must wait.", "Slower clients must wait."),
    "is no": Rule(
        rf"(?<!here )\b(?:is|are|was|were|be) no\b(?! (?:{COMPARED})\b)", "A list is no data.", "A list is not accepted: pass x=."
    ),
    "is none": Rule(r"\b(?:is|are|was|were) none\b", "Device 'x' is none.", "Device 'x' is invalid: use cpu or cuda:N."),
    "so many": Rule(r"\b[Ss]o many\b(?! \w+ that\b)", "It keeps so many units.", "It keeps at most `count` units."),
    "as many": Rule(
        r"(?<![Tt]wice )(?<![Hh]alf )(?<!times )\b[Aa]s many\b",
        "It has as many labels as there are rows.",
        "It has one label for each row.",
    ),
    "whoever": Rule(r"\b[Ww](?:ho|hat|hich)ever\b", "It goes to whoever watches.", "It goes to each client that watches."),
    "said": Rule(r"\b(?:[Ss]aid|[Tt]old(?! apart)|[Hh]eard)\b", "A client is told once.", "A client gets one event."),
    "nobody": Rule(r"\b[Nn]obody\b", "Nobody reads the answer.", "No client reads the answer."),
    "of what": Rule(r"\b(?:of|from|with|by|than|for) what\b", "The ids of what was stored.", "The ids of stored datasets."),
    "hung up": Rule(r"\b(?:hung|hangs?) up\b", "The client is hung up on.", "The service disconnects the client."),
    "stands for": Rule(r"\b(?:stands?|stood|standing) for\b", "The word that stands for the key.", "The token of the key."),
    "the like": Rule(r"\bthe like\b", "Zeros and the like.", "Zeros, means and other constants."),
    "lies": Rule(r"\blies?\b(?! (?:in [\[(\d]|between|within))", "Where the file lies.", "The path of the file."),
    "on its way": Rule(r"\b(?:on (?:its|their|the)|in the|the whole) way\b", "A PUT on its way.", "A PUT that is running."),
    "let go": Rule(r"\blet(?:s|ting)? go\b", "It lets go of the port.", "It closes the port."),
    "by itself": Rule(r"(?<!divided )\b[Bb]y (?:itself|themselves)\b", "It ends by itself.", "It ends without a signal."),
    "of ours": Rule(r"\bof (?:ours|theirs)\b", "No process of ours wrote it.", "No Unitrank process wrote it."),
}
NAMES = Rule(r"found|known|shown|said|told|made|wanted|heard", "found", "record")
LENGTH = Rule("", f"a line of prose of more than {COLUMNS} characters", f"break the line before column {COLUMNS}")
RULES = {**SENTENCES, "name": NAMES, "length": LENGTH}

ITEM = re.compile(r"\s*(?:[-*+] |\d+[.)] )\s*")
CODE = re.compile(r"(`+)(.+?)\1")
COMMENT_MARK = {".lua": "--", ".js": "//"}
PRAGMA = re.compile(r"#!|# ?(?:type:|noqa|pragma|fmt:)")
INLINE = re.compile(r"</?(?:a|b|code|em|i|small|span|strong)\b[^>]*>|{{.*?}}")
NO_TEXT = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>|{%.*?%}|{#.*?#}", re.DOTALL)


class Passage(NamedTuple):
    """A paragraph, item, heading, table row, message or name: lines with their numbers in the file."""

    kind: str
    lines: list[tuple[int, str]]

    @property
    def text(self) -> str:
        """All lines as one; code between backticks becomes dots of the same length."""
        return CODE.sub(lambda code: f"`{'…' * (len(code[0]) - 2)}`", " ".join(line for _, line in self.lines))

    def line_at(self, offset: int) -> int:
        """The number of the line that holds this character of the text."""
        ends = accumulate(len(line) + 1 for _, line in self.lines)
        return next(number for (number, _), end in zip(self.lines, ends, strict=True) if offset < end)


def paragraphs(kind: str, lines: Iterable[tuple[int, str]]) -> Iterator[Passage]:
    """The passages among the lines; code blocks, doctests and listings are left out."""
    block: list[tuple[int, str]] = []
    fenced = listing = False
    last = ""
    for number, line in [*lines, (0, "")]:
        text = line.strip()
        listing = (
            kind in ("docstring", "comment")
            and line.startswith("  ")
            and (listing or not last or (kind == "comment" and last.endswith(":")))
        )
        apart = fenced or listing or not text or text.startswith(("```", "|", "<", ">>> ", "... "))
        heading = kind == "paragraph" and text.startswith("#")
        if block and (apart or heading or ITEM.match(line) or last.endswith(":")):
            yield Passage(kind, block)
            block = []
        fenced ^= text.startswith("```")
        if heading and not fenced:
            yield Passage("heading", [(number, text.lstrip("# "))])
        elif text.startswith("|") and not fenced:
            yield Passage("row", [(number, text)])
        elif not apart:
            block.append((number, ITEM.sub("", line, count=1).strip()))
        last = text


def comments(source: str, suffix: str) -> Iterator[Passage]:
    """Blocks of comments, and single comments behind code."""
    lines = source.splitlines()
    if suffix == ".py":
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        marks = [(*token.start, token.string) for token in tokens if token.type == tokenize.COMMENT]
    else:
        mark = re.compile(rf"(?:^|(?<=\s)){COMMENT_MARK.get(suffix, '#')}(?:\s|$).*")
        matches = [(number, mark.search(line)) for number, line in enumerate(lines, 1)]
        marks = [(number, match.start(), match[0]) for number, match in matches if match]
    block: list[tuple[int, str]] = []
    for number, column, text in marks:
        if PRAGMA.match(text):
            continue
        line = (number, re.sub(r"^\S+ ?", "", text))
        if lines[number - 1][:column].strip():
            yield Passage("trailing", [line])
            continue
        if block and block[-1][0] != number - 1:
            yield from paragraphs("comment", block)
            block = []
        block.append(line)
    yield from paragraphs("comment", block)


def docstrings(source: str) -> Iterator[list[tuple[int, str]]]:
    """The numbered lines of each docstring, without quotes and common indentation."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) as text):
                numbered = enumerate(lines[text.lineno - 1 : text.end_lineno], text.lineno)
                bare = ((number, line.removeprefix(" " * text.col_offset)) for number, line in numbered)
                yield [(number, re.sub(r'^[rR]?"""|"""$', "", line)) for number, line in bare]


def python(source: str) -> Iterator[Passage]:
    """Comments, docstrings, names and messages."""
    yield from comments(source, ".py")
    for lines in docstrings(source):
        yield from paragraphs("docstring", lines)
    nodes = list(ast.walk(ast.parse(source)))
    inside = {id(part) for node in nodes if isinstance(node, ast.JoinedStr | ast.Expr) for part in ast.iter_child_nodes(node)}
    for node in nodes:
        match node:
            case ast.JoinedStr(values=parts):
                yield from messages("".join(part.value if isinstance(part, ast.Constant) else "…" for part in parts), node.lineno)
            case ast.Constant(value=str(text)) if id(node) not in inside:
                yield from messages(text, node.lineno)
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield Passage("name", [(node.lineno, name)])


def messages(text: str, number: int) -> Iterator[Passage]:
    """The paragraphs of a string of three words or more."""
    if len(text.split()) > 2:
        yield from paragraphs("message", [(number, line) for line in text.split("\n")])


def template(source: str) -> Iterator[Passage]:
    """The text between the tags of a page; expressions become an ellipsis."""
    text = NO_TEXT.sub(lambda tag: "\0" + "\n" * tag[0].count("\n"), INLINE.sub(lambda tag: "…" * tag[0].startswith("{"), source))
    number = 1
    for piece in text.split("\0"):
        yield from paragraphs("message", enumerate(piece.split("\n"), number))
        number += piece.count("\n")


def passages(path: Path) -> Iterator[Passage]:
    """All passages of a file."""
    source = path.read_text()
    match path.suffix:
        case ".py":
            yield from python(source)
        case ".md":
            yield from paragraphs("paragraph", enumerate(source.splitlines(), 1))
        case ".html":
            yield from template(source)
        case suffix:
            yield from comments(source, suffix)


def findings(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, rule and text of each finding in the file."""
    lines = path.read_text().splitlines()
    for passage in passages(path):
        if passage.kind == "name":
            if re.fullmatch(NAMES.pattern, passage.text):
                yield passage.lines[0][0], "name", passage.text
            continue
        text = passage.text
        for rule, (pattern, *_) in SENTENCES.items():
            if rule == "opening" and passage.kind in ("heading", "row"):
                continue
            for match in re.finditer(pattern, text):
                yield passage.line_at(match.start()), rule, text[max(0, match.start() - 20) : match.end() + 30]
        if passage.kind in ("docstring", "comment", "paragraph"):
            for number, text in passage.lines:
                excess = len(lines[number - 1]) - COLUMNS
                # A link may be longer than a line: there is no space to break it at.
                if excess > 0 and " " in text[:-excess]:
                    yield number, "length", f"{text[:20]} … {text[-20:]}"


def tracked(paths: list[str]) -> list[Path]:
    """The files of the repository under the paths."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths]
    names = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split("\0")
    return [Path(name) for name in names if name and not LEFT_OUT.fullmatch(name) and Path(name).is_file()]


def room(path: Path) -> str:
    return path.parts[0] if len(path.parts) > 1 else "top"


def print_counts(paths: list[Path]) -> None:
    """Print a table of the findings by rule and room, and of the docstrings' number and sentences."""
    rooms = [*sorted({room(path) for path in paths}), "all"]
    counts = Counter((rule, room(path)) for path in paths for _, rule, _ in findings(path))
    modules = [path for path in paths if path.suffix == ".py"]
    texts = [(room(path), Passage("docstring", lines).text.strip()) for path in modules for lines in docstrings(path.read_text())]
    for name, text in texts:
        counts["docstrings", name] += 1
        counts["… that begin with What, Who or Such", name] += bool(re.match(SENTENCES["opening"].pattern, text))
        counts["… sentences", name] += len(re.findall(r"[.!?](?= |$)", text)) or 1
        counts["… words", name] += len(text.split())
    for (row, _), number in list(counts.items()):
        counts[row, "all"] += number
    table = {row: [counts[row, name] for name in rooms] for row in dict.fromkeys([*RULES, *(row for row, _ in counts)])}
    ratios = [f"{counts['… words', name] / max(1, counts['… sentences', name]):.1f}" for name in rooms]
    rows = {"": rooms, "---": ["---"] * len(rooms), **table, "… words a sentence": ratios}
    sys.stdout.writelines(f"| {' | '.join(map(str, [row, *cells]))} |\n" for row, cells in rows.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", metavar="PATH")
    parser.add_argument("--only", choices=RULES, metavar="RULE", help=f"one of: {', '.join(RULES)}")
    parser.add_argument("--count", action="store_true", help="print a table of rules and rooms instead")
    options = parser.parse_args()
    paths = tracked(options.paths)
    if options.count:
        return print_counts(paths)
    failed = False
    for path in paths:
        for number, rule, text in findings(path):
            if options.only in (None, rule):
                failed = True
                _, rejected, better = RULES[rule]
                sys.stdout.write(f"{path}:{number}: {rule}: {text} … better: not {rejected!r} but {better!r}\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
