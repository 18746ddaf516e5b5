"""The house style, where a machine can judge it: size, docstrings, and who may read the clock or the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("controller", "api", "proxy", "browser_proxy")
LONGEST_FUNCTION = 50
LONGEST_MODULE = 400
OUTERMOST_LOOPS = {"controller/workers/actors.py"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def modules(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "migrations/versions" not in path.as_posix()]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def public(tree: ast.AST) -> Iterator[Definition]:
    """Public classes and functions of a module and public methods of its public classes."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def overrides(node: Definition) -> bool:
    return isinstance(node, Function) and any(
        isinstance(mark, ast.Name) and mark.id in {"override", "overload"} for mark in node.decorator_list
    )


@pytest.mark.parametrize("path", modules(*PACKAGES, "tests"), ids=name)
def test_no_module_or_function_outgrows_its_room(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_MODULE
    long = [f.name for f in functions(ast.parse(text)) if (f.end_lineno or 0) - f.lineno >= LONGEST_FUNCTION]
    assert long == []


@pytest.mark.parametrize("path", modules(*PACKAGES), ids=name)
def test_everything_public_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    silent = [node.name for node in public(tree) if not ast.get_docstring(node) and not overrides(node)]
    if not ast.get_docstring(tree) and tree.body:
        silent.append("the module itself")
    assert silent == []


@pytest.mark.parametrize("path", modules(*PACKAGES), ids=name)
def test_only_the_outermost_loop_catches_everything(path: Path) -> None:
    if name(path) in OUTERMOST_LOOPS:
        return
    tree = ast.parse(path.read_text())
    broad = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    ]
    assert broad == []


def test_no_machine_path_and_no_registry_stands_in_the_tree() -> None:
    hosts = ("py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs", "proxy." + "golang.org")
    skipped = {".git", ".venv", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
    files = [path for path in ROOT.rglob("*") if path.is_file() and not skipped & set(path.parts)]
    guilty = [name(path) for path in files if any(host.encode() in path.read_bytes() for host in hosts)]
    assert guilty == []
