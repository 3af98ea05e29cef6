"""What a record found, in lines for people: one kind of record, one function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from xedge_benchmarks.limits import MEMORY, Reached, best_rows, reached
from xedge_benchmarks.record import Json
from xedge_benchmarks.two_clocks import cpu_leads, leading, ratios_text
from xedge_benchmarks.wording import (
    MISSING,
    agreement_with_loadgen,
    between,
    bounded,
    energy_a_bag,
    milliseconds,
    number,
    percentile,
    tail,
)


@dataclass(frozen=True)
class Finding:
    """A line of a report.

    Attributes:
        label: What was measured.
        result: What was found, with units.
        interval: The 95 % interval of its first number; empty without one.
        share: Of the machine's peak, arithmetic and bandwidth; empty where it is not known.
        main: Whether it belongs into a short table.
    """

    label: str
    result: str
    interval: str = ""
    share: str = ""
    main: bool = True


def findings(content: Json, peaks: Mapping[str, Any] | None) -> list[Finding]:
    """The lines of a record; of a kind that has no lines, its name alone.

    Args:
        content: A record.
        peaks: Results of `xedge bench peak` on the same machine; None without.
    """
    kind = content["benchmark"]
    lines = _KINDS.get(kind.partition("-")[0])
    if lines is None:
        return [Finding(kind, "see the record")]
    shares = {row.label: row for row in reached(content, peaks)} if peaks else {}
    return [*lines(content, shares), *_energy(content)]


def _engines(content: Json, shares: Mapping[str, Reached]) -> Iterator[Finding]:
    for row in content["results"]["engines"]:
        text = f"{milliseconds(row['median_ms'])} ({tail(row)})"
        yield Finding(row["name"], text, _of_median(row), _share(row["name"], shares))


def _speed(content: Json, shares: Mapping[str, Reached]) -> Iterator[Finding]:
    cpu = cpu_leads(content)
    for row in content["results"]["rows"]:
        if "unit" in row:  # start
            main = row["name"].startswith("start") or row["name"].endswith("together")
            yield Finding(row["name"], f"{row['median']:.2f} {row['unit']}", main=main)
            continue
        text = milliseconds(row["median_ms"])
        if row["against"] != row["name"]:
            text += f", of {row['against']} {ratios_text(row, cpu_first=cpu)}"
        yield Finding(row["name"], text, _of_ratio(row, cpu),
                      _share(row["name"], shares), main=row["against"] != row["name"])  # fmt: skip


def _contenders(content: Json, shares: Mapping[str, Reached]) -> Iterator[Finding]:
    for host in content["results"]["hosts"]:
        done = [row for row in host["rows"] if "failed" not in row]
        ours = [row for row in done if row["ours"]]
        best = min(ours, key=lambda row: row["median_ms"], default=None)
        cpu = cpu_leads(host)
        for row in host["rows"]:
            label = f"{host['host']}: {row['title']}"
            if "failed" in row:
                yield Finding(label, f"failed: {row['failed']}", main=False)
                continue
            text = milliseconds(row["median_ms"])
            if row is not done[0]:
                text += f", of {done[0]['title']} {ratios_text(row, cpu_first=cpu)}"
            yield Finding(label, text, _of_median(row), _share(label, shares), row is best)


def _algebra(content: Json, shares: Mapping[str, Reached]) -> Iterator[Finding]:
    settings, rows = content["settings"], content["results"]["graphs"]
    # Older records have one clock, by a setting.
    by_cpu, cpu = settings.get("clock") == "cpu", cpu_leads(content)
    first = f"{settings['plain']} alone" if settings["plain"] else rows[0]["name"]
    for row in rows:
        name = first if row is rows[0] else row["name"]
        text = ("processor time " if by_cpu else "") + milliseconds(row["median_ms"])
        if row is not rows[0]:
            ratios = f"× {row['ratio']:.2f}" if by_cpu else ratios_text(row, cpu_first=cpu)
            text += f", of {first} {ratios}"
        yield Finding(f"{settings['recipe']}, {settings['engine']}: {name}", text,
                      _of_ratio(row, cpu))  # fmt: skip


def _native(content: Json, shares: Mapping[str, Reached]) -> Iterator[Finding]:
    python, ours = content["results"]["rows"]
    cpu = cpu_leads(content)
    yield Finding(
        content["results"]["engine"],
        f"{milliseconds(ours['median_ms'])} a scan, of Python's time, "
        f"{milliseconds(python['median_ms'])}, {ratios_text(ours, cpu_first=cpu)}",
        _of_ratio(ours, cpu),
    )


def _scenarios(content: Json, shares: Mapping[str, Reached]) -> Iterator[Finding]:
    scores = {e["engine"]: e["accuracy"] for e in content["results"]["engines"]}
    for row in content["results"]["rows"]:
        label = f"{row['engine']}, {row['scenario']}"
        if row["quoted"] in row["latency_ms"]:
            name = row["quoted"]
            text = f"{name} {milliseconds(row['latency_ms'][name])}"
            ends = row["latency_ms"]["interval_95"][name]
            if row["latency_ms"][name] is None and row["latency_ms"]["p50"] is not None:
                text += f", p50 {milliseconds(row['latency_ms']['p50'])}"
        else:
            text, ends = f"{number(row['samples_per_s'])} windows/s", row["samples_per_s_95"]
        if row["steady"] is False:
            text += ", TOO NOISY"
        yield Finding(label, text, between(ends), _share(label, shares))
    for engine, score in scores.items():
        if score:
            yield Finding(f"{engine}, accuracy", _score(score))


def _loadgen(content: Json, shares: Mapping[str, Reached]) -> Iterator[Finding]:
    for row in content["results"]["rows"]:
        yield Finding(row["scenario"], agreement_with_loadgen(row))


def _belt(content: Json, shares: Mapping[str, Reached]) -> Iterator[Finding]:
    found, settings = content["results"], content["settings"]
    how = "in real time" if settings["realtime"] else "idle time skipped"
    times = found["latency_ms"]
    yield Finding(
        f"{settings['speed_m_s']:g} m/s, {how}, {found['engine']}",
        f"{found['realtime_factor']:.1f} times as fast as the belt; decision after the last line: "
        f"p50 {milliseconds(times['p50'])}, max {number(times['max'])}; {found['late']} late of "
        f"{found['decisions']}",
    )


def _lane(content: Json, shares: Mapping[str, Reached]) -> Iterator[Finding]:
    runs = content["results"]["runs"]
    for run in runs:
        beside = "" if run["beside"] == "nothing" else f", beside a {run['beside']}"
        times, engine = run["latency_ms"], content["results"]["engine"]
        yield Finding(
            f"{engine}, {run['speed_m_s']:g} m/s, lanes: {run['lanes']}{beside}",
            f"decision p50 {milliseconds(times['p50'])}, max {number(times['max'] or 0)}; "
            f"{run['late']} late of {run['decisions']}; {_through(run)}",
            between((times.get("interval_95") or {}).get("p50")),
            main=run in (runs[0], runs[-1]),
        )


def _through(run: Json) -> str:
    """Bags an hour; where lines were lost a bag falls into several, and their number says nothing.

    >>> _through({"bags": 2, "seconds": 60.0, "lines_in": 9, "lines_lost_by_cause": {}})
    '120 bags an hour'
    >>> _through({"bags": 5, "seconds": 60.0, "lines_in": 9, "lines_lost_by_cause": {"LATE": 3}})
    'LOST 3 of 9 lines'
    """
    if lost := sum(run["lines_lost_by_cause"].values()):
        return f"LOST {lost} of {run['lines_in']} lines"
    return f"{run['bags'] / run['seconds'] * 3600:.0f} bags an hour"


def _buses(content: Json, shares: Mapping[str, Reached]) -> Iterator[Finding]:
    rounds = content["settings"]["rounds"]
    for row in content["results"]["buses"]:
        there, back = row["decision_to_plc_ms"], row["to_plc_and_back_ms"]
        yield Finding(
            row["bus"].rpartition(" ")[0].removesuffix(" at") or row["bus"],
            f"p50 {milliseconds(there['p50'])} ({bounded(there, 'p99', rounds)}) to the PLC, "
            f"{number(back['p50'])} ({bounded(back, 'p99', rounds)}) and back",
        )


def _ring(content: Json, shares: Mapping[str, Reached]) -> Iterator[Finding]:
    found = content["results"]
    run = found["undisturbed"]
    late, missing = run["line_ms"], run["written"] - run["read"]
    gaps = f"LOST {missing} of {run['written']} lines" if missing else "no gap"
    yield Finding(
        f"{content['settings']['rate']} lines/s of {found['elements']} elements",
        f"{gaps}; due to read p50 {milliseconds(late['p50'])}, p99 {percentile(late['p99'])}, "
        f"p99.9 {percentile(late['p99.9'])}, max {number(late['max'])}",
    )
    for row in found["kills"]:
        yield Finding(
            f"{row['name']}, away {number(row['away_s'])} s",
            f"{row['lost']} overwritten, {row['gone_with_reader']} died with the reader, "
            f"of {row['written']} lines; none for {number(row['longest_silence_s'])} s",
            main=False,
        )


def _accuracy(content: Json, shares: Mapping[str, Reached]) -> Iterator[Finding]:
    for row in content["results"]["models"]:
        yield Finding(
            f"{row['model']}, {row['stage']}, {content['results']['engine']}", _score(row)
        )


def _growth(content: Json, shares: Mapping[str, Reached]) -> Iterator[Finding]:
    rows = content["results"]["rows"]
    for axis in dict.fromkeys(row["name"] for row in rows):
        mine = [row for row in rows if row["name"] == axis]
        for row in mine:
            label = f"{row['x_name']}: {row['x']:g}"
            if row["not_measured"]:
                yield Finding(label, f"{MISSING}: {row['not_measured']}", main=False)
                continue
            memory = "" if row["peak_mib"] is None else f", {row['peak_mib']:.0f} MiB"
            times = row["latency_ms"]
            yield Finding(label, f"p50 {milliseconds(times['p50'])}{memory}",
                          between(times["interval_95"]["p50"]),
                          main=row in (mine[0], mine[-1]))  # fmt: skip


def _peak(content: Json, shares: Mapping[str, Reached]) -> Iterator[Finding]:
    rows = content["results"]["rows"]
    most = max((row["threads"] for row in rows), default=0)
    for (device, threads, kind), row in best_rows(rows).items():
        unit = "GB/s" if kind == MEMORY else "Gop/s"
        where = device if device != "cpu" else f"{threads} thread{'s' * (threads > 1)}"
        yield Finding(f"{kind}, {where}", f"{number(row['best'])} {unit} ({row['name']})",
                      main=device != "cpu" or threads == most)  # fmt: skip


def _energy(content: Json) -> Iterator[Finding]:
    """Energy a bag of a lane's runs."""
    results = content["results"]
    bags = sum(run.get("bags", 0) for run in results.get("runs", [results]))
    if content["benchmark"] in ("belt", "lane"):
        for rail, text in energy_a_bag(content["conditions"], bags).items():
            yield Finding(f"energy a bag{rail and f', {rail}'}", text, main=bool(rail))


def _of_ratio(row: Json, cpu: bool) -> str:
    return between([leading(row, f"ratio_{end}", cpu_first=cpu) for end in ("low", "high")])


def _of_median(row: Json) -> str:
    return between((row.get("median_ms_low"), row.get("median_ms_high")))


def _share(label: str, shares: Mapping[str, Reached]) -> str:
    return shares[label].text if label in shares else ""


def _score(row: Json) -> str:
    ap50 = "-" if row["ap50"] is None else f"{row['ap50']:.3f}"
    return (
        f"AP50 {ap50}; alarms on {row['alarmed_of_those']} of {row['bags_with_objects']} bags with "
        f"a labelled object, and on {row['alarmed_of_clean']} of {row['clean_bags']} without"
    )


_KINDS: Final[Mapping[str, Callable[[Json, Mapping[str, Reached]], Iterator[Finding]]]] = (
    MappingProxyType(
        {
            "accuracy": _accuracy, "engines": _engines, "scenarios": _scenarios,
            "loadgen": _loadgen, "contenders": _contenders, "speed": _speed, "algebra": _algebra,
            "belt": _belt, "lane": _lane, "buses": _buses, "growth": _growth, "peak": _peak,
            "native": _native, "ring": _ring,
        }
    )
)  # fmt: skip
"""Benchmark, or what its name begins with, to its lines."""
