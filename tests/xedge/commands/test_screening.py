"""The engine behind ``auto`` is named, and has run before the first bag comes."""

from pathlib import Path

import numpy as np
import pytest

from xedge import engines
from xedge.bundle import open_bundle
from xedge.commands.screening import warm_detector
from xedge.engines.threads import lane_threads
from xedge.errors import EngineError, EngineNotInstalled


def test_auto_is_named_by_what_it_stands_for(tiny_bundle: Path) -> None:
    found = engines.available()
    first = next((name for name in engines.AUTO if found[name].usable), None)
    if first is None:
        pytest.skip("no engine is installed")
    with warm_detector(open_bundle(tiny_bundle)) as (detector, used):
        assert (used.name, used.version, used.threads) == (
            first, found[first].detail, lane_threads(),
        )  # fmt: skip
        assert len(detector.detect_window(np.zeros((3, 32, 32), np.uint8))) > 0


def test_the_engine_has_run_once(stand_in_bundle: Path) -> None:
    with warm_detector(open_bundle(stand_in_bundle), "fake", 3) as (detector, used):
        assert detector.engine.runs == 1  # type: ignore[attr-defined]
        assert (used.name, used.threads) == ("fake", 3)


def test_without_any_library_auto_says_what_to_install(stand_in_bundle: Path, monkeypatch) -> None:
    monkeypatch.setattr(engines, "AUTO", ())
    with (
        pytest.raises(EngineNotInstalled, match=r"xedge\[cpu\]"),
        warm_detector(open_bundle(stand_in_bundle)),
    ):
        pass


def test_a_name_that_is_none_is_refused(stand_in_bundle: Path) -> None:
    with (
        pytest.raises(EngineError, match="openvino"),
        warm_detector(open_bundle(stand_in_bundle), "openvin"),
    ):
        pass
