"""A simulated belt, screened from raw lines to decisions and held against its truth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xedge.bundle import Bundle
from xedge.commands.gallery import BagPicture, draw_bag, open_gallery
from xedge.commands.judge import JudgedBag, Score, judge, score_belt
from xedge.commands.screening import EngineUsed, warm_detector
from xedge.errors import BundleError
from xedge.lane.config import LaneConfig
from xedge.lane.report import LaneReport
from xedge.lane.runner import run_lane
from xedge.machine import Machine, read_machine
from xedge.provenance import CodeVersion, code_version
from xedge.sim import CLASSES
from xedge.sim.belt import SimulatedBelt
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.types import Decision, Scan, Strip


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """What goes by, and what screens it.

    Attributes:
        bags: Bags on the belt.
        speed_m_s: Speed of the belt, metres a second.
        seed: Of the bags and the gaps between them.
        engine: A name of `xedge.engines.BACK_ENDS`, or ``auto``.
        threads: Threads of the engine; None leaves a core to the detector's lines.
        realtime: Run on the machine's clock; otherwise the belt's idle time is skipped.
    """

    bags: int = 40
    speed_m_s: float = 0.2
    seed: int = 1
    engine: str = "auto"
    threads: int | None = None
    realtime: bool = False


@dataclass(frozen=True, eq=False)
class DemoResult:
    """All there is to say about a belt that was screened.

    Attributes:
        settings: What was asked for.
        bundle: The model.
        engine: What ran it.
        config: How the lane was set up.
        strip_lines: Lines in a strip.
        lane: The lane's own report.
        bags: Every decision, held against the truth.
        pictures: Number of the bag to its picture; a bag that overloaded the lane has none.
        score: How all of them fared.
        machine: Where it ran.
        code: What ran.
    """

    settings: DemoSettings
    bundle: Bundle
    engine: EngineUsed
    config: LaneConfig
    strip_lines: int
    lane: LaneReport
    bags: tuple[JudgedBag, ...]
    pictures: Mapping[int, BagPicture]
    score: Score
    machine: Machine
    code: CodeVersion

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values: `LaneReport.to_dict` and what the simulator's truth adds."""
        score, settings = self.score, self.settings
        return {
            **self.lane.to_dict(),
            "ap50": _number(score.ap50),
            "objects": score.objects,
            "found": score.found,
            "missed": score.missed,
            "false": score.false,
            "classes": [
                dataclasses.asdict(row) | {"ap50": _number(row.ap50)} for row in score.classes
            ],
            "occlusion_levels": [dataclasses.asdict(row) for row in score.levels],
            "bags_with_objects": {
                "bags": score.loaded, "alarm": score.loaded_alarm, "clear": score.loaded_cleared,
            },
            "bags_without_objects": {
                "bags": score.clean, "alarm": score.clean_alarm, "clear": score.clean_cleared,
            },
            "engine": self.engine.name,
            "engine_version": self.engine.version,
            "threads": self.engine.threads,
            "model": self.bundle.spec.name,
            "bundle_sha256": self.bundle.sha256,
            "commit": self.code.commit,
            "uncommitted_changes": self.code.dirty,
            "seed": settings.seed,
            "speed_m_s": settings.speed_m_s,
            "alarm_threshold": self.config.alarm_threshold,
            "machine": dataclasses.asdict(self.machine),
            "screened": [self._record(bag) for bag in self.bags],
        }  # fmt: skip

    def _record(self, bag: JudgedBag) -> dict[str, Any]:
        decision, picture = bag.decision, self.pictures.get(bag.decision.bag)
        return {
            "bag": decision.bag,
            "verdict": decision.verdict.name,
            "reason": decision.reason.name,
            "latency_ms": decision.latency_ns / 1e6,
            "late": decision.late,
            "picture": picture.file if picture else None,
            "reports": [dataclasses.asdict(report) for report in bag.reports],
            "truth": [dataclasses.asdict(thing) for thing in bag.things],
        }


def run_demo(
    settings: DemoSettings,
    bundle: Bundle,
    folder: Path,
    on_bag: Callable[[JudgedBag], None] = lambda bag: None,
) -> DemoResult:
    """What a lane said of a simulated belt, held against the truth; PNGs go into the folder.

    Args:
        settings: What goes by, and what screens it.
        bundle: The model.
        folder: Where the bags' pictures go.
        on_bag: Called with each bag as soon as it is decided.

    Raises:
        BundleError: When the model does not know the simulator's objects.
        ConfigError: When the folder cannot be written, or the belt cannot be.
        EngineError: When the engine is not installed or refuses the model.
    """
    spec = bundle.spec
    if missing := [name for name in CLASSES if name not in spec.classes]:
        raise BundleError(
            f"the model {spec.name} does not know every object of the simulator",
            expected=f"the classes {', '.join(CLASSES)}",
            found=f"no {', '.join(missing)}",
            remedy="Use a bundle that was trained on simulated bags",
        )
    scanner = ScannerModel()
    belt = SimulatedBelt(settings.seed, settings.bags, settings.speed_m_s, scanner=scanner)
    correction = flat_field(scanner, settings.seed, settings.seed)
    config = LaneConfig.for_model(spec)
    visitor = _Visitor(belt, bundle, folder, settings.realtime, on_bag)
    with warm_detector(bundle, settings.engine, settings.threads) as (detector, used):
        open_gallery(folder)
        # In real time the simulator must not take the cores that it is the load of.
        strips: Iterable[Strip] = list(belt) if settings.realtime else belt
        lane = run_lane(
            strips,
            detector.detect_window,
            correction,
            config,
            realtime=settings.realtime,
            on_decision=visitor.take,
        )
    visitor.draw_kept()
    return DemoResult(
        settings=settings,
        bundle=bundle,
        engine=used,
        config=config,
        strip_lines=belt.strip_lines,
        lane=lane,
        bags=tuple(visitor.bags),
        pictures=visitor.pictures,
        score=score_belt(visitor.bags, belt.truth, spec.classes),
        machine=read_machine(),
        code=code_version(),
    )


class _Visitor:
    """Takes each decision from the lane: judges it, and has its bag drawn."""

    def __init__(
        self,
        belt: SimulatedBelt,
        bundle: Bundle,
        folder: Path,
        realtime: bool,
        on_bag: Callable[[JudgedBag], None],
    ) -> None:
        self._belt, self._spec, self._folder = belt, bundle.spec, folder
        self._realtime, self._on_bag = realtime, on_bag
        self._kept: list[Scan] = []
        self.bags: list[JudgedBag] = []
        self.pictures: dict[int, BagPicture] = {}

    def take(self, decision: Decision, scan: Scan | None) -> None:
        """Judge a decision, and draw its bag when there is time for that."""
        bag = judge(
            decision, self._belt.truth_so_far, self._spec.classes, self._spec.alarm_threshold
        )
        self.bags.append(bag)
        if scan is not None and self._realtime:
            self._kept.append(scan)  # drawing takes a tenth of a second: not while lines come
        elif scan is not None:
            self.pictures[scan.bag] = draw_bag(scan, self._folder)
        self._on_bag(bag)

    def draw_kept(self) -> None:
        """Draw the bags that were put off."""
        for scan in self._kept:
            self.pictures[scan.bag] = draw_bag(scan, self._folder)
        self._kept.clear()


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
