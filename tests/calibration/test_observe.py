"""Observing: the histograms hold what the graph computes, and bad sets are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xedge_calibration.observe import observe
from xedge_calibration.placement import FORMS, place

from xedge.errors import CalibrationError, ConfigError


def test_histograms_hold_what_the_tensors_hold(net: Any, windows: list[np.ndarray]) -> None:
    seen: dict[str, dict[str, list[np.ndarray]]] = {}

    def put(name: str, reader: str, x: np.ndarray) -> np.ndarray:
        seen.setdefault(name, {}).setdefault(reader, []).append(x)
        return x

    for planes in windows:
        net.logits(planes, put)
    model = net.model()
    steps: list[None] = []
    names = place(model.graph, FORMS["int8"]).tensors
    found = observe(model, names, windows, lambda: steps.append(None))
    assert tuple(found) == names
    assert len(steps) == len(windows)
    for name, histogram in found.items():
        readers = list(seen[name].values())
        numbers = np.concatenate([x.ravel() for x in readers[0]])
        # Rounded as float32 sums of 64ths are, behind the second convolution.
        assert (histogram.least, histogram.most) == pytest.approx(
            (numbers.min(), numbers.max()), rel=1e-5
        )
        assert histogram.zeros + histogram.counts.sum() == numbers.size


def test_no_window_and_no_such_tensor_are_refused(net: Any, windows: list[np.ndarray]) -> None:
    with pytest.raises(CalibrationError, match=r"no window.*empty set"):
        observe(net.model(), ["c_relu"], [])
    with pytest.raises(ConfigError, match="nowhere"):
        observe(net.model(), ["c_relu", "nowhere"], windows)


def test_a_nan_is_named(net: Any, windows: list[np.ndarray]) -> None:
    bias = net.weights["c3_b"].copy()
    bias[3] = np.nan
    with pytest.raises(CalibrationError, match=r"d_relu|e_relu"):
        observe(net.model({"c3_b": bias}), ["p", "d_relu", "e_relu"], windows)
