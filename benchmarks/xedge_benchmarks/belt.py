"""`xedge bench belt`: whether a lane keeps up with a simulated belt, and what comes late."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from xedge.bundle import Bundle
from xedge.commands.screening import warm_detector
from xedge.lane.config import LaneConfig
from xedge.lane.runner import run_lane
from xedge.sim.bags import BagConfig
from xedge.sim.belt import SimulatedBelt
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.record import BenchRecord, bundle_digests, new_record


@dataclass(frozen=True, kw_only=True)
class BeltSettings:
    """How a lane is measured.

    Attributes:
        engine: A back end's name, or ``auto``.
        speed_m_s: Speed of the belt, metres a second.
        bags: Bags on it.
        seed: Of the belt.
        threads: Threads of the engine; None leaves one core to the scanner's lines.
        realtime: Run on the machine's clock. Otherwise the belt's idle time is skipped: work is
            measured, waiting is computed.
    """

    engine: str = "auto"
    speed_m_s: float = 0.5
    bags: int = 40
    seed: int = 1
    threads: int | None = None
    realtime: bool = False


def bench_belt(bundle: Bundle, settings: BeltSettings = BeltSettings()) -> BenchRecord:
    """A record of a lane's run; ``results`` has the lane's own report and the engine.

    Args:
        bundle: The model, its ``fp32`` variant.
        settings: The belt, the engine and the clock.

    Raises:
        EngineError: When the engine is not installed or refuses the model.
        ConfigError: When the belt cannot run so.
    """
    scanner = ScannerModel()
    belt = SimulatedBelt(
        settings.seed, settings.bags, settings.speed_m_s, scanner=scanner, config=BagConfig()
    )
    # In real time the simulator must not take the cores that it is the load of.
    strips = list(belt) if settings.realtime else belt
    warm = warm_detector(bundle, settings.engine, settings.threads)
    with warm as (detector, used), Watch() as watch:
        report = run_lane(
            strips,
            detector.detect_window,
            flat_field(scanner, scanner.seed, scanner.seed),
            LaneConfig.for_model(bundle.spec),
            realtime=settings.realtime,
        )
    return new_record(
        "belt",
        models=bundle_digests(bundle),
        settings=dataclasses.asdict(settings) | {"threads": used.threads},
        results=report.to_dict() | {"engine": f"{used.name} {used.version}"},
        conditions=watch.conditions,
    )
