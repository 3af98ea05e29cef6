"""Rigs: a bus and the PLC's end of it. Each file rig_*.py beside this one adds some to RIGS."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import pytest


def _load_rigs() -> dict[str, Callable[[Path], AbstractContextManager[Any]]]:
    rigs: dict[str, Callable[[Path], AbstractContextManager[Any]]] = {}
    for path in sorted(Path(__file__).parent.glob("rig_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        rigs.update(module.RIGS)
    return rigs


RIGS: Final = _load_rigs()


@pytest.fixture(params=sorted(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A bus of each kind, not connected, and its PLC's end, connected."""
    with RIGS[request.param](tmp_path) as made:
        yield made
