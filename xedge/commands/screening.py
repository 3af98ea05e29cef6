"""What the commands that screen a belt share: the engine's choice, and its first, slow run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from xedge import engines
from xedge.bundle import Bundle
from xedge.detector import Detector, open_detector
from xedge.engines.threads import lane_threads, physical_cores
from xedge.golden import golden_planes


@dataclass(frozen=True)
class EngineUsed:
    """The engine that screened.

    Attributes:
        name: Of `xedge.engines.BACK_ENDS`; never ``auto``.
        version: Of its library.
        threads: Threads of one run.
    """

    name: str
    version: str
    threads: int


@contextmanager
def warm_detector(
    bundle: Bundle,
    engine: str = "auto",
    threads: int | None = None,
    least: float | None = None,
) -> Iterator[tuple[Detector, EngineUsed]]:
    """A detector that has run once, and the engine that ``auto`` stood for.

    Args:
        bundle: The model.
        engine: A name of `xedge.engines.BACK_ENDS`, or ``auto``.
        threads: Threads of one run; None leaves a core to the detector's lines.
        least: Score of the least detection that is wanted; None refines every window.

    Raises:
        EngineError: When the engine is not installed or refuses the model.
    """
    used = named_engine(engine, threads or lane_threads())
    with open_detector(
        bundle, used.name, used.threads, least=least, refine_all=least is None
    ) as detector:
        # The first run of an engine allocates: no bag should wait for that.
        planes = golden_planes(bundle.golden_low, bundle.golden_high, bundle.spec)
        detector.detect_window(planes[0])
        yield detector, used


def named_engine(engine: str, threads: int | None = None) -> EngineUsed:
    """The engine that a name stands for, and its version.

    Args:
        engine: A name of `xedge.engines.BACK_ENDS`, or ``auto``.
        threads: Threads of one run; None for every physical core.
    """
    found = engines.available()
    if engine == "auto":
        # Without any, `auto` stays, and loading it says what to install.
        engine = next((name for name in engines.AUTO if found[name].usable), engine)
    version = found[engine].detail if engine in found else ""
    return EngineUsed(engine, version, threads or physical_cores())
