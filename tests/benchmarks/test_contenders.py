"""Windows of simulated bags, and engines that really run on them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from xedge_benchmarks.contenders import (
    bag_windows,
    engine_contender,
    loaded_engines,
    measurable_engines,
)
from xedge_benchmarks.interleave import interleave

from xedge.bundle import Bundle
from xedge.encode import AIR_PLANES
from xedge.errors import ConfigError, EngineLoadError, EngineRunError
from xedge.spec import Channels
from xedge.types import U8


@pytest.fixture(scope="module")
def windows(quick_bundle: Bundle) -> tuple[U8, ...]:
    return bag_windows(quick_bundle.spec, 2, seed=5)


def test_windows_are_bags_with_air_at_the_right(windows: tuple[U8, ...]) -> None:
    assert [(w.shape, str(w.dtype)) for w in windows] == [((1, 3, 416, 416), "uint8")] * 2
    for window in windows:
        # 800 elements in pairs are 400 pixels; the rest of the window is filled.
        assert (window[0, :, :, 400:] == AIR_PLANES[:, None, None]).all()
        # A bag absorbs: its middle is darker than air in both energies.
        middle = window[0, :2, 150:250, 150:250].mean(axis=(1, 2))
        assert (middle < 0.95 * AIR_PLANES[:2]).all()


def test_windows_follow_the_seed(windows: tuple[U8, ...], quick_bundle: Bundle) -> None:
    first, second = windows
    assert not np.array_equal(first, second)
    assert np.array_equal(bag_windows(quick_bundle.spec, 1, seed=6)[0], second)


@pytest.mark.parametrize("change", [{"width": 300}, {"channels": Channels.PSEUDO_COLOUR}])
def test_model_that_takes_something_else(quick_bundle: Bundle, change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="do not fit the model"):
        bag_windows(dataclasses.replace(quick_bundle.spec, **change), 1, seed=1)


def test_contenders_see_the_same_windows_in_turn(quick_bundle: Bundle) -> None:
    windows = [np.full((1, 3, 416, 416), value, np.uint8) for value in (0, 51, 102)]
    names = ["onnxruntime", "openvino"]
    with loaded_engines(quick_bundle.model(), names, threads=1) as engines:
        contenders = [engine_contender(n, e, windows) for n, e in zip(names, engines, strict=True)]
        answers = [[c.run()["scores"][0, 0] for c in contenders] for _ in range(4)]
    # score = 1 - value / 255 of the darkest pixel, exact to one rounding of float32
    expected = [1.0, 0.8, 0.6, 1.0]
    assert np.allclose(answers, np.array(expected)[:, None], atol=1e-7)


def test_engines_are_closed_at_the_end(quick_bundle: Bundle) -> None:
    windows = [np.zeros((1, 3, 416, 416), np.uint8)]
    with loaded_engines(quick_bundle.model(), ["onnxruntime"], None) as (engine,):
        contender = engine_contender("a", engine, windows)
        assert interleave([contender], rounds=2, warmup=0).shape == (2, 1)
    with pytest.raises(EngineRunError, match="closed"):
        contender.run()


def test_refused(quick_bundle: Bundle) -> None:
    with (
        pytest.raises(EngineLoadError, match="there is no engine 'onxruntime'"),
        loaded_engines(quick_bundle.model(), ["onnxruntime", "onxruntime"], None),
    ):
        pass
    with (
        pytest.raises(ConfigError, match="without a window"),
        loaded_engines(quick_bundle.model(), ["onnxruntime"], None) as (engine,),
    ):
        engine_contender("a", engine, [])


def test_the_fake_is_not_measured() -> None:
    assert "fake" not in measurable_engines()
    assert "onnxruntime" in measurable_engines()
