"""Charts as SVG inside a page: lines over a number, and a roofline."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xedge.page import ticks
from xedge_benchmarks.limits import Reached
from xedge_benchmarks.work import Peak

WIDTH: Final = 420
HEIGHT: Final = 260
LEFT, RIGHT, TOP, BOTTOM = 56, 20, 14, 40

Point = tuple[float, float]
Scale = Callable[[float], float]


@dataclass(frozen=True)
class Chart:
    """A drawing with its title.

    Attributes:
        title: What it shows.
        svg: The drawing.
        note: What a reader must know; points that are missing.
    """

    title: str
    svg: str
    note: str = ""


def line_chart(
    points: Sequence[Point], x_name: str, y_name: str, bars: Sequence[tuple[float, float]] = ()
) -> str:
    """Points joined by lines, both axes from zero.

    Args:
        points: x and y, at least one, in the order of x.
        x_name: With the unit.
        y_name: With the unit.
        bars: Interval of each y; none draws none.
    """
    most_x = max(x for x, _ in points)
    most_y = max([y for _, y in points] + [high for _, high in bars]) or 1.0
    across, up = _linear(most_x or 1.0, LEFT, WIDTH - RIGHT), _linear(most_y, HEIGHT - BOTTOM, TOP)
    parts = [*_grid(ticks(most_x, 7), across, ticks(most_y, 6), up)]
    for (x, _), (low, high) in zip(points, bars, strict=False):
        parts.append(f'<line class="bar" x1="{across(x):.1f}" x2="{across(x):.1f}" '
                     f'y1="{up(low):.1f}" y2="{up(high):.1f}"/>')  # fmt: skip
    path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
    parts.append(f'<polyline class="curve" points="{path}"/>')
    parts += [_dot(across(x), up(y), f"{x:g}: {y:.4g}") for x, y in points]
    return _svg(parts, x_name, y_name)


def growth_charts(results: Mapping[str, Any]) -> list[Chart]:
    """Latency and memory over each axis of a record of growth."""
    charts = []
    for axis in dict.fromkeys(row["name"] for row in results["rows"]):
        mine = sorted((r for r in results["rows"] if r["name"] == axis), key=lambda r: r["x"])
        missing = "; ".join(f"{r['x']:g} not measured: {r['not_measured']}" for r in mine
                            if r["not_measured"])  # fmt: skip
        x_name = mine[0]["x_name"]
        timed = [row for row in mine if row["latency_ms"]["p50"] is not None]
        if timed:
            bars = [row["latency_ms"]["interval_95"]["p50"] for row in timed]
            drawn = line_chart([(r["x"], r["latency_ms"]["p50"]) for r in timed], x_name,
                               "p50, ms", [tuple(bar) for bar in bars])  # fmt: skip
            charts.append(Chart(f"Latency: {mine[0]['what']}", drawn, missing))
        held = [(row["x"], row["peak_mib"]) for row in mine if row["peak_mib"] is not None]
        if held:
            charts.append(Chart("Peak memory", line_chart(held, x_name, "MiB"), missing))
    return charts


def roofline(rows: Sequence[Reached], peaks: Mapping[str, Peak]) -> str | None:
    """Rates of rows over operations for each byte, below the roofs; None without any.

    Args:
        rows: What was reached, on one device.
        peaks: Name of a roof, such as the threads, to the peak.
    """
    dots = [
        (sum(r.work.operations.values()) / r.work.bytes,
         sum(r.work.operations.values()) / r.seconds / 1e9, r.label)
        for r in rows if r.work.bytes and r.seconds
    ]  # fmt: skip
    roofs = [
        (f"{kind}, {name}", rate / 1e9, peak.bytes_s / 1e9)
        for name, peak in peaks.items() if peak.bytes_s
        for kind, rate in peak.operations_s.items()
    ]  # fmt: skip
    if not dots or not roofs:
        return None
    xs = [x for x, _, _ in dots] + [rate / memory for _, rate, memory in roofs]
    ys = [y for _, y, _ in dots] + [rate for _, rate, _ in roofs]
    (x_low, x_high), (y_low, y_high) = _decades(xs), _decades(ys)
    across = _logarithmic(x_low, x_high, LEFT, WIDTH - RIGHT)
    up = _logarithmic(y_low, y_high, HEIGHT - BOTTOM, TOP)
    parts = [*_grid(_powers(x_low, x_high), across, _powers(y_low, y_high), up)]
    for name, rate, memory in roofs:
        # From where memory gives as much as the bottom of the picture, up to the ridge, then flat.
        begin = max(x_low, y_low / memory)
        path = [(begin, memory * begin), (rate / memory, rate), (x_high, rate)]
        drawn = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in path)
        parts.append(f'<polyline class="roof" points="{drawn}"><title>{html.escape(name)}: '
                     f"{rate:.0f} Gop/s, {memory:.1f} GB/s</title></polyline>")  # fmt: skip
        parts.append(f'<text x="{WIDTH - RIGHT}" y="{up(rate) - 3:.1f}" text-anchor="end">'
                     f"{html.escape(name)}</text>")  # fmt: skip
    parts += [_dot(across(x), up(y), f"{label}: {y:.0f} Gop/s at {x:.0f} a byte")
              for x, y, label in dots]  # fmt: skip
    return _svg(parts, "operations for each byte", "Gop/s")


def _linear(most: float, begin: float, end: float) -> Scale:
    return lambda value: begin + (end - begin) * value / most


def _logarithmic(low: float, high: float, begin: float, end: float) -> Scale:
    span = math.log(high / low)
    return lambda value: begin + (end - begin) * math.log(value / low) / span


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Powers of ten around some numbers, at least one decade."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values) * 1.05))
    return 10.0**low, 10.0 ** max(high, low + 1)


def _powers(low: float, high: float) -> list[float]:
    return [10.0**k for k in range(round(math.log10(low)), round(math.log10(high)) + 1)]


def _grid(xs: Sequence[float], across: Scale, ys: Sequence[float], up: Scale) -> Iterator[str]:
    for x in xs:
        yield (f'<line class="grid" x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{TOP}" '
               f'y2="{HEIGHT - BOTTOM}"/><text x="{across(x):.1f}" y="{HEIGHT - BOTTOM + 15}" '
               f'text-anchor="middle">{x:g}</text>')  # fmt: skip
    for y in ys:
        yield (f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(y):.1f}" '
               f'y2="{up(y):.1f}"/><text x="{LEFT - 5}" y="{up(y) + 4:.1f}" '
               f'text-anchor="end">{y:g}</text>')  # fmt: skip


def _dot(x: float, y: float, tip: str) -> str:
    title = f"<title>{html.escape(tip)}</title>"
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4">{title}</circle>'


def _svg(parts: Sequence[str], x_name: str, y_name: str) -> str:
    about = html.escape(f"{y_name} over {x_name}")
    names = (
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{html.escape(x_name)}</text>'
        f'<text x="{LEFT + 6}" y="{TOP + 10}">{html.escape(y_name)}</text>'
    )
    return (f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{about}">'
            f"{''.join(parts)}{names}</svg>")  # fmt: skip
