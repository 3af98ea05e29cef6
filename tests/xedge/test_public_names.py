"""What `import xedge` offers: listed, sorted, there, and found by type checkers."""

import ast
import inspect
from pathlib import Path

import pytest

import xedge
from xedge import errors


def test_every_public_name_is_there() -> None:
    assert list(xedge.__all__) == sorted(xedge.__all__)
    assert dir(xedge) == sorted(xedge.__all__)
    for name in xedge.__all__:
        assert getattr(xedge, name) is not None


def test_every_error_is_public() -> None:
    kinds = {
        name
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.XedgeError)
    }
    # These are raised where torch is: their modules name them.
    desk = {"AutogradInGraph", "GraphRefused", "TrainingError"}
    assert kinds - set(xedge.__all__) == desk


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(xedge.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name
        for node in block.body
        for alias in node.names  # type: ignore[attr-defined]
    }
    assert seen | {"__version__"} == set(xedge.__all__)


def test_any_other_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'detect'"):
        xedge.detect  # noqa: B018
    assert not hasattr(xedge, "numpy")
