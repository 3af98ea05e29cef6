"""`xedge quiet`: how low the first pass must score for a window to stop, chosen on bags."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from xedge.bundle import Bundle, open_bundle, write_bundle
from xedge.commands.bundle_options import refuse_output, require_signature
from xedge.commands.quieted import QUIET_SEED, Seen, SeenBag, look
from xedge.commands.screening import named_engine
from xedge.engines import BACK_ENDS
from xedge.engines.deploy import ARITHMETIC
from xedge.errors import ConfigError
from xedge.quiet import Quiet

POSITIVE: Final = 0.01
"""Share of the bags with an object on the belt that a saving is stated for."""

USEFUL: Final = 0.2
"""Share of the windows of clean bags that a statement must stop to be written: a model in two
stages takes a little longer to start."""

A_UNIT: Final = 1e4
"""Thresholds are whole multiples of 1 / A_UNIT; there is none below the first."""

OF_THREE: Final = 3.0
"""Nothing in n trials bounds a rate by 3 / n at 95 % confidence."""

MOST_FLIPS: Final = 0.002
"""Bound of the share of bags that flip, from which too few were checked for a statement."""


@dataclass(frozen=True)
class Count:
    """What a threshold did to bags.

    Attributes:
        bags: How many.
        lost: Windows that stopped with a detection that was to be kept.
        flips: Bags that would have alarmed, and did not.
        most_flips: Upper bound of their share at 95 % confidence, where there was none; else None,
            as of the bags that a threshold was chosen on, of which none can flip.
        stopped_clean: Share of the windows of clean bags that stopped.
        stopped_loaded: Share of the windows of the others.
        stopped_belt: Share on a belt with `POSITIVE` of its bags loaded.
    """

    bags: int
    lost: int
    flips: int
    most_flips: float | None
    stopped_clean: float
    stopped_loaded: float
    stopped_belt: float


@dataclass(frozen=True)
class Chosen:
    """One statement, and what it was worth.

    Attributes:
        keeps: Score of the detections that it keeps.
        quiet: The statement; None where the least score is so low that none lies below it.
        least_seen: The smallest first-pass score of a window, among the bags it was chosen on, with
            a detection that is kept.
        chosen_on: What it does to these.
        checked_on: What it does to others.
    """

    keeps: float
    quiet: Quiet | None
    least_seen: float
    chosen_on: Count
    checked_on: Count

    @property
    def useful(self) -> bool:
        """Whether there is one, and enough windows stop for it to be written."""
        return self.quiet is not None and self.chosen_on.stopped_clean >= USEFUL


def choose(
    bags: Sequence[SeenBag], variant: str, keeps: float, margin: float
) -> tuple[float, Quiet | None]:
    """The smallest first-pass score that held something, and the statement a margin below it.

    There is none below a score of about 1 / `A_UNIT`.

    Args:
        bags: What was seen; at least one window must hold a detection that is kept.
        variant: Of the bundle.
        keeps: Score of the detections that are kept.
        margin: Share of the smallest score that the threshold lies below it.

    Raises:
        ConfigError: When no window holds such a detection.
    """
    held = [w.quiet for bag in bags for w in bag.windows[variant] if w.best >= keeps]
    if not held:
        raise ConfigError(
            "nothing shows where windows stop being quiet",
            expected=f"bags with detections of {keeps:g} and above", found=f"{len(bags)} without",
            remedy="Look at more bags with --bags",
        )  # fmt: skip
    # Rounded down: above the smallest score something would be lost.
    below = math.floor(min(held) * (1 - margin) * A_UNIT) / A_UNIT
    return min(held), Quiet(keeps, below) if below else None


def count(bags: Sequence[SeenBag], variant: str, quiet: Quiet | None, alarm: float) -> Count:
    """What a statement does to bags.

    A bag alarms where a window does: what the windows of a bag show is merged, and the best score
    of two that are one stays.

    Args:
        bags: What was seen in them.
        variant: Of the bundle.
        quiet: The statement; None stops no window.
        alarm: Score of an alarm.
    """

    def stops(window: Seen) -> bool:
        return quiet is not None and window.quiet < quiet.below

    def loses(window: Seen) -> bool:
        return quiet is not None and stops(window) and window.best >= quiet.keeps

    seen = [bag.windows[variant] for bag in bags]
    flips = sum(
        any(w.best >= alarm for w in windows)
        and not any(w.best >= alarm and not stops(w) for w in windows)
        for windows in seen
    )
    clean, loaded = (
        [windows for bag, windows in zip(bags, seen, strict=True) if bag.clean is kind]
        for kind in (True, False)
    )
    per_bag = [_mean([len(w) for w in some]) for some in (clean, loaded)]
    shares = [_mean([stops(w) for windows in some for w in windows]) for some in (clean, loaded)]
    weights = [(1 - POSITIVE) * per_bag[0], POSITIVE * per_bag[1]]
    stopped = sum(s * w for s, w in zip(shares, weights, strict=True))
    return Count(
        bags=len(bags),
        lost=sum(loses(w) for windows in seen for w in windows),
        flips=flips,
        most_flips=None if flips or not bags else OF_THREE / len(bags),
        stopped_clean=shares[0],
        stopped_loaded=shares[1],
        stopped_belt=stopped / sum(weights) if any(weights) else 0.0,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def state(
    bundle: Bundle,
    chosen_on: Sequence[SeenBag],
    checked_on: Sequence[SeenBag],
    variants: Sequence[str],
    margin: float,
) -> dict[str, list[Chosen]]:
    """Statements for every detection and for alarms alone, by variant.

    Args:
        bundle: The model.
        chosen_on: Bags to choose on.
        checked_on: Other bags.
        variants: Of the bundle.
        margin: See `choose`.

    Raises:
        ConfigError: As `choose` does.
    """
    spec = bundle.spec
    found: dict[str, list[Chosen]] = {}
    for variant in variants:
        found[variant] = []
        for keeps in dict.fromkeys((spec.score_threshold, spec.alarm_threshold)):
            least, quiet = choose(chosen_on, variant, keeps, margin)
            own, others = (count(bags, variant, quiet, spec.alarm_threshold)
                           for bags in (chosen_on, checked_on))  # fmt: skip
            own = dataclasses.replace(own, most_flips=None)
            found[variant].append(Chosen(keeps, quiet, least, own, others))
    return found


def require_sound(found: Mapping[str, Sequence[Chosen]]) -> None:
    """Nothing, when no decision flips, and enough bags say so.

    Raises:
        ConfigError: When one does, or too few were checked.
    """
    rows = [one for chosen in found.values() for one in chosen]
    if flips := sum(c.flips for one in rows for c in (one.chosen_on, one.checked_on)):
        raise ConfigError(
            "decisions flip at these thresholds", expected="none", found=str(flips),
            remedy="Choose on more bags, with a larger --margin, or write it with --force",
        )  # fmt: skip
    fewest = min((one.checked_on.bags for one in rows), default=0)
    if fewest * MOST_FLIPS < OF_THREE:
        raise ConfigError(
            "too few bags say that no decision flips",
            expected=f"{math.ceil(OF_THREE / MOST_FLIPS)} or more that were not chosen on",
            found=str(fewest), remedy="Check more bags with --check, or write it with --force",
        )  # fmt: skip


def with_quiet(
    path: Path, bundle: Bundle, stated: Mapping[str, Sequence[Quiet]], measured: Mapping[str, Any]
) -> str:
    """Sha256 of a bundle that was written with these statements; a signature is left out.

    Args:
        path: Where it goes.
        bundle: The model.
        stated: By variant; other variants keep theirs.
        measured: What is recorded beside what was measured before.

    Raises:
        BundleError: When something does not fit together.
    """
    variants = {
        name: dataclasses.replace(v, quiet=tuple(stated[name])) if name in stated else v
        for name, v in bundle.variants.items()
    }
    return write_bundle(
        path,
        spec=bundle.spec,
        variants=variants,
        golden_low=bundle.golden_low,
        golden_high=bundle.golden_high,
        licence=bundle.licence,
        created=datetime.datetime.now(datetime.timezone.utc).date(),
        recipe=bundle.recipe,
        measured={**bundle.measured, **measured},
    )


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@require_signature
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path),
              help="FILE.xedge: the bundle with what it states.")  # fmt: skip
@click.option("--variant", "variants", multiple=True, help="A variant; else all.")
@click.option("--engine", default="auto", show_default=True, help=f"auto, {', '.join(BACK_ENDS)}.")
@click.option("--bags", type=click.IntRange(1), default=2500, show_default=True,
              help="Simulated bags to choose on.")  # fmt: skip
@click.option("--check", type=click.IntRange(1), default=2500, show_default=True,
              help="Other bags, to count flips on.")  # fmt: skip
@click.option("--margin", type=click.FloatRange(0, 1, max_open=True), default=0.1,
              show_default=True,
              help="Below the smallest score that held something, as a share of it.")  # fmt: skip
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False),
              help="A file that bags are written to, and taken from.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="Threads of the engine; else all cores.")
@click.option("--force", is_flag=True,
              help="Write it although a decision flips, or few bags say none does.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def quiet(
    bundle: Path | None,
    public_key: bytes | None,
    out: Path,
    variants: tuple[str, ...],
    engine: str,
    bags: int,
    check: int,
    margin: float,
    log: Path | None,
    threads: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Say in BUNDLE which windows are quiet: they stop after the first classification pass.

    Every window of simulated bags is refined, and its first-pass score is kept beside what was
    found in it. A threshold lies a margin below the smallest score of any window that held
    something, once for all detections and once for alarms; the other bags show whether it loses
    any. With --log a run that was ended goes on, and a threshold is chosen again in seconds.
    Without BUNDLE it is the one that xedge ships.

    \b
    Examples:
      xedge quiet -o quiet.xedge --log quiet.jsonl
      xedge quiet model.xedge -o model-quiet.xedge --variant fp32 --engine openvino
      xedge quiet -o quiet.xedge --log quiet.jsonl --margin 0.2
    """  # noqa: D301  # click wants the character, not a backslash
    refuse_output(out)
    opened = open_bundle(bundle, public_key)
    names = list(variants or opened.variants)
    used = named_engine(engine, threads)
    if used.name in ARITHMETIC:
        raise ConfigError(
            "a bundle states when windows stop for engines that compute as its graphs say",
            found=f"{used.name}, which computes in {ARITHMETIC[used.name]}",
            remedy="Name another engine with --engine; this one refines every window",
        )  # fmt: skip
    seeds = range(QUIET_SEED, QUIET_SEED + bags + check)
    with _bar(len(seeds), as_json) as advance:
        seen = look(opened, dict.fromkeys(names, used.name), seeds, log, threads, advance)
    found = state(opened, seen[:bags], seen[bags:], names, margin)
    if not force:
        require_sound(found)
    rows = {
        name: {"engine": used.name, "version": used.version, "seed": QUIET_SEED, "margin": margin,
               "positive": POSITIVE, "stated": [dataclasses.asdict(one) for one in chosen]}
        for name, chosen in found.items()
    }  # fmt: skip
    stated = {name: [one.quiet for one in chosen if one.quiet and one.useful]
              for name, chosen in found.items()}  # fmt: skip
    sha256 = with_quiet(
        out, opened, stated, {"quiet": {**opened.measured.get("quiet", {}), **rows}}
    )
    if as_json:
        click.echo(json.dumps({"file": str(out), "sha256": sha256, "variants": rows}))
        return
    _print(found)
    for name, chosen in found.items():
        for one in chosen:
            if not one.useful:
                click.echo(f"{name} keeps {one.keeps:g}: not written, too few windows stop")
    if opened.signed:
        click.echo("The signature is gone: sign it again with `xedge sign`.")
    click.echo(f"{out}: sha256 {sha256}")


@contextmanager
def _bar(total: int, quiet: bool) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error; gives what advances it."""
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("Looking at bags", total=total)
        yield lambda: progress.advance(task)


def _print(found: Mapping[str, Sequence[Chosen]]) -> None:
    table = Table("variant", "keeps", "stops below", "least that held", "bags", "flips", "lost",
                  "stopped, clean", "stopped, belt", box=None, padding=(0, 2, 0, 0))  # fmt: skip
    for name, chosen in found.items():
        for one in chosen:
            for bags in (one.chosen_on, one.checked_on):
                flips = str(bags.flips)
                if bags.most_flips is not None:
                    flips += f" (<= {bags.most_flips:.2%})"
                table.add_row(
                    name, f"{one.keeps:g}", f"{one.quiet.below:g}" if one.quiet else "none",
                    f"{one.least_seen:.4f}",
                    str(bags.bags), flips, str(bags.lost), f"{bags.stopped_clean:.1%}",
                    f"{bags.stopped_belt:.1%}",
                )  # fmt: skip
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)
