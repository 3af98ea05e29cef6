"""A bundle's detector as a lane's screen: it knows the golden answer, and can be held to it."""

from __future__ import annotations

from pathlib import Path

from xedge.bundle import Bundle, open_bundle
from xedge.detector import Detector
from xedge.engines.deploy import load_chosen, verify
from xedge.errors import BundleError
from xedge.types import U8, Detections


class GoldenScreen:
    """A detector, loaded; a context manager. See `xedge.lane.selftest.KnowsAnswer`.

    Args:
        bundle: The model.
        engine: A name of `xedge.engines.BACK_ENDS`, or ``auto``.
        threads: Threads of one run; None for every physical core.
        name: What the engine is called in a log.
        least: As in `xedge.engines.deploy.load_variant`; None refines every window.

    Attributes:
        ready: True: it is loaded.
        name: What the engine is called in a log.

    Raises:
        EngineError: When the engine is not installed or refuses the model.
    """

    ready = True

    def __init__(
        self,
        bundle: Bundle,
        engine: str = "auto",
        threads: int | None = None,
        name: str = "",
        least: float | None = None,
    ) -> None:
        loaded, self._chosen = load_chosen(bundle, engine, threads, least=least)
        try:
            self._detector = Detector(loaded, bundle.spec)
        except Exception:
            loaded.close()
            raise
        self._bundle, self.name = bundle, name or self._chosen.engine

    def __enter__(self) -> GoldenScreen:
        return self

    def __exit__(self, *_: object) -> None:
        self._detector.close()

    def __call__(self, planes: U8) -> Detections:
        """What is found in a window; see `xedge.detector.Detector.detect_window`."""
        return self._detector.detect_window(planes)

    @property
    def stopped(self) -> int:
        """Windows so far that stopped after the first pass; self-tests are none."""
        return self._detector.stopped

    def self_test(self) -> None:
        """Nothing, when the engine reproduces the bundle's golden answer.

        Raises:
            EngineRunError: When it does not.
        """
        verify(self._bundle, self._chosen, self._detector.engine)


def open_golden(
    path: Path | None,
    sha256: str,
    engine: str,
    threads: int | None,
    name: str = "",
    least: float | None = None,
) -> GoldenScreen:
    """A `GoldenScreen` of a bundle's file, for a process that was told which file it is.

    Raises:
        BundleError: When the file is another one by now.
    """
    bundle = open_bundle(path)
    if bundle.sha256 != sha256:
        raise BundleError(
            f"the bundle {path or 'that ships'} was exchanged while the lane was running",
            expected=f"sha256 {sha256}",
            found=bundle.sha256,
            remedy="Start the lane again, or put the file back",
        )
    return GoldenScreen(bundle, engine, threads, name, least)
