"""Counts what the house wants few of, and where each stands: python -m tests.house.counts [FOLDER] [--where COUNT]

The last column is that of commit be5c23a, before the rooms; there `right` were the files that became those rooms.

    kinds        comparisons of a task's kind outside tasks/kinds                                 72
    backends     comparisons of a backend's name outside backends/                                27
    bags         `dict[str, Any]` and its like, by that name or by another                       529
    subscripts   string subscripts in analysis, reports, cli and api: right of the run folder   1004
    lookups      `.get("text")` there                                                            214
    functions    functions over 60 lines, or over 7 parameters                                    23
    modules      modules over 400 lines whose docstring gives no reason ("long because ...")      18
    top          modules at the top beside values, errors, api, __init__ and __main__             60

What is counted is the syntax tree: a name in a comment or in a text for people is no comparison.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

KINDS = {"choice", "cloze", "generate", "perplexity", "conversation", "pairs"}
MAPPINGS = {"dict", "Mapping", "MutableMapping", "defaultdict", "OrderedDict"}
RIGHT = ("analysis", "reports", "cli", "api.py")
TOP = {"values.py", "errors.py", "api.py", "__init__.py", "__main__.py"}
LINES, PARAMETERS, MODULE = 60, 7, 400
REASON = "long because"
# What became the rooms of RIGHT, at commit be5c23a.
RIGHT_BEFORE = (
    *("summary", "footnotes", "verdicts", "people", "losses", "slices", "labels", "bias", "perplexity", "reduce"),
    *("costing", "cost/report", "bench", "runs", "judging", "tables", "reports/plots", "cli", "progress", "listing"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one of them stands, and what it is."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}  {self.what}"


Found = Mapping[str, list[Place]]


def _name(node: ast.expr) -> str:
    """Returns the last name of `a.b.c`, `a["c"]` or `c`; "" for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return node.id if isinstance(node, ast.Name) else ""


def _texts(node: ast.expr) -> set[str]:
    """Returns the strings that a side of a comparison spells out: one, or those of a set, list or tuple."""
    parts = node.elts if isinstance(node, ast.Set | ast.List | ast.Tuple) else [node]
    return {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Attribute) and _name(node).strip("_").isupper()


def _compares_kind(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        asked = any(_name(side) == "kind" for side in sides)
        named = not isinstance(node.left, ast.Name) and _is_constant(sides[-1])
        within = named and isinstance(node.ops[0], ast.In | ast.NotIn)
        return asked and (within or any(_texts(side) & KINDS for side in sides))
    if isinstance(node, ast.Match) and _name(node.subject) == "kind":
        values = [case.pattern for case in node.cases]
        return any(isinstance(one, ast.MatchValue) and _texts(one.value) & KINDS for one in values)
    return False


def _compares_backend(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        asked = any(_name(side) == "backend" for side in sides)
        return asked and any(_texts(side) or _is_constant(side) for side in sides)
    return isinstance(node, ast.Match) and _name(node.subject) == "backend"


def _is_bag(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Subscript) and _name(node.value) in MAPPINGS and isinstance(node.slice, ast.Tuple)):
        return False
    key, *value = node.slice.elts
    return _name(key) == "str" and [_name(one) for one in value] == ["Any"]


def _annotations(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) or (isinstance(node, ast.arg) and node.annotation is not None):
            yield node.annotation
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            yield node.returns


def _other_names(tree: ast.Module) -> set[str]:
    """Returns the names that a module gives to such a bag, as in `Line = Mapping[str, Any]`."""
    made = [node for node in tree.body if isinstance(node, ast.Assign) and _is_bag(node.value)]
    return {_name(target) for node in made for target in node.targets}


def _module(name: str) -> str:
    """Returns the module of a file of the package, as imports name it."""
    return ".".join(("harness", *name.removesuffix(".py").removesuffix("__init__").strip("/").split("/"))).rstrip(".")


def _imported_bags(name: str, tree: ast.Module, others: Mapping[str, set[str]]) -> set[str]:
    """Returns what a file calls the bags that other modules named; `others` is by module."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = _module(name).split(".")[: -node.level] if node.level else []
            whole = ".".join([*above, *([node.module] if node.module else [])])
            found |= {one.asname or one.name for one in node.names if one.name in others.get(whole, ())}
    return found


def _bags(name: str, tree: ast.Module, others: Mapping[str, set[str]]) -> Iterator[ast.expr]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Subscript) and _is_bag(node))
    here = _other_names(tree) | _imported_bags(name, tree, others)
    for annotation in _annotations(tree):
        yield from (node for node in ast.walk(annotation) if isinstance(node, ast.Name) and node.id in here)


def _subscripts(tree: ast.Module) -> Iterator[ast.Subscript]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and _texts(node.slice) and _name(node.value) not in {"Literal", "Annotated"}:
            yield node


def _lookups(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr == "get" and node.args and _texts(node.args[0]):
            yield node


def _big_functions(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        parameters = len([one for one in arguments if one.arg not in {"self", "cls"}])
        if lines > LINES or parameters > PARAMETERS:
            yield node, f"{node.name}: {lines} lines, {parameters} parameters"


def _is_right(name: str) -> bool:
    return name.startswith(tuple(f"{room}/" for room in RIGHT)) or name in RIGHT


def counted(package: Path, right: frozenset[str] | None = None) -> Found:
    """Returns the places of each count in a package's folder; `right`: its files right of the run folder."""
    files = {str(path.relative_to(package)): path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))}
    trees = {name: ast.parse(text) for name, text in files.items()}
    others = {_module(name): _other_names(tree) for name, tree in trees.items()}
    found: dict[str, list[Place]] = {
        name: [] for name in ("kinds", "backends", "bags", "subscripts", "lookups", "functions", "modules", "top")
    }
    for name, tree in trees.items():

        def add(count: str, node: ast.expr | ast.stmt, what: str = "", name: str = name) -> None:
            found[count].append(Place(name, node.lineno, what or ast.unparse(node).partition("\n")[0][:100]))

        for node in ast.walk(tree):
            if isinstance(node, ast.expr | ast.stmt):
                if _compares_kind(node) and not name.startswith("tasks/kinds/"):
                    add("kinds", node)
                if _compares_backend(node) and not name.startswith("backends/"):
                    add("backends", node)
        for bag in _bags(name, tree, others):
            add("bags", bag)
        if name in right if right is not None else _is_right(name):
            for subscript in _subscripts(tree):
                add("subscripts", subscript)
            for lookup in _lookups(tree):
                add("lookups", lookup)
        for function, what in _big_functions(tree):
            add("functions", function, what)
        lines = files[name].count("\n")
        if lines > MODULE and REASON not in (ast.get_docstring(tree) or "").lower():
            found["modules"].append(Place(name, 1, f"{lines} lines"))
        if "/" not in name and name not in TOP:
            found["top"].append(Place(name, 1, ""))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts what the house wants few of.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parents[2] / "harness")
    parser.add_argument("--where", help="list the places of one count")
    parser.add_argument("--before", action="store_true", help="the folder is that of a version without rooms")
    given = parser.parse_args()
    found = counted(given.folder, frozenset(f"{name}.py" for name in RIGHT_BEFORE) if given.before else None)
    for place in found[given.where] if given.where else ():
        print(place)
    for name, places in found.items():
        print(f"{name:<12}{len(places):>6}   in {len({place.file for place in places})} files")


if __name__ == "__main__":
    main()
