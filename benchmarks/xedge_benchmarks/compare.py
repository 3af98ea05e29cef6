"""Whether two records of one question differ by more than their intervals and the machine's noise.

An interval says how far another look at the same run would lie, not another run on another day. So
where a side has two runs of one question and one commit, or both sides are such runs, what they
disagree by is taken for the machine's own noise, and no more than that is "too noisy to tell".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xedge.errors import ConfigError
from xedge_benchmarks.record import Json
from xedge_benchmarks.stored import Figure, Stored, figures, stored_in
from xedge_benchmarks.two_clocks import cpu_leads

SAME: Final = "same"
SLOWER: Final = "slower"
FASTER: Final = "faster"
LOWER: Final = "lower"
HIGHER: Final = "higher"
NOISY: Final = "too noisy to tell"
AGREES: Final = "a second run agrees within the intervals"
TOO_NOISY: Final = "TOO NOISY"
DIFFERENT: Final = (SLOWER, FASTER, LOWER, HIGHER)


@dataclass(frozen=True)
class Verdict:
    """What became of one figure.

    Attributes:
        question: Machine and benchmark.
        figure: Its name.
        before: On the side of A.
        after: On the side of B.
        noise: What two runs of one side disagree by, as a share; None where there are no two.
        verdict: `SAME`, `NOISY`, or a way in which B differs from A.
    """

    question: str
    figure: str
    before: Figure
    after: Figure
    noise: float | None
    verdict: str

    @property
    def change(self) -> float:
        """B over A, less 1; infinite from zero."""
        return self.after.value / self.before.value - 1 if self.before.value else math.inf


@dataclass(frozen=True)
class Comparison:
    """What was compared.

    Attributes:
        verdicts: One a figure that both sides have.
        notes: What a reader must know: other machines, throttling, figures without an interval.
    """

    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether any figure does."""
        return any(verdict.verdict in DIFFERENT for verdict in self.verdicts)


def compare(a: Path, b: Path) -> Comparison:
    """What differs between the records of two files or folders.

    Of each question that both have, the newest records are compared. Two files are compared
    whatever machine and settings they have, when they are of one benchmark.

    Raises:
        ConfigError: When a place holds no record, or there is no figure that both have.
    """
    pairs = list(_pairs(a, b))
    if not pairs:
        raise ConfigError(
            "the two sides have nothing in common",
            expected="records of one machine, benchmark and settings",
            found=f"{a} and {b}",
        )
    verdicts: list[Verdict] = []
    notes: list[str] = []
    for mine, theirs in pairs:
        verdicts += _verdicts(mine, theirs)
        notes += _notes(mine[-1], theirs[-1])
    if not verdicts:
        raise ConfigError(
            "nothing can be compared", expected="figures with an interval that both sides have",
            found="; ".join(dict.fromkeys(notes)),
        )  # fmt: skip
    return Comparison(tuple(verdicts), tuple(dict.fromkeys(notes)))


def _pairs(a: Path, b: Path) -> Iterator[tuple[list[Stored], list[Stored]]]:
    """The runs of each question on both sides, the newest last."""
    if a.is_file() and b.is_file():
        one, other = stored_in(a)[0], stored_in(b)[0]
        if one.threads != other.threads:
            raise ConfigError(
                "runs on other numbers of threads are not compared",
                expected=f"{one.threads or 'every core'}, as in {a}",
                found=f"{other.threads or 'every core'} in {b}",
                remedy="Measure one of them again, with --threads",
            )
        if one.benchmark == other.benchmark:
            yield [*_twins(one, other), one], [*_twins(other, one), other]
        return
    left, right = by_question(stored_in(a)), by_question(stored_in(b))
    for question in sorted(left.keys() & right.keys()):
        yield left[question], right[question]


def by_question(stored: Sequence[Stored]) -> dict[tuple[str, str, str], list[Stored]]:
    """The records of each question, in their order."""
    found: dict[tuple[str, str, str], list[Stored]] = {}
    for one in stored:
        found.setdefault(one.question, []).append(one)
    return found


def _twins(one: Stored, but: Stored) -> list[Stored]:
    """Other runs of its question beside a record's file."""
    mine = {one.path.resolve(), but.path.resolve()}
    beside = (s for s in stored_in(one.path.parent) if s.path.resolve() not in mine)
    return [stored for stored in beside if stored.question == one.question]


def _verdicts(mine: Sequence[Stored], theirs: Sequence[Stored]) -> Iterator[Verdict]:
    before, after = (_figures(side[-1].content) for side in (mine, theirs))
    if any(cpu_leads(side[-1].content) for side in (mine, theirs)):
        before = _by_processor(before)
    own = [_spreads(side) for side in (mine, theirs)]
    last, other = mine[-1], theirs[-1]
    if last.question == other.question and _same_code(last, other):
        own.append(_spreads([last, other]))  # nothing differs but the day
    for name in (n for n in before if n in after):
        known = [spreads[name] for spreads in own if name in spreads]
        noise = max(known) if known else None
        said = _verdict(before[name], after[name], noise)
        yield Verdict(f"{theirs[-1].machine}, {theirs[-1].benchmark}", name, before[name],
                      after[name], noise, said)  # fmt: skip


def _verdict(before: Figure, after: Figure, noise: float | None) -> str:
    if before.low <= after.high and after.low <= before.high:
        return SAME
    if noise is not None and _apart(before.value, after.value) <= noise:
        return NOISY
    more = after.value > before.value
    if before.is_score:
        return HIGHER if more else LOWER
    return FASTER if more == before.more_is_better else SLOWER


def _spreads(side: Sequence[Stored]) -> dict[str, float]:
    """What the newest run of a side and others of its commit disagree by, figure by figure."""
    of_last = _figures(side[-1].content)
    spreads: dict[str, float] = {}
    for other in side[:-1]:
        if _same_code(other, side[-1]):
            for name, figure in _figures(other.content).items():
                if name in of_last:
                    apart = _apart(figure.value, of_last[name].value)
                    spreads[name] = max(spreads.get(name, 0.0), apart)
    return spreads


def agreement(runs: Sequence[Stored]) -> str:
    """Whether the newest of some runs is like the run before it, in words; empty without one.

    Args:
        runs: Of one question, the newest last; those of other code or models are not looked at.
    """
    if not runs:
        return ""
    last, before = runs[-1].content, [r.content for r in runs[:-1] if _same_code(r, runs[-1])]
    if not before:
        return ""
    mine, other = _figures(last), _figures(before[-1])
    if cpu_leads(last) or cpu_leads(before[-1]):
        mine = _by_processor(mine)
    shared = [name for name in mine if name in other]
    apart = [
        _apart(mine[name].value, other[name].value)
        for name in shared
        if _verdict(mine[name], other[name], None) != SAME
    ]
    if not shared:
        return ""
    if not apart:
        return AGREES
    return (f"{TOO_NOISY}: in {len(apart)} of {len(shared)} figures a second run lies beyond the "
            f"intervals, by up to {max(apart):.0%}")  # fmt: skip


def _same_code(one: Stored, other: Stored) -> bool:
    keys = ("code", "models", "versions")
    return all(one.content[key] == other.content[key] for key in keys)


def _apart(a: float, b: float) -> float:
    """How far apart two numbers are, as a share of the smaller; infinite from zero."""
    least, most = sorted((abs(a), abs(b)))
    return most / least - 1 if least else (0.0 if most == 0 else math.inf)


def _figures(content: Json) -> dict[str, Figure]:
    """Figures with an interval; of accuracy, which does not vary, the scores themselves."""
    found = figures(content["results"])
    if content["benchmark"] == "accuracy":
        for row in content["results"]["models"]:
            for key in ("ap50", "ap"):
                if row[key] is not None:
                    name = f"{row['model']} {row['stage']} {key}"
                    found[name] = Figure(name, row[key], row[key], row[key])
    return found


def _by_processor(found: dict[str, Figure]) -> dict[str, Figure]:
    """Without the figures by the clock that stand there by processor time as well."""
    return {name: one for name, one in found.items() if one.by_processor not in found}


def _notes(before: Stored, after: Stored) -> Iterator[str]:
    for one in (before, after):
        if cpu_leads(one.content):
            yield f"others kept the machine busy in {one.path.name}: processor time leads"
        if one.throttled:
            yield f"THE MACHINE THROTTLED in {one.path.name}"
        if not _figures(one.content):
            yield f"{one.path.name}: no figure has an interval, so nothing of it can be compared"
    if before.machine != after.machine:
        yield f"other machines: {before.machine} and {after.machine}"
    elif before.question != after.question:
        yield "the settings are not the same"
