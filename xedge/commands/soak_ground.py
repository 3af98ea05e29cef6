"""What a soak stands on: the lane, its engine, and the bank that its belt is made of."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from xedge.bundle import Bundle, open_bundle
from xedge.commands.lanefile import LaneFile, read_lane_file
from xedge.commands.screening import warm_detector
from xedge.commands.soak_scenes import SCENES, Scene
from xedge.commands.sources import open_feed
from xedge.detector import Detector
from xedge.engines.fake import FakeEngine
from xedge.errors import ConfigError
from xedge.lane.clock import Clock, VirtualClock
from xedge.lane.config import LaneConfig
from xedge.lane.runner import run_lane
from xedge.scanner.flatfield import FlatField
from xedge.scanner.sidebyside import views_of
from xedge.sim.bank import BankBelt, Placed, Stretch, cut, render
from xedge.sim.correction import flat_field
from xedge.sim.faults import ENGINE_FAULTS, LINE_FAULTS, Fault
from xedge.sim.faults.engine import Screen
from xedge.sim.physics import ScannerModel
from xedge.types import U8, U16, Detections, Verdict

STRIP_LINES: Final = 32
BANK_BAGS: Final = 24
MOST_LINES: Final = 20_000
"""Lines of a recording that are kept in memory; what comes behind them is left out."""

WINDOW_S: Final = 0.04
"""Virtual seconds of the fake engine's window, about what the shipped model takes on two cores."""

EVERY_STRIPS: Final = (120, 900)
EVERY_STRIPS_IN_REAL_TIME: Final = (30, 150)
"""Ten minutes of a slow belt are no more than six thousand strips."""

DENSE: Final = 12
DENSE_PIXELS: Final = 3000
"""The fake engine's ALARM: so many pixels of the low-energy plane below this; half of the bags."""

FAULTS: Final = MappingProxyType[str, Fault]({**LINE_FAULTS, **ENGINE_FAULTS})
"""Every fault of a belt, by name."""

EVERY: Final = MappingProxyType[str, Fault | Scene]({**FAULTS, **SCENES})
"""Every fault that a soak knows, by name."""


@dataclass(frozen=True, kw_only=True)
class SoakSettings:
    """What is to be soaked.

    Attributes:
        hours: Hours of belt.
        faults: Names of the faults; see `EVERY`.
        seed: Of the bags, their order and the faults.
        speed_m_s: Speed of the default lane's belt.
        engine: ``fake``, or ``real``.
        realtime: On the machine's clock; without it virtual time, of which idle belt costs none.
        lane: A lane's file; None for a simulated belt and the shipped model.
        every: Strips from one fault to the next, at least and at most; None for `EVERY_STRIPS`, or
            in real time for `EVERY_STRIPS_IN_REAL_TIME`.

    Raises:
        ConfigError: When a number cannot be, or nobody knows a fault.
    """

    hours: float = 24.0
    faults: tuple[str, ...] = tuple(EVERY)
    seed: int = 1
    speed_m_s: float = 0.5
    engine: str = "fake"
    realtime: bool = False
    lane: Path | None = None
    every: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.hours) and self.hours > 0) or self.speed_m_s <= 0:
            raise ConfigError("a soak cannot be so long", expected="hours and speed above 0",
                              found=f"{self.hours} h, {self.speed_m_s} m/s")  # fmt: skip
        for name in self.faults:
            if name not in EVERY:
                raise ConfigError(f"nobody knows the fault {name!r}",
                                  expected=f"all, or some of {', '.join(EVERY)}")  # fmt: skip

    @property
    def pauses(self) -> tuple[int, int]:
        """Strips from one fault to the next, at least and at most."""
        return self.every or (EVERY_STRIPS_IN_REAL_TIME if self.realtime else EVERY_STRIPS)


@dataclass(frozen=True, eq=False)
class Ground:
    """The lane that is soaked, and the belt that it is soaked with.

    Attributes:
        config: The lane's set-up.
        correction: The detector's.
        screen: What finds objects in a window.
        bank: The belt's stretches.
        air: Strips of air that may come between them.
        line_ns: Nanoseconds from one line to the next.
        clock: What durations are measured with; None for the machine's own, in real time.
        sleep: What passes the time of a slow engine.
    """

    config: LaneConfig
    correction: FlatField
    screen: Screen
    bank: tuple[Stretch, ...]
    air: tuple[tuple[U16, U16], ...]
    line_ns: float
    clock: Clock | None
    sleep: Callable[[float], None]


def fault_names(wanted: str) -> tuple[str, ...]:
    """The faults that an option asks for: ``all``, ``none``, or names with commas."""
    if wanted in ("all", "none"):
        return tuple(EVERY) if wanted == "all" else ()
    return tuple(name.strip() for name in wanted.split(",") if name.strip())


class SkippingClock:
    """The machine's clock, and the time that nobody had to wait for."""

    def __init__(self) -> None:
        self._skipped_ns = 0

    def now_ns(self) -> int:
        """Nanoseconds of the monotonic clock and of all that was slept."""
        return time.monotonic_ns() + self._skipped_ns

    def sleep_ns(self, duration_ns: int) -> None:
        """Move on by ``duration_ns`` at once."""
        self._skipped_ns += max(0, duration_ns)


@contextmanager
def open_ground(settings: SoakSettings) -> Iterator[Ground]:
    """Everything that a soak needs, and its engine open.

    Raises:
        ConfigError: When the lane's file cannot be used, or its recording is not sound.
        BundleError, EngineError: When the model cannot be run.
    """
    file = read_lane_file(settings.lane) if settings.lane is not None else None
    bundle = open_bundle(file.lane.bundle, file.lane.public_key) if file else open_bundle()
    with ExitStack() as stack:
        clock: Clock | None = None
        sleep: Callable[[float], None] = time.sleep
        if not settings.realtime:
            skipping = VirtualClock() if settings.engine == "fake" else SkippingClock()
            clock = skipping

            def sleep(seconds: float) -> None:
                skipping.sleep_ns(round(seconds * 1e9))

        if settings.engine == "fake":
            detector = stack.enter_context(fake_detector(bundle, sleep))
        else:
            name, threads = (file.lane.engine, file.lane.threads) if file else ("auto", None)
            least = _least(bundle, file)
            detector, _ = stack.enter_context(warm_detector(bundle, name, threads, least))
        raw, air, correction, line_ns, counts_per_mm = _lines(settings, file)
        config = LaneConfig.for_model(bundle.spec, counts_per_mm=counts_per_mm)
        if file is not None:
            config = replace(
                config, deadline_counts=round(file.lane.deadline_mm * counts_per_mm),
                bag_limit_s=file.lane.bag_limit_s,
                alarm_threshold=file.lane.alarm_threshold or config.alarm_threshold,
            )  # fmt: skip
        if settings.realtime:
            config = replace(config, bag_limit_s=min(config.bag_limit_s, 20.0))
        bank = tuple(
            reference(low, high, detector.detect_window, correction, config, line_ns)
            for low, high in raw
        )
        yield Ground(config, correction, detector.detect_window, bank, air, line_ns, clock, sleep)


def _lines(
    settings: SoakSettings, file: LaneFile | None
) -> tuple[list[tuple[U16, U16]], tuple[tuple[U16, U16], ...], FlatField, float, float]:
    """Stretches of raw lines, air, the correction, the pace, and the encoder's counts a mm."""
    if file is not None and len(file.sources) > 1:
        raise ConfigError(f"{settings.lane}: a soak has one view", found=str(len(file.sources)),
                          remedy="Name a file with one [source]")  # fmt: skip
    if file is None or file.source.kind == "simulated":
        scanner = ScannerModel()
        speed = file.source.speed_m_s if file else settings.speed_m_s
        bags = min(file.source.bags, BANK_BAGS) if file else BANK_BAGS
        seed = file.source.seed if file else settings.seed
        raw = list(render(seed, bags, scanner, strip_lines=STRIP_LINES))
        air = cut(*scanner.air_run(16 * STRIP_LINES, seed), STRIP_LINES)
        line_ns = scanner.pitch_mm / speed * 1e6
        return raw, air, flat_field(scanner, seed, seed), line_ns, 1 / scanner.pitch_mm
    feed = open_feed(file.source)
    (correction,) = views_of(feed.flat_field)
    try:
        strips = list(islice(feed.strips, MOST_LINES // STRIP_LINES))
    finally:
        feed.close()
    if len(strips) < 2:
        raise ConfigError(f"{settings.lane}: its source has too few strips for a soak",
                          expected="two or more", found=str(len(strips)))  # fmt: skip
    lines = sum(map(len, strips[1:]))
    line_ns = (strips[-1].captured_ns - strips[0].captured_ns) / lines
    low, high = (np.concatenate([getattr(s, name) for s in strips]) for name in ("low", "high"))
    return [(low, high)], (), correction, line_ns, feed.counts_per_mm


def reference(
    low: U16, high: U16, screen: Screen, correction: FlatField, config: LaneConfig, line_ns: float
) -> Stretch:
    """A stretch of belt, with what the lane says of its bags when all is well.

    Raises:
        ConfigError: When not all is well with it.
    """
    plain = Stretch(cut(low, high, STRIP_LINES), ())
    belt = BankBelt([plain], (), seed=0, seconds=1e-9, line_ns=line_ns,
                    counts_per_line=config.counts_per_line)  # fmt: skip
    report = run_lane(belt, screen, correction, config, clock=VirtualClock())
    for decision in report.decisions:
        if decision.verdict is Verdict.NOT_CLEARED:
            raise ConfigError(
                f"bag {decision.bag} of the recording is NOT_CLEARED without any fault",
                expected="whole bags with air before and behind, decided in time",
                found=decision.reason.name,
                remedy="Record a sound belt with `xedge record`, or screen this one with `xedge "
                "run` to see what is wrong",
            )
    return Stretch(
        plain.strips,
        tuple(Placed(d.encoder_head, d.encoder_tail, d.verdict) for d in report.decisions),
    )


@contextmanager
def fake_detector(bundle: Bundle, sleep: Callable[[float], None]) -> Iterator[Detector]:
    """The bundle's detector, on an engine that takes `WINDOW_S` and answers at once."""
    spec = bundle.spec
    engine = FakeEngine(
        much_dense_matter, height=spec.height, width=spec.width, candidates=spec.candidates,
        delay_s=WINDOW_S, sleep=sleep,
    )  # fmt: skip
    with Detector(engine, spec) as detector:
        yield detector


def much_dense_matter(planes: U8) -> Detections:
    """One box of class 0 and score 0.9 where `DENSE_PIXELS` are nearly black; else none."""
    if np.count_nonzero(planes[1] < DENSE) < DENSE_PIXELS:
        return Detections.empty()
    box = np.array([[8, 8, 32, 32]], np.float32)
    return Detections(box, np.array([0.9], np.float32), np.zeros(1, np.int32))


def _least(bundle: Bundle, file: LaneFile | None) -> float | None:
    """What quiet windows must not lose: what the service asks of them, bit for bit."""
    if file is None or file.engine.refine_all:
        return None
    return file.lane.alarm_threshold or bundle.spec.alarm_threshold
