"""Tables of studies inside a Markdown page, written from the records of their runs.

A table stands between ``<!-- study: NAME -->`` and ``<!-- end -->``; what is around it is
written by people. Nothing between the two is typed by hand, and a test says when it is stale.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from xedge.errors import ConfigError
from xedge_benchmarks.studies import Arm, Json, Study, run_of, runs_of
from xedge_benchmarks.study_record import OTHER_PARENT, OTHER_TEXT, Kept

MISSING: Final = "not measured"
SMALL: Final = 0.01
"""Figures below are written with an exponent; a score this small is read as easily."""


def spread(values: Sequence[float], form: str = "") -> str:
    """Mean and sample standard deviation; without the latter when there is only one value.

    >>> spread([0.5, 0.6, 0.7])
    '0.600 ± 0.100'
    >>> spread([0.5])
    '0.500'
    >>> spread([1.5e-4, 2.5e-4])
    '2.0e-04 ± 7.1e-05'
    """
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return MISSING
    mean = statistics.fmean(known)
    # Three decimals say nothing of an update |w|.
    form = form or (".1e" if 0 < max(map(abs, known)) < SMALL else ".3f")
    return f"{mean:{form}}" + (f" ± {statistics.stdev(known):{form}}" if len(known) > 1 else "")


def paired(ours: Mapping[int, float], base: Mapping[int, float]) -> str:
    """Mean difference of the seeds that both have, and its sample standard deviation.

    >>> paired({1: 0.5, 2: 0.7}, {1: 0.4, 2: 0.4})
    '+0.200 ± 0.141'
    """
    differences = [ours[seed] - base[seed] for seed in sorted(ours.keys() & base.keys())]
    text = spread(differences, ".3f")
    return text if text == MISSING or text.startswith("-") else f"+{text}"


def table_of(study: Study, records: Mapping[str, Kept], stale: Mapping[str, str]) -> str:
    """The table of a study in Markdown, one row an arm; mean ± deviation over its seeds.

    The last column but one is the mean difference of the study's first figure, seed by seed, from
    the arm that this one is compared with.

    Args:
        study: The study.
        records: Records of its runs by name, as `study_record.records_in` finds them.
        stale: Names of stale ones, as `study_record.stale_among` finds them: their numbers are
            shown, and the line below says how many they are.
    """
    main = next(iter(study.figures))
    heads = ["", "seeds", *study.figures.values(), f"{study.figures[main]} gained", "parameters"]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    done = {arm.label: _records_by_seed(study, arm, records) for arm in study.arms}
    for arm in study.arms:
        mine = done[arm.label]
        columns = [spread(list(_column(mine, figure).values())) for figure in study.figures]
        other = arm.against or study.arms[0].label
        gained = "" if other == arm.label else (
            f"{paired(_column(mine, main), _column(done[other], main))} on {other}"
        )  # fmt: skip
        parameters = sorted({f"{r['parameters']:,}" for r in mine.values()})
        cells = [arm.label, str(len(mine)), *columns, gained, " / ".join(parameters)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", provenance_of(study, records, stale), ""])


def _records_by_seed(study: Study, arm: Arm, records: Mapping[str, Kept]) -> dict[int, Json]:
    names = {seed: run_of(arm, seed).name for seed in study.seeds}
    return {seed: records[name].content for seed, name in names.items() if name in records}


def _column(done: Mapping[int, Json], figure: str) -> dict[int, float]:
    return {seed: float(r["figures"].get(figure, math.nan)) for seed, r in done.items()}


def provenance_of(study: Study, records: Mapping[str, Kept], stale: Mapping[str, str]) -> str:
    """One line that says what the numbers of a study come from, and which are stale."""
    wanted = {run.name for run in runs_of(study)}
    kept = {name: record for name, record in records.items() if name in wanted}
    mine = [record.content for record in kept.values()]
    if not mine:
        return f"No run of `{study.name}` has been measured."
    commits = sorted({commit for record in mine for commit in record["commit"].split()})
    sizes = sorted({(r["sizes"]["train"], r["sizes"]["held_out"]) for r in mine})
    epochs = sorted({r["epochs"] for r in mine})
    cpus = sorted({f"{r['machine']['cpu']}, {r['machine']['cores']} cores" for r in mine})
    folders = sorted({record.folder for record in kept.values()})
    old = [
        (sum(stale.get(name) == why for name in kept), why) for why in (OTHER_TEXT, OTHER_PARENT)
    ]
    hours = sum(r["seconds"] for r in mine) / 3600
    return (
        f"{len(mine)} of {len(wanted)} runs; commit {', '.join(commits)}; "
        + "; ".join(f"{a} items trained on, {b} held out" for a, b in sizes)
        + f"; {' or '.join(map(str, epochs))} epochs; {'; '.join(cpus)}; {hours:.1f} hours of one "
        f"thread each; records in {', '.join(f'`{folder}`' for folder in folders)}."
        + "".join(f" {count} of the runs were made with {why}." for count, why in old if count)
    )


def rewritten(page: str, tables: Mapping[str, str], mark: str = "study") -> str:
    """The page with each table in its place.

    Args:
        page: Markdown with ``<!-- MARK: NAME -->`` and ``<!-- end -->`` around each.
        tables: Name to table.
        mark: The word before the name.

    Raises:
        ConfigError: When the page asks for a table that there is not.
    """
    places = re.compile(rf"(<!-- {mark}: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in tables:
            raise ConfigError(f"the page has a table of an unknown {mark}", found=name,
                              expected=", ".join(tables))  # fmt: skip
        return f"{match[1]}{tables[name]}{match[3]}"

    return places.sub(block, page)
