"""The page `errors.md`: every error message of Unitrank, collected from the calls in the code that
make them.

`python docs/generate/errors_page.py` writes the page; a test compares it with the code. A message
is written as in the code; `{name}` stands where the code inserts a value.
"""

import ast
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from unitrank_service.errors import STATUS

SOURCES = ["api_schemas", "tables", "engine", "store", "worker", "service", "client"]
PAGE = "errors.md"
COLUMNS = 100
CODE = re.compile(r"(?:[a-z]+|\{\w+\})(?:_[a-z]+)*")
CODED = {
    "EngineError",
    "ArchiveError",
    "HttpProblem",
    "BadTable",
    "Flaw",
    "Invalid",
    "problem",
    "CannotRun",
    "ImportRejected",
    "ShardChanged",
}
"""Calls that carry a code and then the message."""
PLAIN = {
    "NotPossible": "NotPossible (exit code 2)",
    "ExportRefused": "ExportRefused (exit code 2)",
    "Unreachable": "Unreachable (exit code 3)",
    "GateNotMet": "GateNotMet (exit code 1)",
    "UnitrankError": "UnitrankError (exit code 1)",
    "BadParameter": "Options of the command line (exit code 2)",
    "EmbeddedServerFailed": "Starting the embedded Valkey",
    "NotStarted": "Starting a worker",
    "UnprotectedAddress": "Starting the service",
    "BadSettings": "Settings",
    "Full": "503 store_full",
    "StateConflict": "409 conflict, model_in_use or dataset_in_use",
    "Unavailable": "503 store_unavailable",
    "RecordNotFound": "404 not found",
    "BadSource": "URIs of models and datasets",
}
"""Calls that carry a message alone, with the heading under which the page lists them."""
INTRODUCTION = """# Errors

Every error of the HTTP API is a JSON problem ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457))
with a stable `code` and a `detail` that says what is wrong and what is accepted. This page lists
each code with all its messages, then the messages of the client and the command line, which have no
code.

Write programs against `code`, never against the text of a message. `{name}` is a value that depends
on the request. In a request with several mistakes, `errors` lists each with its place as a JSON
Pointer.

`python docs/generate/errors_page.py` writes this page from the code. A search for the code in
quotation marks shows where it is raised: `grep -rn '"non_finite"' --include='*.py' engine`.
"""

Constants = Mapping[str, dict[str, list[ast.expr]]]
"""Name of a module → name of a constant → its value."""


@dataclass(frozen=True, order=True)
class Message:
    """One message. `heading`: its code, or the heading of a message without a code."""

    heading: str
    text: str
    coded: bool


def messages(root: Path) -> set[Message]:
    """Every message in the sources below `root`."""
    trees: dict[str, ast.Module] = {}
    for folder in SOURCES:
        for path in sorted((root / folder).rglob("*.py")):
            name = ".".join(path.relative_to(root / folder).with_suffix("").parts)
            trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    constants = {name: _constants(tree) for name, tree in trees.items()}
    return {message for tree in trees.values() for message in module_messages(tree, constants)}


def module_messages(tree: ast.Module, constants: Constants | None = None) -> set[Message]:
    """Every message of one module.

    `constants`: the constants of the modules that it may import, by the name of the module.
    """
    imported = {
        each.asname or each.name: constants[node.module][each.name]
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module and constants and node.module in constants
        for each in node.names
        if each.name in constants[node.module]
    }
    return set(_Module(tree, imported).messages())


def _constants(tree: ast.Module) -> dict[str, list[ast.expr]]:
    """The texts and tables that a module assigns to names.

    A table such as REASONS names a code for each status.
    """
    assigned = [pair for node in tree.body if isinstance(node, ast.Assign) for pair in _assigned(node)]
    return {name: [value] for name, value in assigned if isinstance(value, ast.Dict | ast.Constant | ast.JoinedStr)}


def page(root: Path) -> str:
    """The text of the page."""
    coded, plain = defaultdict(list), defaultdict(list)
    for message in sorted(messages(root)):
        (coded if message.coded else plain)[message.heading].append(message.text)
    lines = [INTRODUCTION, "## Codes\n"]
    for code, texts in coded.items():
        lines += [f"### {code}\n", *(_item(text) for text in texts), ""]
    lines.append("## Messages without a code\n")
    for heading, texts in sorted(plain.items()):
        lines += [f"### {heading}\n", *(_item(text) for text in texts), ""]
    return "\n".join(lines).rstrip() + "\n"


def _item(text: str) -> str:
    """The message as an item of a Markdown list."""
    escaped = re.sub(r"\s*\n\s*", " ", text).replace("<", "\\<").replace("*", "\\*")
    return textwrap.fill(f"- {escaped}", COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


class _Module:
    """The messages of one module: calls that make errors, also through functions of the module that
    wrap such a call.
    """

    def __init__(self, tree: ast.Module, imported: dict[str, list[ast.expr]]) -> None:
        self._scopes = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))]
        self._wrappers = {scope.name: scope for scope in self._scopes if not isinstance(scope, ast.Module)}
        self._constants = imported | _constants(tree)
        self._raised = {id(node.exc) for node in ast.walk(tree) if isinstance(node, ast.Raise)}

    def messages(self) -> Iterator[Message]:
        """Each message once or more often."""
        for scope in self._scopes:
            for call in _calls(scope):
                name = _name(call.func)
                # Only such calls make errors; the strings at a call take time to find.
                if name in CODED or name in PLAIN or (name in self._wrappers and id(call) in self._raised):
                    yield from self._of_call(call, self._constants | _strings_at(scope, call))

    def _of_call(self, call: ast.Call, strings: dict[str, list[ast.expr]]) -> Iterator[Message]:
        name = _name(call.func)
        if name in CODED or name in PLAIN:
            for code, text in _filled(call, strings):
                if code:
                    yield from (Message(each, text, coded=True) for each in _expanded(code))
                elif name in PLAIN:
                    yield Message(PLAIN[name], text, coded=False)
        elif name in self._wrappers and id(call) in self._raised:
            yield from self._of_wrapper(call, self._wrappers[name], strings)

    def _of_wrapper(
        self, call: ast.Call, wrapper: ast.FunctionDef | ast.AsyncFunctionDef, strings: dict[str, list[ast.expr]]
    ) -> Iterator[Message]:
        """The messages of the wrapped call, with the arguments of this call in place of the
        wrapper's parameters.
        """
        parameters = [each.arg for each in [*wrapper.args.args, *wrapper.args.kwonlyargs] if each.arg != "self"]
        arguments = dict(zip(parameters, call.args, strict=False)) | {each.arg or "": each.value for each in call.keywords}
        filled = {name: _resolved(value, strings) for name, value in arguments.items()}
        for inner in _calls(wrapper):
            if _name(inner.func) in CODED or _name(inner.func) in PLAIN:
                yield from self._of_call(inner, self._constants | _strings_at(wrapper, inner) | filled)


def _expanded(code: str) -> list[str]:
    """The codes that the text can be.

    That is the text itself, or for a pattern such as `{kind}_not_found` each code of the service
    that matches the pattern.
    """
    if "{" not in code:
        return [code]
    pattern = re.compile(re.sub(r"\{\w+\}", "[a-z]+", code))
    return [each for each in STATUS if pattern.fullmatch(each)]


def _calls(scope: ast.AST) -> Iterator[ast.Call]:
    """The calls of a scope, without the calls inside its functions."""
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from _calls(child)


def _strings_at(scope: ast.AST, call: ast.Call) -> dict[str, list[ast.expr]]:
    """Each name of the scope with the expressions that it may hold at the call.

    An assignment in a block that holds the call replaces all earlier ones.
    """
    values: dict[str, list[ast.expr]] = defaultdict(list)
    for statement, surely in _before(scope, call):
        for name, value in _assigned(statement):
            values[name] = [value] if surely else [*values[name], value]
    return dict(values)


def _before(node: ast.AST, call: ast.Call) -> Iterator[tuple[ast.Assign, bool]]:
    """The assignments before the call; True for those that always run before it."""
    for _, block in ast.iter_fields(node):
        if not isinstance(block, list):
            continue
        holds_call = any(call in ast.walk(child) for child in block if isinstance(child, ast.AST))
        for child in block:
            if isinstance(child, ast.Assign) and child.lineno < call.lineno:
                yield child, holds_call
            elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                yield from ((each, surely and holds_call) for each, surely in _before(child, call))


def _assigned(statement: ast.Assign) -> Iterator[tuple[str, ast.expr]]:
    """The names that the statement assigns, each with its value."""
    target = statement.targets[0]
    if isinstance(target, ast.Name):
        yield target.id, statement.value
    elif isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
        for name, value in zip(target.elts, statement.value.elts, strict=False):
            if isinstance(name, ast.Name):
                yield name.id, value


def _filled(call: ast.Call, strings: dict[str, list[ast.expr]]) -> Iterator[tuple[str, str]]:
    """Each pair of a code ("" without one) and a message that the call may carry."""
    keywords = {each.arg: each.value for each in call.keywords}
    texts = [*call.args, *(keywords[name] for name in ("detail", "message") if name in keywords)]
    options = [text for value in texts for text in (_texts(value, strings),) if text]
    codes = (
        _texts(keywords["code"], strings)
        if "code" in keywords
        else next((option for option in options if all(CODE.fullmatch(each) for each in option)), [""])
    )
    details = [text for option in options for text in option if " " in text]
    yield from ((code, detail) for code in codes for detail in details)


def _resolved(value: ast.expr, strings: dict[str, list[ast.expr]]) -> list[ast.expr]:
    return strings.get(value.id, [value]) if isinstance(value, ast.Name) else [value]


def _texts(value: ast.expr, strings: dict[str, list[ast.expr]], depth: int = 3) -> list[str]:
    """The texts that the expression may be, with `{name}` for inserted values; none if it is not a
    text.
    """
    if isinstance(value, ast.Constant):
        return [value.value] if isinstance(value.value, str) else []
    if isinstance(value, ast.JoinedStr):
        texts = [""]
        for part in value.values:
            pieces = _texts(part, strings, depth) if isinstance(part, ast.Constant) else _inserted(part, strings, depth)
            texts = [text + piece for text in texts for piece in pieces]
        return texts
    if isinstance(value, ast.IfExp):
        return _texts(value.body, strings, depth) + _texts(value.orelse, strings, depth)
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        left, right = _texts(value.left, strings, depth), _texts(value.right, strings, depth)
        starts, ends = left or [_placeholder(value.left)], right or [_placeholder(value.right)]
        return [start + end for start in starts for end in ends]
    if isinstance(value, ast.Name) and depth and value.id in strings:
        return [text for each in strings[value.id] for text in _texts(each, strings, depth - 1)]
    if isinstance(value, ast.Dict):
        return [text for each in value.values for text in _texts(each, strings, depth)]
    if isinstance(value, ast.Subscript):
        return _texts(value.value, strings, depth)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "get":
        return [text for each in (value.func.value, *value.args[1:]) for text in _texts(each, strings, depth)]
    return []


def _inserted(part: ast.expr, strings: dict[str, list[ast.expr]], depth: int) -> list[str]:
    assert isinstance(part, ast.FormattedValue)
    texts = _texts(part.value, strings, depth) if isinstance(part.value, ast.Name | ast.IfExp) else []
    # A name for fixed phrases is replaced by these phrases. Other names hold values of a request.
    return texts if texts and len(texts) <= 4 else [_placeholder(part.value)]


def _placeholder(value: ast.expr) -> str:
    names = [node for node in ast.walk(value) if isinstance(node, ast.Name | ast.Attribute)]
    if isinstance(value, ast.Attribute):
        return f"{{{value.attr.strip('_')}}}"
    return f"{{{_name(names[-1]).strip('_')}}}" if names else "{…}"


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""


if __name__ == "__main__":
    docs = Path(__file__).parents[1]
    (docs / PAGE).write_text(page(docs.parent), encoding="utf-8")
