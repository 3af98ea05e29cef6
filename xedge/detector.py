"""A model that screens windows, scans and pictures: engine, planes and postprocessing together.

>>> import xedge
>>> with xedge.open_detector(engine="onnxruntime") as detector:      # doctest: +SKIP
...     for box in detector.detect_image("bag.png").boxes:
...         print(box)
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from xedge import boxes as box_arithmetic
from xedge.bundle import Bundle, open_bundle
from xedge.encode import AIR
from xedge.engines.base import Engine
from xedge.engines.deploy import load_variant
from xedge.engines.two_stage import TwoStage
from xedge.errors import ConfigError, ImageError, LineError
from xedge.pictures import ColourPicture, DualEnergyPicture, read_picture
from xedge.postprocess import check_contract, detections
from xedge.preprocess import Placement, counts_from_pseudo_colour, pad_planes
from xedge.scanner.windows import WindowPlan, merge
from xedge.spec import Channels, Kind, ModelSpec
from xedge.types import AIR_COUNTS, U8, U16, Detections

ASSUMED_PICTURE_MM: Final = 500.0
"""Length of a colour picture's longer side when nobody says: that of a cabin bag.

Pictures in data sets are cropped to the bag and do not state their scale; this is a guess, and
objects look too large or too small to the model where it is wrong.
"""


class Detector:
    """A loaded model that finds objects. One thread at a time; close it, or use ``with``.

    Args:
        engine: A loaded model that keeps the graph contract; the detector closes it.
        spec: The model's description.
        score_threshold: Detections with a lower score are dropped; None takes the model's own.

    Raises:
        EngineLoadError: When the engine's inputs and outputs are not those of the description.
        ConfigError: When the threshold lies outside 0..1, or the model is a classifier.
    """

    def __init__(
        self, engine: Engine, spec: ModelSpec, score_threshold: float | None = None
    ) -> None:
        if spec.kind is not Kind.DETECTOR:
            raise ConfigError(
                f"the model {spec.name} finds no objects",
                expected=f"a {Kind.DETECTOR.value}",
                found=f"a {spec.kind.value}",
                remedy="Choose another bundle; `xedge evaluate` and `xedge verify` take this one",
            )
        check_contract(engine, spec)
        threshold = spec.score_threshold if score_threshold is None else score_threshold
        if not 0.0 <= threshold <= 1.0:
            raise ConfigError("a score threshold cannot be used", expected="0..1",
                              found=str(threshold))  # fmt: skip
        self._engine, self._spec, self._threshold = engine, spec, threshold
        self._stopped = 0
        # At most half of a window, or there would be more overlap than progress.
        overlap = min(WindowPlan.overlap // spec.binning, spec.height // 2) * spec.binning
        self._plan = WindowPlan.for_model(spec, overlap)

    @property
    def spec(self) -> ModelSpec:
        """The model's description."""
        return self._spec

    @property
    def engine(self) -> Engine:
        """The loaded model."""
        return self._engine

    def detect_window(self, planes: U8) -> Detections:
        """What is found in one window, in its pixels.

        Args:
            planes: uint8 ``[3, h, w]``, at most as large as the model's window; what is missing
                at the right and the bottom is filled with air.

        Raises:
            ImageError: When the planes do not fit the window.
            EngineRunError: When the engine fails or answers with values that are not finite.
        """
        h, w = self._check_planes(planes)
        outputs = self._engine.run({"planes": _padded(planes, self._spec)})
        if isinstance(self._engine, TwoStage) and self._engine.score < self._engine.below:
            self._stopped += 1
        return detections(outputs, self._spec, h, w, self._threshold)

    def detect_scan(self, low: U16, high: U16) -> Detections:
        """What is found in a scan, in detector elements (x) and lines (y).

        The scan is cut into windows that overlap; see `xedge.scanner.windows`.

        Args:
            low: Corrected low-energy counts, uint16 ``[lines, elements]``; air is `AIR_COUNTS`.
            high: Corrected high-energy counts, the same shape.

        Raises:
            LineError: When the lines are wider than the model's window, or there are none.
            ConfigError: When the model takes pseudo-colour pictures.
            EngineRunError: As `detect_window` says.
        """
        return self._screen(low, high, self._plan)

    def detect_image(
        self,
        image: str | Path | U8 | ColourPicture | DualEnergyPicture,
        *,
        pixel_mm: float | None = None,
        air_counts: int = AIR_COUNTS,
    ) -> Detections:
        """What is found in a picture, in its pixels.

        A pseudo-colour picture is put before a model of dual-energy planes through
        `counts_from_pseudo_colour`, which is a guess at what the scanner measured.

        Args:
            image: A file (see `xedge.pictures.FORMATS`), an RGB array uint8 ``[h, w, 3]``, or a
                picture that was read before.
            pixel_mm: Size of a colour picture's pixel at the belt, millimetres; None assumes
                that its longer side is `ASSUMED_PICTURE_MM`.
            air_counts: What unattenuated air reads in a 16-bit file.

        Raises:
            ImageError: When the image cannot be used.
            EngineRunError: As `detect_window` says.
        """
        if isinstance(image, (str, Path)):
            image = read_picture(Path(image), air_counts)
        if isinstance(image, np.ndarray):
            image = ColourPicture(image)
        if isinstance(image, ColourPicture):
            return self._detect_colour(image, pixel_mm)
        return self.detect_scan(image.low, image.high)

    def __call__(self, planes: U8) -> Detections:
        """As `detect_window`: the detector is a lane's screen."""
        return self.detect_window(planes)

    @property
    def stopped(self) -> int:
        """Windows so far that stopped after the first pass."""
        return self._stopped

    def close(self) -> None:
        """Free the engine; safe to call twice."""
        self._engine.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _detect_colour(self, picture: ColourPicture, pixel_mm: float | None) -> Detections:
        spec, (height, width) = self._spec, picture.shape
        if spec.channels is Channels.PSEUDO_COLOUR:
            place = Placement.letterbox(height, width, spec.height, spec.width)
            window = np.full((spec.height, spec.width, 3), 255, np.uint8)
            window[place.top : place.top + place.height, place.left : place.left + place.width] = (
                place.resize(picture.rgb)
            )
            found = self.detect_window(np.ascontiguousarray(window.transpose(2, 0, 1)))
            return _in_source(found, place)
        if pixel_mm is None:
            pixel_mm = ASSUMED_PICTURE_MM / max(height, width)
        if not 0.01 <= pixel_mm <= 10.0:
            raise ImageError("a pixel's size cannot be used", expected="0.01..10 mm",
                             found=f"{pixel_mm} mm")  # fmt: skip
        place = Placement.scaled(height, width, pixel_mm / spec.pixel_mm)
        low, high = counts_from_pseudo_colour(place.resize(picture.rgb))
        # The picture is at the planes' scale already, so nothing is binned any more.
        plan = WindowPlan(spec.height, self._plan.overlap // spec.binning, 1)
        if place.width <= spec.width:
            return _in_source(self._screen(low, high, plan), place)
        if place.height > spec.width:
            raise ImageError(
                "the picture is larger than a belt in both directions",
                expected=f"a side of at most {spec.width * spec.pixel_mm:.0f} mm",
                found=f"{width * pixel_mm:.0f} x {height * pixel_mm:.0f} mm",
                remedy="Check the size of a pixel (--pixel-mm), or crop the picture",
            )
        # Longer across than along: screened with the two directions exchanged.
        found = self._screen(low.T.copy(), high.T.copy(), plan)
        swapped = found.boxes[:, [1, 0, 3, 2]]
        return _in_source(Detections(swapped, found.scores, found.labels), place)

    def _screen(self, low: U16, high: U16, plan: WindowPlan) -> Detections:
        spec = self._spec
        if spec.channels is not Channels.DUAL_ENERGY:
            raise ConfigError(
                "this model does not take counts",
                expected=f"a model of {Channels.DUAL_ENERGY.value} planes",
                found=spec.channels.value,
                remedy="Give it a pseudo-colour picture, or choose another bundle",
            )
        lines, elements = low.shape if low.ndim == 2 else (0, 0)
        if lines < 1 or not plan.binning <= elements <= spec.width * plan.binning:
            raise LineError(
                "a scan does not fit the model",
                expected=f"lines of {plan.binning} to {spec.width * plan.binning} elements",
                found=f"{list(low.shape)}",
                remedy="Crop or bin the lines, or use a bundle made for this detector",
            )
        parts = [
            (start, self.detect_window(plan.planes(low, high, start)))
            for start in plan.starts(lines)
        ]
        return merge(parts, plan, lines, spec.nms_iou, elements)

    def _check_planes(self, planes: U8) -> tuple[int, int]:
        spec = self._spec
        fits = planes.ndim == 3 and planes.shape[0] == 3 and planes.dtype == np.uint8
        if (
            not fits
            or not 0 < planes.shape[1] <= spec.height
            or not 0 < planes.shape[2] <= spec.width
        ):
            raise ImageError(
                "a window does not fit the model",
                expected=f"uint8 [3, 1..{spec.height}, 1..{spec.width}]",
                found=f"{planes.dtype} {list(planes.shape)}",
                remedy="Prepare it with xedge.encode.dual_energy_planes",
            )
        return int(planes.shape[1]), int(planes.shape[2])


def open_detector(
    bundle: Bundle | Path | str | None = None,
    engine: Engine | str = "auto",
    threads: int | None = None,
    *,
    variant: str = "auto",
    score_threshold: float | None = None,
    least: float | None = None,
    refine_all: bool = False,
) -> Detector:
    """A detector that is ready; use it in a ``with`` statement.

    Engines that are built on the device are kept in the user's cache (`xedge.engines.cache`) once
    they reproduce the bundle's golden answer; a cache that cannot be trusted is not used, which a
    warning says.

    Args:
        bundle: A bundle or its file; None takes the one that xedge ships.
        engine: A name of `xedge.engines.BACK_ENDS`, ``auto``, or an engine that is loaded.
        threads: Threads of one run; None for every physical core.
        variant: Which graph of the bundle to load; ``auto`` takes what `xedge compile` chose for
            the bundle and the engine on this machine, and ``fp32`` where it was not run.
        score_threshold: Detections with a lower score are dropped; None takes the model's own.
        least: Score of the least detection that is wanted of every window; None takes the score
            threshold. Whoever asks for alarms alone names their score: the first pass shows of
            most windows that they hold no alarm (docs/adr/0019), and what is below is then
            missing in those.
        refine_all: True refines every window, whatever the bundle says of quiet ones.

    Raises:
        BundleError: When the bundle is missing or cannot be used.
        EngineError: When the engine is not installed or refuses the model.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    if isinstance(engine, str):
        if least is None:
            least = opened.spec.score_threshold if score_threshold is None else score_threshold
        engine = load_variant(opened, engine, threads, variant, None if refine_all else least)
    try:
        return Detector(engine, opened.spec, score_threshold)
    except Exception:
        engine.close()
        raise


def _padded(planes: U8, spec: ModelSpec) -> U8:
    """The planes as the engine takes them, with air at the right and the bottom."""
    return pad_planes(planes, spec.height, spec.width, AIR[spec.channels])[None]


def _in_source(found: Detections, place: Placement) -> Detections:
    boxes = box_arithmetic.clip(
        place.to_source(found.boxes), place.source_height, place.source_width
    )
    return Detections(boxes, found.scores.copy(), found.labels.copy())
