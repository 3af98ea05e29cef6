"""Every error that xedge raises on purpose, in one tree.

    XedgeError
    ├── ConfigError             a recipe or option that cannot be used
    ├── InputError              what came in is not what the model or lane takes
    │   ├── ImageError          an image file: type, size, channels
    │   ├── DataError           a data set: its folder, its files, its classes
    │   ├── LineError           lines of the detector: width, dtype, counters
    │   ├── StripFileError      a strip file: header, CRC, truncation
    │   └── RingError           a shared-memory ring: header, version, who holds it
    ├── CorrectionError         runs that give no flat field; a correction file that cannot be used
    ├── BundleError             a bundle: missing, corrupt, of another version
    │   └── SignatureError      a bundle whose signature does not verify
    ├── EngineError             an engine failed
    │   ├── EngineNotInstalled  its library is absent
    │   ├── EngineLoadError     its library refused the model
    │   ├── EngineCacheError    the cache of built engines cannot be trusted or written
    │   └── EngineRunError      it failed while running, or answered NaN
    ├── ExportError             a model cannot leave PyTorch
    │   ├── AutogradInGraph     a gradient was left in the graph
    │   ├── GraphRefused        some target lacks a node of the graph
    │   └── CalibrationError    no range can be found, or eight bits cost too much
    ├── TrainingError           a training run cannot go on
    ├── LaneError               a lane was wired or driven wrongly
    │   └── JournalError        a lane's journal: version, damage, nobody may write, in use
    ├── DicosError              a DICOS file cannot be written or read
    └── ControlError            the conveyor's control cannot be reached or understood
        ├── ImageRefused        bytes that are no decision or command image, or a torn one
        ├── BusNotInstalled     the library behind a bus is absent
        └── BusError            a bus failed: refused, lost, too slow
            └── BusRefused      its peer turned us away: password, certificate, rights

Foreign exceptions are mapped at the seam where they appear, with ``raise ... from``.
A message says what is wrong, what was expected, what was found, and what to do.
"""

from __future__ import annotations

from typing import TypeVar

_Error = TypeVar("_Error", bound="XedgeError")


class XedgeError(Exception):
    """Base of all errors of xedge; ``str()`` is the whole message for a person.

    Args:
        what: What is wrong, one sentence without a full stop.
        expected: What would have been right.
        found: What came instead.
        remedy: What to do about it, an imperative sentence.
    """

    def __init__(self, what: str, *, expected: str = "", found: str = "", remedy: str = "") -> None:
        self.what, self.expected, self.found, self.remedy = what, expected, found, remedy
        parts = [what]
        if expected:
            parts.append(f"expected {expected}")
        if found:
            parts.append(f"found {found}")
        text = ": ".join([parts[0], ", ".join(parts[1:])]) if parts[1:] else parts[0]
        super().__init__(f"{text}. {remedy}" if remedy else text)

    def at(self: _Error, place: str) -> _Error:
        """The same error, said of a place: a file, or a line in it. Raise it ``from`` this one."""
        return type(self)(f"{place} {self.what}", expected=self.expected, found=self.found,
                          remedy=self.remedy)  # fmt: skip


class ConfigError(XedgeError, ValueError):
    """A recipe or an option cannot be used."""


class InputError(XedgeError, ValueError):
    """What came in is not what the model or the lane takes."""


class ImageError(InputError):
    """An image file has the wrong type, size or number of channels."""


class DataError(InputError):
    """A data set's folder, one of its files or one of its classes cannot be used."""


class LineError(InputError):
    """Lines of the detector have the wrong width, dtype or counters."""


class StripFileError(InputError):
    """A strip file has a bad header, a bad CRC or a missing end."""


class RingError(InputError):
    """A shared-memory ring is missing, of another layout, or held by another process."""


class CorrectionError(XedgeError):
    """Dark and air runs give no usable flat field, or a correction file cannot be used."""


class BundleError(XedgeError):
    """A bundle is missing, corrupt or of another version."""


class SignatureError(BundleError):
    """The signature of a bundle is absent where one is required, or does not verify."""


class EngineError(XedgeError):
    """An engine failed."""


class EngineNotInstalled(EngineError):
    """The library behind an engine is not installed."""


class EngineLoadError(EngineError):
    """The library behind an engine refused the model."""


class EngineCacheError(EngineError):
    """The cache of built engines could have been written by others, or cannot be written."""


class EngineRunError(EngineError):
    """An engine failed while running, or answered with values that are not finite."""


class ExportError(XedgeError):
    """A model cannot leave PyTorch."""


class AutogradInGraph(ExportError):
    """A call of ``autograd.grad`` was left in the graph to be exported."""


class GraphRefused(ExportError):
    """Some target lacks a node of the graph, or a rule of the contract is broken."""


class CalibrationError(ExportError):
    """A calibration set, a range or the accuracy that is left does not allow INT8."""


class TrainingError(XedgeError):
    """A training run cannot go on: its loss is not a number, or its processes disagree."""


class LaneError(XedgeError):
    """A lane was wired or driven wrongly."""


class JournalError(LaneError):
    """A lane's journal cannot be opened, written or replayed."""


class DicosError(XedgeError):
    """A DICOS file cannot be written or read, or what should stand in it cannot."""


class ControlError(XedgeError):
    """The conveyor's control cannot be reached or understood."""


class ImageRefused(ControlError, ValueError):
    """Bytes are no decision image or command image, or one that was torn or damaged."""


class BusNotInstalled(ControlError):
    """The library behind a bus is not installed."""


class BusError(ControlError):
    """A bus failed: its peer refused, went away, or was too slow."""


class BusRefused(BusError):
    """A bus' peer turned us away: a password, a certificate or rights."""
