"""Every name of TensorRT that the adapter uses is there in every version claimed, or guarded.

The names are read from the source. What an expression is of is told by the tables below, by the
name of its variable; a variable that no table names fails the test, so that a new call cannot be
forgotten.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from xedge.engines import cuda, tensorrt, tensorrt_api, tensorrt_build
from xedge.engines.tensorrt_api import Features

HERE = Path(__file__).parent
DIGEST = json.loads((HERE / "tensorrt_names.json").read_text())
VERSIONS: list[str] = DIGEST["versions"]
ADAPTER = (tensorrt_api, tensorrt_build, tensorrt)

KINDS = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "problem": "ParserError",
    "config": "IBuilderConfig",
    "timing_cache": "ITimingCache",
    "runtime": "Runtime",
    "cuda_engine": "ICudaEngine",
    "settings": "IRuntimeConfig",
    "kernel_cache": "IRuntimeCache",
    "context": "IExecutionContext",
}
"""Variable to the class of TensorRT that it holds."""

OURS = {
    "self", "cls", "api", "gpu", "options", "features", "logger", "monitor", "memory", "spec",
    "cache", "built", "error", "undo", "np", "platform", "contextlib", "collections", "importlib",
    "hashlib", "re", "head", "line", "rest", "text", "inputs", "outputs", "array", "feeds", "msg",
    "facts", "found", "reasons", "module", "kind", "name", "dict", "dtypes", "pairs", "Features",
    "_MULTIPLIES", "_TYPES", "types", "layer", "theirs",
}  # fmt: skip
"""Variables that hold none: of xedge, of Python, of numpy."""

CUDA = {"stream", "copies", "building", "replay", "_stream", "_replay"}
"""Variables of cuda-core, which the stand-in and the last test look after."""

OWN_ATTRIBUTES = {
    "_logger", "_gpu", "_closing", "_memory", "_api", "_keep", "_phases", "_parents", "features",
    "errors", "layers", "interrupted", "host",
}  # fmt: skip
"""Attributes of ours whose own attributes are none of TensorRT's."""

OWN_CALLS = {
    "super", "open_gpu", "str", "type", "hashlib.sha256", "cls._options", "build_plan",
    "self._stream.create_graph_builder", "building.end_building",
}  # fmt: skip
"""Calls that give none of TensorRT's."""

GUARDS = {
    ("BuilderFlag", "FP16"): ("features.weak_typing", "weak_typing"),
    ("BuilderFlag", "INT8"): ("features.weak_typing", "weak_typing"),
    ("IBuilderConfig", "num_compute_capabilities"): ("features.targets", "targets"),
    ("IBuilderConfig", "set_compute_capability"): ("features.targets", "targets"),
    ("ComputeCapability", None): ("features.targets", "targets"),
    ("ICudaEngine", "create_runtime_config"): ("not features.kernel_cache", "kernel_cache"),
    ("IRuntimeConfig", "create_runtime_cache"): ("features.kernel_cache", "kernel_cache"),
    ("IRuntimeConfig", "set_runtime_cache"): ("features.kernel_cache", "kernel_cache"),
    ("IRuntimeConfig", "cuda_graph_strategy"): ("features.own_graphs", "own_graphs"),
    ("CudaGraphStrategy", None): ("features.own_graphs", "own_graphs"),
    ("CudaGraphStrategy", "WHOLE_GRAPH_CAPTURE"): ("features.own_graphs", "own_graphs"),
    ("IRuntimeCache", "deserialize"): ("features.kernel_cache", "kernel_cache"),
    ("IRuntimeCache", "serialize"): ("kernel_cache is None", "kernel_cache"),
    ("Runtime", "get_engine_validity"): ("features.validity", "validity"),
    ("EngineValidity", None): ("features.validity", "validity"),
    ("EngineValidity", "INVALID"): ("features.validity", "validity"),
}
"""Name that some version lacks to what its `if` asks, and to the feature that says so."""

ASKED = {"FP16", "set_compute_capability", "create_runtime_cache",
         "cuda_graph_strategy", "get_engine_validity", "IRuntimeConfig"}  # fmt: skip
"""Names that `Features` looks for."""


@dataclass(frozen=True)
class Use:
    """One name of TensorRT in the source."""

    kind: str
    name: str | None
    place: str
    function: str


def uses(modules: tuple[ModuleType, ...] = ADAPTER) -> list[Use]:
    return [use for module in modules for use in read(inspect.getsource(module), module.__name__)]


def read(source: str, place: str) -> Iterator[Use]:
    tree = ast.parse(source)
    owner: dict[ast.AST, ast.AST] = {}
    for outer in ast.walk(tree):  # inner functions come later and win
        if isinstance(outer, ast.FunctionDef):
            for inner in ast.walk(outer):
                owner[inner] = outer
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not annotation(node):
            kind = kind_of(node.value, f"{place}:{node.lineno}")
            if kind is None:
                continue
            function = ast.unparse(owner[node]) if node in owner else ""
            where = f"{place}:{node.lineno}"
            if kind != "module":
                yield Use(kind, node.attr, where, function)
            elif node.attr != "__version__":
                yield Use(node.attr, None, where, function)


def annotation(node: ast.Attribute) -> bool:
    return ast.unparse(node).startswith(("npt.", "np."))


def kind_of(value: ast.expr, where: str) -> str | None:
    """``module``, a class of TensorRT, or None for what is none of TensorRT's."""
    if isinstance(value, ast.Name):
        if value.id == "trt":
            return "module"
        if value.id in KINDS:
            return KINDS[value.id]
        if value.id in OURS | CUDA:
            return None
    if isinstance(value, ast.Attribute):
        name = value.attr
        if name == "trt":
            return "module"
        if name.lstrip("_") in KINDS:
            return KINDS[name.lstrip("_")]
        if kind_of(value.value, where) == "module":
            return name
        if (
            ast.unparse(value) in {"layer.name", "layer.kind"}
            or name in OWN_ATTRIBUTES | CUDA
            or ast.unparse(value).startswith("np.")
        ):
            return None
    if isinstance(value, ast.Subscript):
        return kind_of(value.value, where)
    if isinstance(value, ast.Constant | ast.JoinedStr):
        return None
    if isinstance(value, ast.IfExp):
        return kind_of(value.body, where)
    if isinstance(value, ast.Call):
        called = ast.unparse(value.func)
        if called in OWN_CALLS:
            return None
        if called.endswith((".splitlines", ".join")):
            return None
    raise AssertionError(f"{where}: of what kind is `{ast.unparse(value)}`? Name it in a table")


def lacking(kind: str, name: str | None) -> list[str]:
    """Versions without the name; without the class, for None."""
    there = DIGEST["names"].get(kind, {})
    if name is None:
        return [v for i, v in enumerate(VERSIONS) if not any(d[i] == "1" for d in there.values())]
    return [v for i, v in enumerate(VERSIONS) if there.get(name, "0" * len(VERSIONS))[i] == "0"]


USES = uses()


def test_the_source_is_read() -> None:
    found = {(use.kind, use.name) for use in USES}
    assert len(found) > 60
    for call in (
        ("Builder", "build_serialized_network"), ("IExecutionContext", "execute_async_v3"),
        ("ICudaEngine", "get_tensor_mode"), ("TensorIOMode", "INPUT"), ("ILogger", "ERROR"),
        ("IRuntimeCache", "serialize"), ("Runtime", None),
    ):  # fmt: skip
        assert call in found


@pytest.mark.parametrize("use", sorted({(u.kind, u.name or "") for u in USES}), ids=".".join)
def test_every_name_is_in_every_version_or_behind_its_check(use: tuple[str, str]) -> None:
    kind, name = use[0], use[1] or None
    missing = lacking(kind, name)
    assert missing != VERSIONS, "no version has it"
    if not missing:
        assert (kind, name) not in GUARDS, "guarded although every version has it"
        return
    assert (kind, name) in GUARDS, f"missing in {missing}"
    asked, _ = GUARDS[kind, name]
    for one in USES:
        if (one.kind, one.name) == (kind, name):
            tests = [
                ast.unparse(node.test if isinstance(node, ast.If | ast.IfExp) else node)
                for node in ast.walk(ast.parse(one.function))
                if isinstance(node, ast.If | ast.IfExp | ast.BoolOp)
            ]
            assert any(asked in test for test in tests), one.place


@pytest.mark.parametrize("version", VERSIONS)
def test_a_feature_is_found_where_its_names_are(version: str, make_tensorrt) -> None:
    features = Features.of(make_tensorrt(version).module)
    for (kind, name), (_, feature) in GUARDS.items():
        if getattr(features, feature):
            assert version not in lacking(kind, name), (kind, name)
    # And the other way round: nothing is left unused for want of looking.
    for feature in Features.__dataclass_fields__:
        guarded = [key for key, (_, flag) in GUARDS.items() if flag == feature]
        if not any(version in lacking(*key) for key in guarded):
            assert getattr(features, feature), feature


def test_every_feature_is_there_in_one_version_and_missing_in_another(make_tensorrt) -> None:
    found = [Features.of(make_tensorrt(version).module) for version in VERSIONS]
    for feature in Features.__dataclass_fields__:
        assert {getattr(features, feature) for features in found} == {True, False}, feature


def test_features_look_for_names_and_for_nothing_else() -> None:
    tree = ast.parse(inspect.getsource(tensorrt_api))
    asked = {
        node.args[1].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"hasattr", "getattr"}
        and isinstance(node.args[1], ast.Constant)
    }
    assert asked == ASKED
    for module in ADAPTER:
        assert not re.search(r"version\w*\s*[<>]|[<>]=?\s*\(?\d+,", inspect.getsource(module))


def test_a_new_call_cannot_be_forgotten() -> None:
    with pytest.raises(AssertionError, match="of what kind is `profile`"):
        list(read("def f(profile):\n    profile.set_shape(1)\n", "here"))
    (use,) = read("def f(config):\n    config.int8_calibrator = 1\n", "here")
    assert lacking(use.kind, use.name) == ["11.0", "11.4", "rtx17"]
    assert (use.kind, use.name) not in GUARDS


def dumps() -> Path:
    folder = Path(os.environ.get("XEDGE_DATA", "")) / "tensorrt-api"
    if "XEDGE_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("XEDGE_DATA names no folder with dumps of TensorRT's bindings (tensorrt-api/)")
    return folder


def test_the_names_kept_here_are_those_of_the_bindings() -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("tensorrt_names", HERE / "tensorrt_names.py")
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    assert writer.digest(dumps()) == DIGEST


def test_keywords_are_those_of_the_bindings() -> None:
    """A keyword that a version calls otherwise would fail there alone."""
    folder = dumps()
    found = 0
    for module in ADAPTER:
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            kind = kind_of(node.func.value, module.__name__)
            for keyword in node.keywords if kind not in {None, "module"} else ():
                found += 1
                for version in VERSIONS:
                    api = json.loads((folder / f"api-{version}.json").read_text())["api"]
                    text = api[kind]["attrs"][node.func.attr]
                    assert f"{keyword.arg}:" in text, (version, node.func.attr, keyword.arg)
    assert found


def test_the_installed_module_has_the_names_that_are_kept_for_it() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    if not trt.__version__.startswith("1.7"):
        pytest.skip("the names are those of 1.7")
    for kind, names in DIGEST["names"].items():
        for name, there in names.items():
            assert hasattr(getattr(trt, kind, None), name) is (there[-1] == "1"), (kind, name)


def test_cuda_core_has_what_is_used_of_it() -> None:
    core = pytest.importorskip("cuda.core", reason="needs cuda-core")
    import cuda.core.graph as graphs

    for kind, names in {
        core.Device: ("set_current", "create_stream", "allocate", "compute_capability", "name",
                      "properties"),
        core.Stream: ("handle", "sync", "close", "create_graph_builder"),
        core.Buffer: ("handle", "copy_from", "close"),
        core.LegacyPinnedMemoryResource: ("allocate",),
        graphs.GraphBuilder: ("stream", "begin_building", "end_building", "complete"),
        graphs.Graph: ("launch", "upload", "close"),
    }.items():  # fmt: skip
        for name in names:
            assert hasattr(kind, name), (kind, name)
    properties = core._device.DeviceProperties
    for name in ("integrated", "can_map_host_memory", "unified_addressing"):
        assert hasattr(properties, name)
        assert name in inspect.getsource(cuda)
    assert core.StreamOptions(nonblocking=True).nonblocking
