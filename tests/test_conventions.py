"""Rules that no linter knows."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import xedge
from xedge.cli import EXTRA_OF

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LONGEST_MODULE: Final = 400
LONGEST_FUNCTION: Final = 70
LARGEST_FILE: Final = 25 * 2**20
PACKAGES: Final = ("xedge", "export/xedge_export", "calibration/xedge_calibration",
                   "benchmarks/xedge_benchmarks")  # fmt: skip
HEAVY: Final = ("torch", "torchvision", "timm", "onnx", "onnxruntime", "openvino", "jinja2",
                "faster_coco_eval")  # fmt: skip

ROOT: Final = Path(__file__).resolve().parent.parent
MODULES: Final = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: git cannot list its files")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]  # a deleted one may still be listed


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module_is_short_and_documented(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_MODULE
    assert text.lstrip().startswith(('"""', 'r"""')), "a module begins with its docstring"
    assert "TODO" not in text


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_functions_are_short(path: Path) -> None:
    """From `def` to the last line, docstring included, decorators not."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {f.name: (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions}
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}


def test_no_module_is_called_utils() -> None:
    assert [path for path in MODULES if path.stem in {"utils", "helpers", "common", "misc"}] == []


def test_device_modules_import_without_the_heavy_packages() -> None:
    """Every module of the device runtime imports where only the base install is.

    `xedge.models` and `xedge.train` are for the desk. A command may need an extra when it runs,
    not when it is imported: `xedge --help` must answer everywhere.
    """
    desk = ("xedge.models", "xedge.train", "xedge.sim.make_tables")
    names = [
        module.name
        for module in pkgutil.walk_packages(xedge.__path__, "xedge.")
        if not module.name.startswith(desk)
    ]
    assert "xedge.cli" in names
    code = (
        f"import importlib, sys\n"
        f"for name in {HEAVY!r}: sys.modules[name] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_import_is_a_declared_dependency() -> None:
    """What happens to be installed here may be missing everywhere else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = (
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    )
    declared = {normal(re.split(r"[^\w.-]", entry)[0]) for entries in lists for entry in entries}
    installed = importlib.metadata.packages_distributions()
    undeclared = {
        name
        for path in MODULES
        for name in imported_names(path)
        if name not in sys.stdlib_module_names and not name.startswith("xedge")
        if name in installed or name not in EXTRA_OF  # absent ones have no known distribution
        if declared.isdisjoint(normal(source) for source in installed.get(name, [name]))
    }
    assert undeclared == set()


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def imported_names(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    froms = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in plain | froms}


def test_importing_xedge_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import xedge; print(set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'xedge'}"


def test_no_tracked_file_names_somebodys_machine() -> None:
    # Written so that this file does not contain what it looks for.
    private = re.compile(rb"(?<![\w.~$}-])/" + rb"(?:work|root|home|Users)/\w")
    text_suffixes = {
        ".py",
        ".md",
        ".toml",
        ".json",
        ".yaml",
        ".yml",
        ".html",
        ".css",
        ".txt",
        ".sh",
        "",
    }
    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in tracked_files()
        if path.suffix in text_suffixes and (match := private.search(path.read_bytes()))
    ]
    assert found == []


def test_no_tracked_file_is_large() -> None:
    sizes = {path: path.stat().st_size for path in tracked_files()}
    assert [path for path, size in sizes.items() if size > LARGEST_FILE] == []


def test_import_contracts_name_every_module_and_no_other() -> None:
    """A module that no layer names is not guarded, and neither is one that was renamed."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    _, layers, no_torch = tool["contracts"]
    layered = {name.strip() for layer in layers["layers"] for name in layer.split("|")}
    modules = {f"xedge.{module.name}" for module in pkgutil.iter_modules(xedge.__path__)}
    assert layered == modules
    assert set(no_torch["source_modules"]) == modules - {"xedge.models", "xedge.train"}


def test_docstring_examples_run() -> None:
    with_examples = [p for p in MODULES if re.search(r"^\s*>>> ", p.read_text(), re.MULTILINE)]
    for path in with_examples:
        component = path.relative_to(ROOT)
        parts = component.with_suffix("").parts
        name = ".".join(parts if parts[0] == "xedge" else parts[1:]).removesuffix(".__init__")
        result = doctest.testmod(importlib.import_module(name))
        assert result.failed == 0, name
