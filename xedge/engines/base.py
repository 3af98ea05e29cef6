"""The seam between xedge and the libraries that run models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from xedge.errors import InputError


@dataclass(frozen=True)
class TensorSpec:
    """Name, dtype and static shape of one input or output of an engine."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@runtime_checkable
class Engine(Protocol):
    """A loaded model that runs. One thread at a time; a context manager is `closing(engine)`.

    `run` returns arrays that belong to the caller: no back end reuses them.
    """

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""
        ...

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """All outputs by name for one set of inputs.

        Raises:
            InputError: When a feed is missing, unknown, or of another dtype or shape; the
                library is not touched then.
            EngineRunError: When the library fails, or the engine is closed.
        """
        ...

    def close(self) -> None:
        """Free what the library holds; safe to call twice."""
        ...


@runtime_checkable
class TellsArithmetic(Protocol):
    """A back end that can say what its layers really computed in, whatever the graph says."""

    @classmethod
    def arithmetic(cls, model: bytes, threads: int | None) -> Mapping[str, int]:
        """Type to number of convolutions and matrix products that ran in it: ``float32`` 40.

        Types are those of `xedge.golden.TOLERANCES`. Loads the model once more and runs it.

        Raises:
            EngineError: When the library refuses the model, or fails.
        """
        ...


def zero_feeds(specs: tuple[TensorSpec, ...]) -> dict[str, npt.NDArray[Any]]:
    """A feed of zeros for every input."""
    return {spec.name: np.zeros(spec.shape, spec.dtype) for spec in specs}


def check_feeds(specs: tuple[TensorSpec, ...], feeds: Mapping[str, npt.NDArray[Any]]) -> None:
    """Return nothing when ``feeds`` fits ``specs`` exactly; raise `InputError` otherwise."""
    names = {spec.name for spec in specs}
    if set(feeds) != names:
        raise InputError(
            "the engine's inputs do not match",
            expected=", ".join(sorted(names)),
            found=", ".join(sorted(feeds)) or "nothing",
            remedy="Feed every input by its name, and nothing else",
        )
    for spec in specs:
        array = feeds[spec.name]
        if array.dtype != spec.dtype or array.shape != spec.shape:
            raise InputError(
                f"input {spec.name!r} does not fit the model",
                expected=f"{spec.dtype} {list(spec.shape)}",
                found=f"{array.dtype} {list(array.shape)}",
                remedy="Prepare it with xedge.preprocess",
            )
