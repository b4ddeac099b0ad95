"""Who may import whom: the packages' dependencies point one way, and no module imports itself through others."""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOP = ("builder", "loaders", "training", "eval")

ALLOWED = {
    # top-level packages
    "builder": set(),
    "loaders": {"builder"},
    "training": {"builder", "loaders"},
    "eval": {"builder", "loaders", "training"},
}

GROUND = {
    "bounded_parquet",
    "child",
    "errors",
    "extras",
    "locks",
    "progress",
    "console",
    "storage",
    "worker_processes",
    "schema",
    "defaults",
    "versions",
    "resume",
    "seeded",
    "ambiguous",
    "text_tables",
}
"""Modules of `builder/` that every module may import."""

BUILDER = {
    # package of builder/: the packages of builder/ that it may import, lazily or not
    "sources": {"formats", "image_table"},
    "labels": set(),
    "formats": set(),
    "dataset": set(),
    "images": {"formats"},
    "image_table": {"formats", "images"},
    "curate": {"formats", "images"},
    "pages": {"dataset", "images", "sources"},
    "shards": {"dataset", "formats", "pages"},
    "hf": {"dataset", "formats", "shards"},
    "archive": {"curate", "dataset", "formats", "images", "shards", "sources"},
    "simulate": {"sources"},
}
EVAL = {
    "sets": set(),
    "scores": set(),
    "tables": {"sets"},
    "protocols": {"scores", "sets", "tables"},
    "tasks": {"protocols", "scores", "sets", "tables"},
    "results": {"scores"},
    "features": {"sets", "tables"},
    "report": {"results", "tasks"},
    "explore": {"features", "protocols", "report", "tables", "tasks"},
    "audit": {"protocols", "scores", "sets", "tasks"},
    "simulate": set(),
}
FROM_BUILDER = {
    # package of eval/: the packages of builder/ that it may import
    "sets": {"formats", "images"},
    "scores": set(),
    "tables": {"sources"},
    "protocols": set(),
    "tasks": set(),
    "results": set(),
    "features": {"dataset", "image_table", "images", "pages"},
    "report": {"images", "pages"},
    "explore": {"dataset", "formats", "images", "pages"},
    "audit": {"dataset", "image_table", "images", "pages"},
    "simulate": {"simulate"},
}


def module_of(path: Path) -> str:
    """Return the dotted name of a file, from the checkout's root: `builder.curate.run`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for top in TOP for path in sorted((ROOT / top).rglob("*.py"))}


def imported_by(name: str, *, annotations: bool) -> Iterator[str]:
    """Yield the modules of this project that a module imports anywhere in its text, inside functions as well.

    Parameters
    ----------
    annotations : bool
        Also those that are imported for type checkers alone.
    """
    path = MODULES[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    if not annotations:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                skipped |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped or not isinstance(node, ast.ImportFrom | ast.Import):
            continue
        for base, names in _bases(node, package):
            for inner in names:
                found = f"{base}.{inner}" if f"{base}.{inner}" in MODULES else base
                if found in MODULES and found != name:
                    yield found


def _bases(node: ast.ImportFrom | ast.Import, package: list[str]) -> Iterator[tuple[str, list[str]]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name.removeprefix("cytoimagenet."), [""]
        return
    names = [alias.name for alias in node.names]
    if node.level:
        yield ".".join(package[: len(package) - node.level + 1] + (node.module or "").split(".")).strip("."), names
    elif (node.module or "").split(".")[0] == "cytoimagenet":
        yield (node.module or "").removeprefix("cytoimagenet").lstrip("."), names


def packages(name: str) -> tuple[str, str]:
    """Return the top-level package of a module, and the package below it (or the module, at the top)."""
    parts = name.split(".")
    return parts[0], parts[1] if len(parts) > 1 else ""


def is_package(top: str, inner: str) -> bool:
    return (ROOT / top / inner / "__init__.py").is_file()


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other (strongly connected components of two or more)."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(start: str, edges: dict[str, set[str]], into: list[str]) -> None:
        stack = [(start, iter(sorted(edges.get(start, ()))))]
        seen.add(start)
        while stack:
            node, rest = stack[-1]
            following = next((n for n in rest if n not in seen), None)
            if following is None:
                into.append(node)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(sorted(edges.get(following, ())))))

    for node in sorted(graph):
        if node not in seen:
            visit(node, graph, order)
    back: dict[str, set[str]] = {}
    for node, targets in graph.items():
        for target in targets:
            back.setdefault(target, set()).add(node)
    seen.clear()
    found = []
    for node in reversed(order):
        if node not in seen:
            group: list[str] = []
            visit(node, back, group)
            if len(group) > 1:
                found.append(sorted(group))
    return found


def test_the_cycle_finder_finds_cycles():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"d"}}) == [["a", "b", "c"]]
    assert cycles({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []


@pytest.mark.parametrize("annotations", [False, True], ids=["run", "annotations"])
def test_no_module_imports_itself_through_others(annotations):
    graph = {name: set(imported_by(name, annotations=annotations)) for name in MODULES}
    # `from . import module` names the package, whose __init__ imports nothing of the module's: no edge
    for name, targets in graph.items():
        targets -= {t for t in targets if name.startswith(t + ".")}
    assert cycles(graph) == []


def test_no_package_imports_itself_through_others():
    graph: dict[str, set[str]] = {}
    for name in MODULES:
        top, inner = packages(name)
        for target in imported_by(name, annotations=True):
            if target in (top, packages(target)[0]) and "." not in target:
                continue
            if packages(target) != (top, inner):
                graph.setdefault(f"{top}.{inner}", set()).add(".".join(packages(target)).strip("."))
    assert cycles(graph) == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_only_what_it_may(name):
    top, inner = packages(name)
    for target in imported_by(name, annotations=True):
        other, below = packages(target)
        rule = f"{name} imports {target}"
        if other != top:
            assert other in ALLOWED[top], rule
        if below == "commands":
            assert inner == "commands" or name == "eval.run_all", f"{rule}: nothing imports commands"
        if (other, below) == ("builder", "simulate") and inner != "simulate":
            assert name == "eval.demo", f"{rule}: only the demo and eval/simulate import simulated sources"
        if not is_package(top, inner) or inner == "commands" or inner == below:
            continue
        if other == top == "builder":
            assert below in GROUND | BUILDER[inner] | {""}, rule
        elif other == top == "eval":
            assert below in EVAL[inner] | {""}, rule
        elif top == "eval" and other == "builder":
            assert below in GROUND | FROM_BUILDER[inner], rule


def test_the_tables_name_packages_that_exist():
    for top, table in (("builder", BUILDER), ("eval", EVAL), ("eval", FROM_BUILDER)):
        assert set(table) == {p.parent.name for p in (ROOT / top).glob("*/__init__.py")} - {"commands"}


def test_builder_knows_nothing_of_torch():
    for name, path in MODULES.items():
        if name.startswith("builder"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                found = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                found += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                assert not {f.split(".")[0] for f in found} & {"torch", "transformers", "accelerate"}, name


def test_the_picture_of_the_arrows_is_that_of_these_tables():
    """docs/architecture.dot has the arrows that do not follow from others; the SVG was rendered from it."""

    def below(table: dict[str, set[str]], package: str) -> set[str]:
        return table[package].union(*(below(table, inner) for inner in table[package]))

    expected = {("hf", "loaders"), ("loaders", "training"), ("training", "eval_scores")}
    for table, prefix in ((BUILDER, ""), (EVAL, "eval_")):
        for package, inner in table.items():
            direct = {one for one in inner if not any(one in below(table, other) for other in inner - {one})}
            expected |= {(prefix + one, prefix + package) for one in direct}
    dot = (ROOT / "docs/architecture.dot").read_text("utf-8")
    assert set(re.findall(r"^ +(\w+) -> (\w+)", dot, flags=re.M)) == expected
    svg = html.unescape((ROOT / "docs/architecture.svg").read_text("utf-8"))
    assert set(re.findall(r"<title>(\w+)->(\w+)</title>", svg)) == expected
