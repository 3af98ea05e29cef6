"""xedge: detectors of prohibited items in X-ray baggage, from PyTorch to the conveyor belt.

>>> import xedge
>>> with xedge.open_detector() as detector:                          # doctest: +SKIP
...     found = detector.detect_image("bag.png")

Importing xedge imports nothing else: each name below is fetched when it is first used.
"""

TYPE_CHECKING = False  # typing's own would import typing
if TYPE_CHECKING:
    from xedge.bundle import Bundle, open_bundle
    from xedge.detector import Detector, open_detector
    from xedge.errors import (
        BundleError,
        BusError,
        BusNotInstalled,
        BusRefused,
        CalibrationError,
        ConfigError,
        ControlError,
        CorrectionError,
        DataError,
        DicosError,
        EngineCacheError,
        EngineError,
        EngineLoadError,
        EngineNotInstalled,
        EngineRunError,
        ExportError,
        ImageError,
        ImageRefused,
        InputError,
        JournalError,
        LaneError,
        LineError,
        RingError,
        SignatureError,
        StripFileError,
        XedgeError,
    )
    from xedge.preprocess import pseudo_colour
    from xedge.spec import ModelSpec
    from xedge.types import AIR_COUNTS, Decision, Detections, Reason, Scan, Strip, Verdict

__version__ = "0.1.0"

__all__ = [
    "AIR_COUNTS",
    "Bundle",
    "BundleError",
    "BusError",
    "BusNotInstalled",
    "BusRefused",
    "CalibrationError",
    "ConfigError",
    "ControlError",
    "CorrectionError",
    "DataError",
    "Decision",
    "Detections",
    "Detector",
    "DicosError",
    "EngineCacheError",
    "EngineError",
    "EngineLoadError",
    "EngineNotInstalled",
    "EngineRunError",
    "ExportError",
    "ImageError",
    "ImageRefused",
    "InputError",
    "JournalError",
    "LaneError",
    "LineError",
    "ModelSpec",
    "Reason",
    "RingError",
    "Scan",
    "SignatureError",
    "Strip",
    "StripFileError",
    "Verdict",
    "XedgeError",
    "__version__",
    "open_bundle",
    "open_detector",
    "pseudo_colour",
]

_HOMES = {
    "AIR_COUNTS": "types",
    "Bundle": "bundle",
    "Decision": "types",
    "Detections": "types",
    "Detector": "detector",
    "ModelSpec": "spec",
    "Reason": "types",
    "Scan": "types",
    "Strip": "types",
    "Verdict": "types",
    "open_bundle": "bundle",
    "open_detector": "detector",
    "pseudo_colour": "preprocess",
}
"""Public name to the module that holds it; the errors are all in `xedge.errors`."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'xedge' has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"xedge.{_HOMES.get(name, 'errors')}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
