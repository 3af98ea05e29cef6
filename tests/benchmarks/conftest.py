"""A bundle of the shipped model's shape whose graph takes a millisecond: it boxes dark pixels."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from xedge_benchmarks.record import new_record, write_record

from xedge import engines
from xedge.bundle import Bundle, Variant, open_bundle, write_bundle
from xedge.encode import dual_energy_planes
from xedge.provenance import CodeVersion
from xedge.sim import CLASSES
from xedge.spec import Channels, ModelSpec
from xedge.types import AIR_COUNTS

GRAPH = """
<ir_version: 10, opset_import: ["": 20]>
darkest (uint8[1, 3, 416, 416] planes)
    => (float[1, 200, 4] boxes, float[1, 200] scores, int32[1, 200] labels)
<int64[1] one = {1}, int64[1] two = {2}, int64[2] flat = {1, 173056}, int64[1] k = {200},
 int64 side = {416}, float full = {255.0}, float unit = {1.0}, float width = {40.0}>
{
    plane = Slice(planes, one, two, one)
    value = Cast<to = 1>(plane)
    light = Div(value, full)
    dark = Sub(unit, light)
    row = Reshape(dark, flat)
    scores, where = TopK<axis = 1>(row, k)
    y_int = Div(where, side)
    x_int = Mod(where, side)
    nothing = Sub(where, where)
    labels = Cast<to = 6>(nothing)
    x_row = Cast<to = 1>(x_int)
    y_row = Cast<to = 1>(y_int)
    x = Unsqueeze(x_row, two)
    y = Unsqueeze(y_row, two)
    right = Add(x, width)
    bottom = Add(y, width)
    boxes = Concat<axis = 2>(x, y, right, bottom)
}
"""


@pytest.fixture(scope="session")
def quick_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(make_quick_bundle(tmp_path_factory.mktemp("bundle") / "quick.xedge"))


@pytest.fixture(scope="session")
def quick_bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_quick_bundle(tmp_path_factory.mktemp("bundle") / "quick.xedge")


def make_quick_bundle(path: Path) -> Path:
    parser = pytest.importorskip("onnx.parser", reason="onnx (extra `export`) makes the model")
    model = bytes(parser.parse_model(GRAPH).SerializeToString())
    spec = ModelSpec(
        name="darkest-pixels", classes=CLASSES, height=416, width=416,
        channels=Channels.DUAL_ENERGY, binning=2, pixel_mm=1.24, candidates=200,
        score_threshold=0.1,  # above that of air, of which any 200 pixels are as good as others
    )  # fmt: skip
    rng = np.random.default_rng(0)
    low, high = np.full((2, 832, 832), AIR_COUNTS, np.uint16)
    for row, column in rng.integers(0, 416, (100, 2)) * 2:
        low[row : row + 2, column : column + 2] = rng.integers(0, 30_000)
    with closing(engines.load(model, "onnxruntime")) as engine:
        golden = engine.run({"planes": dual_energy_planes(low, high, 2)[None]})
    write_bundle(
        path, spec=spec, variants={"fp32": Variant(model, golden)}, golden_low=low,
        golden_high=high, licence="none", created=datetime.date(2026, 1, 1),
    )  # fmt: skip
    return path


@pytest.fixture
def keep() -> Callable[..., Path]:
    """Keeps a record with one figure, and gives its file."""

    def kept(
        folder: Path, second: int, median: float, width: float, *, commit: str = "a",
        **settings: object,
    ) -> Path:  # fmt: skip
        row = {"name": "x", "median_ms": median, "median_ms_low": median - width,
               "median_ms_high": median + width}  # fmt: skip
        record = new_record("engines", models={"m": "1"}, settings={"rounds": 9} | settings,
                            results={"engines": [row]})  # fmt: skip
        code = CodeVersion(commit * 40, False)
        started_utc = f"2026-01-01T00:00:{second:02}+00:00"
        return write_record(dataclasses.replace(record, code=code, started_utc=started_utc), folder)

    return kept
