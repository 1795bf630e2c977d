"""The rooms import one way: server -> stage -> drivers, avatar -> models."""

from __future__ import annotations

import ast
import fnmatch
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "models": {"models"},
    "avatar": {"avatar", "models"},
    "drivers": {"drivers", "models"},
    "stage": {"stage", "drivers", "avatar", "models"},
    "server": {"server", "stage", "drivers", "avatar", "models"},
}
FILES = sorted(p for room in MAY_IMPORT for p in (ROOT / room).rglob("*.py"))


def imported_rooms(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names & {*MAY_IMPORT, "run_server", "bench", "tests"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    assert imported_rooms(path) <= MAY_IMPORT[room]


def test_frame_path_is_free_of_torch() -> None:
    """The per-frame CPU path uses NumPy and numba alone."""
    frame_path = [ROOT / "avatar/rig.py", ROOT / "models/skinning.py", ROOT / "models/motion.py"]
    frame_path += [p for p in (ROOT / "avatar/render").glob("*.py") if not p.name.startswith("gpu")]
    for path in frame_path:
        assert "torch" not in {a for a in imported_modules(path)}, path


def imported_modules(path: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module.split(".")[0])
    return modules


def test_a_change_to_whatever_builds_makes_the_demo_anew() -> None:
    """`make demo` once looked at a part of the builder only, and tests met a stale avatar."""
    rules = subprocess.run(["make", "-npq", "demo"], cwd=ROOT, capture_output=True, text=True).stdout
    (rule,) = [line for line in rules.splitlines() if line.startswith("avatars/demo.avatar:")]
    assert {str(p.relative_to(ROOT)) for p in reached(ROOT / "avatar/build/builder.py")} <= set(rule.split())


def reached(path: Path) -> set[Path]:
    """The project's files that a module imports, itself and their own included."""
    found, todo = set(), [path]
    while todo:
        if (file := todo.pop()) not in found:
            found.add(file)
            todo += [p for name in dotted_names(file) if (p := ROOT / (name.replace(".", "/") + ".py")).is_file()]
    return found


def dotted_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{a.name}" for a in node.names))


def test_pytest_leaves_no_folder_of_tests_out(pytestconfig: pytest.Config) -> None:
    left_out = pytestconfig.getini("norecursedirs")
    folders = {f for path in (ROOT / "tests").rglob("test_*.py") for f in path.relative_to(ROOT).parts[:-1]}
    assert "build" in folders and not [f for f in folders for p in left_out if fnmatch.fnmatch(f, p)]
