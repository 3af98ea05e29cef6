"""An engine without a model: known answers, and faults on demand. It ships for everyone's tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from xedge import __version__
from xedge.engines.base import Engine, TensorSpec, check_feeds
from xedge.errors import EngineLoadError, EngineRunError
from xedge.types import U8, Detections

DENSE = 117
"""Half of air (234) in plane 1, the low-energy plane: darker pixels count as dense."""


def around_dense_matter(planes: U8) -> Detections:
    """One box of class 0 with score 0.9 around all dense matter of ``planes [3, h, w]``, or none.

    Dense is what lets through less than half of the low-energy rays.
    """
    rows, columns = np.nonzero(planes[1] < DENSE)
    if not rows.size:
        return Detections.empty()
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return Detections(
        np.array([box], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int32)
    )


class FakeEngine:
    """An engine with the inputs and outputs of a detector, answering as it is told to.

    Args:
        answer: From planes ``[3, h, w]`` to what is found in them, in their pixels.
        height: Rows of the window.
        width: Columns of the window.
        candidates: K, rows of the outputs; answers are padded with scores of zero.
        fail_at: Numbers of the runs, from 0, that raise `EngineRunError`.
        nan_at: Numbers of the runs that answer with scores that are not numbers.
        delay_s: Seconds that each run takes.
        sleep: What passes that time; a virtual clock's sleep in tests.
    """

    def __init__(
        self,
        answer: Callable[[U8], Detections] = around_dense_matter,
        *,
        height: int = 416,
        width: int = 416,
        candidates: int = 200,
        fail_at: Collection[int] = (),
        nan_at: Collection[int] = (),
        delay_s: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._answer, self._sleep = answer, sleep
        self._fail_at, self._nan_at, self._delay_s = fail_at, nan_at, delay_s
        k = candidates
        self._inputs = (TensorSpec("planes", np.dtype(np.uint8), (1, 3, height, width)),)
        self._outputs = (
            TensorSpec("boxes", np.dtype(np.float32), (1, k, 4)),
            TensorSpec("scores", np.dtype(np.float32), (1, k)),
            TensorSpec("labels", np.dtype(np.int32), (1, k)),
        )
        self._runs = 0
        self._closed = False

    @staticmethod
    def version() -> str:
        """The version of xedge."""
        return f"xedge {__version__}"

    @classmethod
    def load(cls, model: bytes, threads: int | None) -> Engine:
        """A fake of the shipped model's window; only an empty ``model`` is refused."""
        if not model:
            raise EngineLoadError("the model is empty", expected="an ONNX file", found="0 bytes")
        return cls()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""
        return self._outputs

    @property
    def runs(self) -> int:
        """Number of runs so far, failed ones included."""
        return self._runs

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """All outputs by name for one set of inputs; see `xedge.engines.base.Engine.run`."""
        check_feeds(self._inputs, feeds)
        if self._closed:
            raise EngineRunError("the engine is closed", remedy="Load the model again")
        number, self._runs = self._runs, self._runs + 1
        if self._delay_s:
            self._sleep(self._delay_s)
        if number in self._fail_at:
            raise EngineRunError(f"run {number} failed as the fake engine was told to")
        outputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self._outputs}
        found = self._answer(feeds["planes"][0])[: outputs["scores"].shape[1]]
        outputs["boxes"][0, : len(found)] = found.boxes
        outputs["scores"][0, : len(found)] = found.scores
        outputs["labels"][0, : len(found)] = found.labels
        if number in self._nan_at:
            outputs["scores"][...] = np.nan
        return outputs

    def close(self) -> None:
        """Refuse further runs; safe to call twice."""
        self._closed = True
