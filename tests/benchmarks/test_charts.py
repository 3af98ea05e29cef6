"""Charts: every point is drawn where it belongs, and they are XML."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xedge_benchmarks.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    growth_charts,
    line_chart,
    roofline,
)
from xedge_benchmarks.limits import Reached
from xedge_benchmarks.work import Peak, Share, Work


def dots(svg: str) -> list[tuple[float, float]]:
    found = ElementTree.fromstring(svg).iter("circle")
    return [(float(dot.get("cx", "nan")), float(dot.get("cy", "nan"))) for dot in found]


def test_points_stand_to_scale() -> None:
    svg = line_chart([(0.0, 0.0), (50.0, 5.0), (100.0, 10.0)], "side, px", "a < b")
    assert dots(svg) == [
        (LEFT, HEIGHT - BOTTOM),
        ((LEFT + WIDTH - RIGHT) / 2, (HEIGHT - BOTTOM + TOP) / 2),
        (WIDTH - RIGHT, TOP),
    ]
    assert "a &lt; b" in svg


@given(st.lists(st.tuples(st.floats(0.01, 1e4), st.floats(0.001, 1e6)), min_size=1, max_size=9))
def test_nothing_leaves_the_picture(points: list[tuple[float, float]]) -> None:
    bars = [(0.5 * y, 1.5 * y) for _, y in points]
    for x, y in dots(line_chart(sorted(points), "x", "y", bars)):
        assert LEFT - 0.1 <= x <= WIDTH - RIGHT + 0.1
        assert TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1


def test_growth_has_a_chart_of_latency_and_one_of_memory() -> None:
    def row(axis: str, x: float, p50: float | None, mib: float | None) -> dict[str, object]:
        ends = None if p50 is None else [p50, p50]
        return {"name": axis, "x_name": axis, "x": x, "what": "run", "peak_mib": mib,
                "latency_ms": {"p50": p50, "interval_95": {"p50": ends}},
                "not_measured": "no memory" if p50 is None else None}  # fmt: skip

    rows = [row("batch", 2, 9.0, 80.0), row("batch", 1, 5.0, 70.0), row("batch", 4, None, None),
            row("lanes", 1, 3.0, None), row("none", 1, None, None)]  # fmt: skip
    charts = growth_charts({"rows": rows})
    assert [chart.title for chart in charts] == ["Latency: run", "Peak memory", "Latency: run"]
    assert len(dots(charts[0].svg)) == 2
    assert charts[0].note == "4 not measured: no memory"
    assert charts[2].note == ""


def test_a_row_at_the_peak_stands_on_its_roof() -> None:
    # 1000 operations for each byte are right of the ridge, where the roof is flat.
    work = Work({"float32": 10**12}, 10**9)
    rows = [Reached("at <the> peak", 10.0, work, Share(1.0, None)),
            Reached("half", 20.0, work, Share(0.5, None))]  # fmt: skip
    svg = roofline(rows, {"1 thread": Peak({"float32": 1e11}, 1e10)})
    assert svg is not None
    (roof,) = re.findall(r'class="roof" points="([^"]+)"', svg)
    flat = float(roof.split()[-1].split(",")[1])
    at, half = dots(svg)
    assert at[1] == flat
    assert half[1] > flat
    assert at[0] == half[0]
    assert "at &lt;the&gt; peak" in svg


@pytest.mark.parametrize("peaks", [{}, {"x": Peak({"float32": 1e11}, None)}])
def test_no_roof_without_a_peak(peaks: dict[str, Peak]) -> None:
    rows = [Reached("a", 1.0, Work({"float32": 10}, 10), Share(None, None))]
    assert roofline(rows, peaks) is None
    assert roofline([], {"x": Peak({"float32": 1e11}, 1e10)}) is None
