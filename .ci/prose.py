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
    """`pattern`: the words that are rejected, in any case. `rejected`, `better`: an example."""

    pattern: str
    rejected: str
    better: str


START = r"(?:^|(?<=[.!?] )(?-i:(?=[A-Z])))"
COMPARED = r"longer|more|less|other|different|\w+er"
SENTENCES = {
    # A question may begin with these words.
    "opening": Rule(
        rf"{START}(?:what(?:ever)?|who(?:ever|se)?|such|so many|that which)\b(?![^.!?]*\?)",
        "What is slower must wait.",
        "Slower clients must wait.",
    ),
    "is no": Rule(
        rf"(?<!here )\b(?:is|are|was|were|be) no\b(?! (?:{COMPARED})\b)", "A list is no data.", "A list is not accepted."
    ),
    "is none": Rule(r"\b(?:is|are|was|were) (?-i:none)\b", "Device 'x' is none.", "Device 'x' is invalid: use cpu or cuda:N."),
    "so many": Rule(r"\bso many\b(?! \w+ that\b)", "It keeps so many units.", "It keeps at most `count` units."),
    "as many": Rule(r"(?<!twice )(?<!half )(?<!times )\bas many\b", "As many labels as rows.", "One label for each row."),
    "whoever": Rule(r"\bwh(?:o|at|ich)ever\b", "It goes to whoever watches.", "It goes to each client that watches."),
    "said": Rule(r"\b(?:said|told(?! apart)|heard)\b", "A client is told once.", "A client gets one event."),
    "nobody": Rule(r"\bnobody\b", "Nobody reads the answer.", "No client reads the answer."),
    "of what": Rule(r"\b(?:of|from|with|by|than|for) what\b", "The ids of what was stored.", "The ids of stored datasets."),
    "hung up": Rule(r"\b(?:hung|hangs?) up\b", "The client is hung up on.", "The service disconnects the client."),
    "stands for": Rule(r"\b(?:stands?|stood|standing) for\b", "The word that stands for the key.", "The token of the key."),
    "the like": Rule(r"\bthe like\b", "Zeros and the like.", "Zeros, means and other constants."),
    "lies": Rule(r"\blies?\b(?! (?:in [\[(\d]|between|within))", "Where the file lies.", "The path of the file."),
    "on its way": Rule(r"\b(?:on (?:its|their|the)|in the|the whole) way\b", "A PUT on its way.", "A PUT that is running."),
    "let go": Rule(r"\blet(?:s|ting)? go\b", "It lets go of the port.", "It closes the port."),
    "by itself": Rule(r"(?<!divided )\bby (?:itself|themselves)\b", "It ends by itself.", "It ends without a signal."),
    "of ours": Rule(r"\bof (?:ours|theirs)\b", "No process of ours wrote it.", "No Unitrank process wrote it."),
}
NAMES = Rule("found|known|shown|said|told|made|wanted|heard", "found", "record")
LENGTH = Rule("", f"a line of prose of more than {COLUMNS} characters", f"a break before column {COLUMNS}")
RULES = {**SENTENCES, "name": NAMES, "length": LENGTH}

ITEM = re.compile(r"^\s*(?:[-*+] |\d+[.)] )\s*")
CODE = re.compile(r"(`+)(.+?)\1")
COMMENT_MARK = {".lua": "--", ".js": "//"}
PRAGMA = re.compile(r"#!|# ?(?:type:|noqa|pragma|fmt:)")
INLINE_TAG = re.compile(r"</?(?:a|b|code|em|i|small|span|strong)\b[^>]*>|{{.*?}}")
MARKUP = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>|{%.*?%}|{#.*?#}", re.DOTALL)

Lines = list[tuple[int, str]]


class Passage(NamedTuple):
    """A paragraph, item, heading, table row, message or name: its lines, with their numbers in the file."""

    kind: str
    lines: Lines

    @property
    def text(self) -> str:
        """All lines as one; code between backticks becomes dots of the same length."""
        return CODE.sub(lambda code: f"`{'…' * (len(code[0]) - 2)}`", " ".join(line for _, line in self.lines))

    def line_at(self, offset: int) -> int:
        """The number of the line that holds this character of the text."""
        ends = accumulate(len(line) + 1 for _, line in self.lines)
        return next(number for (number, _), end in zip(self.lines, ends, strict=True) if offset < end)


def paragraphs(kind: str, lines: Iterable[tuple[int, str]]) -> Iterator[Passage]:
    """The passages among the lines; code blocks, doctests and indented listings are left out."""
    block: Lines = []
    fenced = listing = False
    for number, line in [*lines, (0, "")]:
        text = line.strip()
        listing = kind in ("docstring", "comment") and line.startswith("  ") and (listing or not block)
        heading = kind == "paragraph" and text.startswith("#")
        apart = fenced or listing or heading or not text or text.startswith(("```", "|", "<", ">>> ", "... "))
        if block and (apart or ITEM.match(line) or block[-1][1].endswith(":")):
            yield Passage(kind, block)
            block = []
        if not apart:
            block.append((number, ITEM.sub("", line).strip()))
        elif not fenced and (heading or text.startswith("|")):
            yield Passage("title or row", [(number, text.lstrip("# "))])
        fenced ^= text.startswith("```")


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
    block: Lines = []
    for number, column, text in marks:
        line = (number, re.sub(r"^\S+ ?", "", text))
        if PRAGMA.match(text):
            continue
        if lines[number - 1][:column].strip():
            yield Passage("behind code", [line])
            continue
        if block and block[-1][0] != number - 1:
            yield from paragraphs("comment", block)
            block = []
        block.append(line)
    yield from paragraphs("comment", block)


def docstrings(source: str) -> Iterator[Lines]:
    """The lines of each docstring, without quotes and common indentation."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) as text):
                numbered = enumerate(lines[text.lineno - 1 : text.end_lineno], text.lineno)
                bare = ((number, line.removeprefix(" " * text.col_offset)) for number, line in numbered)
                yield [(number, re.sub(r'^[rR]?"""|"""$', "", line)) for number, line in bare]


def python(source: str) -> Iterator[Passage]:
    """Comments, docstrings, messages, and names of variables and parameters."""
    yield from comments(source, ".py")
    for lines in docstrings(source):
        yield from paragraphs("docstring", lines)
    nodes = list(ast.walk(ast.parse(source)))
    inside = {id(part) for node in nodes if isinstance(node, ast.JoinedStr | ast.Expr) for part in ast.iter_child_nodes(node)}
    for node in nodes:
        match node:
            case ast.JoinedStr(values=parts):
                text = "".join(part.value if isinstance(part, ast.Constant) else "…" for part in parts)
                yield from messages(text, node.lineno)
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
    text = MARKUP.sub(lambda tag: "\0" + "\n" * tag[0].count("\n"), INLINE_TAG.sub(lambda tag: "…" * (tag[0][0] == "{"), source))
    number = 1
    for piece in text.split("\0"):
        yield from paragraphs("message", enumerate(piece.split("\n"), number))
        number += piece.count("\n")


def passages(source: str, suffix: str) -> Iterator[Passage]:
    """All passages of a file."""
    match suffix:
        case ".py":
            return python(source)
        case ".md":
            return paragraphs("paragraph", enumerate(source.splitlines(), 1))
        case ".html":
            return template(source)
    return comments(source, suffix)


def findings(path: Path) -> list[tuple[int, str, str]]:
    """Line number, rule and text of each finding in the file, in order."""
    source = path.read_text()
    lines = source.splitlines()
    return sorted(finding for passage in passages(source, path.suffix) for finding in check(passage, lines))


def check(passage: Passage, lines: list[str]) -> Iterator[tuple[int, str, str]]:
    """The findings in a passage. `lines`: of its file."""
    text = passage.text
    if passage.kind == "name":
        if re.fullmatch(NAMES.pattern, text):
            yield passage.lines[0][0], "name", text
        return
    for name, rule in SENTENCES.items():
        if name == "opening" and passage.kind == "title or row":
            continue
        for match in re.finditer(rule.pattern, text, re.IGNORECASE):
            yield passage.line_at(match.start()), name, text[max(0, match.start() - 20) : match.end() + 30]
    if passage.kind in ("docstring", "comment", "paragraph"):
        for number, line in passage.lines:
            excess = len(lines[number - 1]) - COLUMNS
            # A link may be longer than a line: there is no space to break it at.
            if excess > 0 and " " in line[:-excess]:
                yield number, "length", f"{line[:20]} … {line[-20:]}"


def tracked(paths: list[str]) -> list[Path]:
    """The files of the repository under the paths, also those that git does not track yet."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths]
    names = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split("\0")
    return [Path(name) for name in names if name and not LEFT_OUT.fullmatch(name) and Path(name).is_file()]


def room(path: Path) -> str:
    return path.parts[0] if len(path.parts) > 1 else "top"


def print_counts(paths: list[Path]) -> None:
    """Print a table of the findings, and of the sentences in docstrings, by room."""
    rooms = [*sorted({room(path) for path in paths}), "all"]
    counts = Counter((rule, room(path)) for path in paths for _, rule, _ in findings(path))
    for path in (path for path in paths if path.suffix == ".py"):
        for lines in docstrings(path.read_text()):
            text = Passage("docstring", lines).text.strip()
            counts["docstrings", room(path)] += 1
            counts["docstrings that begin with What, Who or Such", room(path)] += bool(re.match(r"(?:What|Who|Such)", text))
            counts["sentences of docstrings", room(path)] += len(re.findall(r"[.!?](?= |$)", text)) or 1
            counts["words of docstrings", room(path)] += len(text.split())
    for (row, _), number in list(counts.items()):
        counts[row, "all"] += number
    rows = {row: [counts[row, name] for name in rooms] for row in dict.fromkeys([*RULES, *(row for row, _ in counts)])}
    table = {"": rooms, "---": ["---"] * len(rooms), **rows}
    sys.stdout.writelines(f"| {' | '.join(map(str, [row, *cells]))} |\n" for row, cells in table.items())
    words = counts["words of docstrings", "all"] / max(1, counts["sentences of docstrings", "all"])
    sys.stdout.write(f"\n{words:.1f} words in a sentence of a docstring\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", metavar="PATH")
    parser.add_argument("--only", choices=RULES, metavar="RULE", help=f"one of: {', '.join(RULES)}")
    parser.add_argument("--count", action="store_true", help="print a table by rule and room instead of the findings")
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
