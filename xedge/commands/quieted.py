"""How low the first pass scores windows, and what the whole model finds in them, bag by bag.

One pass over simulated bags is written down, a line of JSON a bag, so that it goes on where it was
ended, and so that a threshold can be chosen again without it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from xedge import engines
from xedge.bundle import Bundle
from xedge.detector import Detector
from xedge.engines.stages import in_two
from xedge.engines.two_stage import TwoStage
from xedge.errors import ConfigError
from xedge.scanner.windows import WindowPlan
from xedge.sim.bags import BagConfig, generate_bag
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.spec import Channels, Kind

QUIET_SEED: Final = 8_000_000
"""First seed of the bags; neither trained on nor evaluated."""

FORMAT: Final = "xedge quiet 1"


@dataclass(frozen=True)
class Seen:
    """One window of a bag.

    Attributes:
        quiet: Its largest first-pass class score.
        best: Score of its best detection; 0 where none is at the model's score threshold.
    """

    quiet: float
    best: float


@dataclass(frozen=True)
class SeenBag:
    """One bag.

    Attributes:
        seed: Of the simulator.
        clean: True when it holds no labelled object.
        windows: By variant.
    """

    seed: int
    clean: bool
    windows: Mapping[str, tuple[Seen, ...]]

    def to_json(self) -> str:
        """The bag as one line."""
        rows = {name: [[w.quiet, w.best] for w in seen] for name, seen in self.windows.items()}
        return json.dumps({"seed": self.seed, "clean": self.clean, "windows": rows})

    @staticmethod
    def from_json(line: str) -> SeenBag:
        """The bag that `to_json` wrote."""
        row = json.loads(line)
        windows = {n: tuple(Seen(*w) for w in seen) for n, seen in row["windows"].items()}
        return SeenBag(row["seed"], row["clean"], windows)


def look(
    bundle: Bundle,
    asked: Mapping[str, str],
    seeds: Sequence[int],
    log: Path | None = None,
    threads: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[SeenBag]:
    """What variants of a bundle see in simulated bags; every window is refined.

    Args:
        bundle: The model.
        asked: Variant to the engine that runs it.
        seeds: Of the bags.
        log: A file of lines that bags are read from and added to.
        threads: Threads of one run; None for every physical core.
        advance: Called after each bag.

    Raises:
        ConfigError: When the model does not take counts, or the log is of other graphs.
        EngineError: When an engine is not installed or refuses a stage.
    """
    spec = bundle.spec
    if spec.kind is not Kind.DETECTOR or spec.channels is not Channels.DUAL_ENERGY:
        raise ConfigError(
            "simulated bags say nothing about this model",
            expected=f"a {Kind.DETECTOR.value} of {Channels.DUAL_ENERGY.value} planes",
            found=f"a {spec.kind.value} of {spec.channels.value} planes",
        )
    known = _read(log, _head(bundle, asked))
    found = []
    with ExitStack() as stack:
        out = None if log is None else stack.enter_context(log.open("a", encoding="utf-8"))
        ready = {}
        for variant, engine in asked.items():
            stages = in_two(bundle.model(variant), len(spec.classes))
            loaded = [engines.load(m, engine, threads) for m in (stages.first, stages.second)]
            two = TwoStage(loaded[0], loaded[1], stages, 0.0)
            ready[variant] = two, stack.enter_context(Detector(two, spec))
        scanner = ScannerModel()
        field = flat_field(scanner, 1, 2)
        plan = WindowPlan.for_model(spec)
        width = spec.width * spec.binning
        for seed in seeds:
            if (bag := known.get(seed)) is None:
                made = generate_bag(seed, BagConfig(), scanner)
                low, high = (c[:, :width] for c in field.apply(made.low, made.high))
                planes = [plan.planes(low, high, start) for start in plan.starts(low.shape[0])]
                bag = SeenBag(seed, not made.truth, {
                    variant: tuple(_seen(two, detector, window) for window in planes)
                    for variant, (two, detector) in ready.items()
                })  # fmt: skip
                if out is not None:
                    print(bag.to_json(), file=out, flush=True)
            found.append(bag)
            advance()
    return found


def _seen(two: TwoStage, detector: Detector, planes: Any) -> Seen:
    scores = detector.detect_window(planes).scores
    return Seen(round(two.score, 7), round(float(scores[0]), 7) if len(scores) else 0.0)


def _head(bundle: Bundle, asked: Mapping[str, str]) -> str:
    graphs = {v: hashlib.sha256(bundle.model(v)).hexdigest() for v in asked}
    return json.dumps({"format": FORMAT, "graphs": graphs, "engines": dict(asked)}, sort_keys=True)


def _read(log: Path | None, head: str) -> dict[int, SeenBag]:
    """The bags of a log by seed; a new log gets its first line."""
    if log is None:
        return {}
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else []
    if not lines:
        log.write_text(head + "\n", encoding="utf-8")
        return {}
    if lines[0].rstrip("\n") != head:
        raise ConfigError(
            f"{log} is of other graphs or engines",
            expected=head, found=lines[0].rstrip("\n"), remedy="Name another file with --log",
        )  # fmt: skip
    if not lines[-1].endswith("\n"):  # it was ended while it wrote
        log.write_text("".join(lines[:-1]), encoding="utf-8")
        lines.pop()
    return {bag.seed: bag for bag in map(SeenBag.from_json, lines[1:])}
