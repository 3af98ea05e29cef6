"""The values that flow through a lane: frozen, columnar, checked once when they are born.

Belt coordinates: x runs across the belt (detector element), y along it (line of the scan).
All arrays in these values are read-only views; copy before writing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from xedge.errors import InputError, LineError

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

AIR_COUNTS = 60_000
"""Corrected counts of unattenuated air. Below 65535, so that noise on air does not clip."""


class Verdict(enum.IntEnum):
    """What a lane says of a bag. The zero value is NOT_CLEARED: zeroed memory clears nothing."""

    NOT_CLEARED = 0
    CLEAR = 1
    ALARM = 2


class Reason(enum.IntEnum):
    """Why a bag is not cleared, in the words of DICOS' abort reasons where it has one."""

    NONE = 0
    TIMEOUT = 1
    INCOMPLETE_SCAN = 2
    CLIPPED_BAG = 3
    OVERSIZE_BAG = 4
    ENGINE_FAILED = 5
    BAD_LINES = 6
    DETECTOR_FAULT = 7
    OVERLOAD = 8
    USER_INTERRUPT = 9
    CONTROL_LOST = 10
    BELT_REVERSED = 11


def _frozen(array: npt.NDArray[np.generic]) -> None:
    array.flags.writeable = False


@dataclass(frozen=True, eq=False)
class Strip:
    """A block of consecutive raw or corrected lines of a dual-energy line-scan detector.

    Attributes:
        first_line: The detector's line counter at the first line.
        encoder: Encoder counts at each line, int64 ``[n]``.
        low: Low-energy counts, uint16 ``[n, elements]``.
        high: High-energy counts, the same shape.
        captured_ns: Monotonic time at which the last line was read out, nanoseconds.
        intact: False when the transport said that these lines are damaged (a bad CRC, say).

    Raises:
        LineError: On shapes or dtypes that do not fit together.
    """

    first_line: int
    encoder: I64
    low: U16
    high: U16
    captured_ns: int
    intact: bool = True

    def __post_init__(self) -> None:
        n = self.encoder.shape[0] if self.encoder.ndim == 1 else -1
        for name, array in (("low", self.low), ("high", self.high)):
            if array.ndim != 2 or array.shape[0] != n or array.dtype != np.uint16:
                raise LineError(
                    f"strip {self.first_line}: {name} lines cannot be used",
                    expected=f"uint16 [{max(n, 0)}, elements]",
                    found=f"{array.dtype} {list(array.shape)}",
                    remedy="Send one encoder count and two equally wide rows of uint16 a line",
                )
        if self.low.shape != self.high.shape or n < 1:
            raise LineError(
                f"strip {self.first_line}: the two energies do not match",
                expected="at least one line, low and high equally wide",
                found=f"low {list(self.low.shape)}, high {list(self.high.shape)}",
                remedy="Check the line width that the detector is configured for",
            )

    def __len__(self) -> int:
        return int(self.encoder.shape[0])

    @property
    def elements(self) -> int:
        """Number of detector elements in a line."""
        return int(self.low.shape[1])


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects found: ``n`` boxes with scores and labels, highest score first.

    Attributes:
        boxes: float32 ``[n, 4]``, x1 y1 x2 y2, in pixels of what was screened (image or scan).
        scores: float32 ``[n]`` in 0..1.
        labels: int32 ``[n]``, index into the model's class names.

    Raises:
        InputError: On shapes or dtypes that do not fit together.
    """

    boxes: F32
    scores: F32
    labels: I32

    def __post_init__(self) -> None:
        n = self.scores.shape[0] if self.scores.ndim == 1 else -1
        if self.boxes.shape != (n, 4) or self.labels.shape != (n,):
            raise InputError(
                "detections do not fit together",
                expected="boxes [n, 4], scores [n], labels [n]",
                found=f"{self.boxes.shape}, {self.scores.shape}, {self.labels.shape}",
            )
        for array in (self.boxes, self.scores, self.labels):
            _frozen(array)

    def __len__(self) -> int:
        return int(self.scores.shape[0])

    def __getitem__(self, index: npt.NDArray[np.generic] | slice) -> Detections:
        """The detections chosen by a mask, an index array or a slice."""
        return Detections(
            self.boxes[index].copy(), self.scores[index].copy(), self.labels[index].copy()
        )

    @staticmethod
    def empty() -> Detections:
        """No detection at all."""
        return Detections(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32)
        )

    @staticmethod
    def concatenate(parts: list[Detections]) -> Detections:
        """All of ``parts``, highest score first."""
        if not parts:
            return Detections.empty()
        boxes = np.concatenate([p.boxes for p in parts])
        scores = np.concatenate([p.scores for p in parts])
        labels = np.concatenate([p.labels for p in parts])
        order = np.argsort(-scores, kind="stable")
        return Detections(boxes[order], scores[order], labels[order])


@dataclass(frozen=True, eq=False)
class Scan:
    """The corrected lines of one bag.

    Attributes:
        bag: Sequence number of the bag in its lane, from 1.
        low: Corrected low-energy counts, uint16 ``[lines, elements]``; air is `AIR_COUNTS`.
        high: Corrected high-energy counts, the same shape.
        encoder: Encoder counts of each line, int64 ``[lines]``.
        first_line: The detector's line counter at the first line.
        captured_ns: When the last line was read out.
        reasons: What is wrong with the scan; empty for a sound one.
    """

    bag: int
    low: U16
    high: U16
    encoder: I64
    first_line: int
    captured_ns: int
    reasons: frozenset[Reason] = frozenset()

    def __post_init__(self) -> None:
        if self.low.shape != self.high.shape or self.low.shape[:1] != self.encoder.shape:
            raise LineError(
                f"scan of bag {self.bag} does not fit together",
                expected="low and high [lines, elements], encoder [lines]",
                found=f"{self.low.shape}, {self.high.shape}, {self.encoder.shape}",
            )


@dataclass(frozen=True, eq=False)
class Decision:
    """What a lane says of one bag; exactly one is made for each.

    Attributes:
        bag: Sequence number of the bag in its lane, from 1.
        verdict: CLEAR, ALARM, or NOT_CLEARED, which is also the default.
        reason: Why the bag is not cleared; `Reason.NONE` with the other verdicts.
        encoder_head: Encoder counts at the bag's first line.
        encoder_tail: Encoder counts at its last line.
        detections: What was found, in detector elements (x) and lines of the scan (y).
        latency_ns: From the bag's last line to this decision.
        late: True when the deadline had passed before the bag was decided.
        reasons: All that was wrong with the scan, `reason` among them.
        ladder: What screened each window, in their order: ``full``, or the name of a lower rung
            when time ran short; ``skipped``, ``failed``, or empty text when there was no answer.
    """

    bag: int
    verdict: Verdict = Verdict.NOT_CLEARED
    reason: Reason = Reason.NONE
    encoder_head: int = 0
    encoder_tail: int = 0
    detections: Detections = field(default_factory=Detections.empty)
    latency_ns: int = 0
    late: bool = False
    reasons: frozenset[Reason] = frozenset()
    ladder: tuple[str, ...] = ()
