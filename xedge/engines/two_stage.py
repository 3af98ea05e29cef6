"""A label-aware model that leaves a quiet window after its first pass.

Most windows of a belt hold nothing: the first classification pass scores every class low
everywhere. A detection's score is the class score of the second pass times a quality of at most 1,
and LA moves the class score by little, so such a window holds no detection above what was low.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from xedge.engines.base import Engine, TensorSpec, check_feeds
from xedge.engines.stages import Stages
from xedge.errors import EngineLoadError


class TwoStage:
    """An engine of the first stage and one of the second, as one that keeps the graph's contract.

    A window whose largest first-pass score lies below ``below`` gets the answer of one that holds
    nothing: zeros. One whose scores are not finite goes on, and is refused for what comes out.

    Args:
        first: The first stage, loaded; closed with this.
        second: The second stage, loaded; closed with this.
        stages: What they were made of.
        below: Score below which a window stops; 0 stops none.

    Raises:
        EngineLoadError: When the two do not fit together.
    """

    def __init__(self, first: Engine, second: Engine, stages: Stages, below: float) -> None:
        given = {spec.name: spec for spec in first.outputs}
        wanted = {spec.name: spec for spec in second.inputs}
        names = {*stages.scores, *stages.carried}
        if set(given) != names or set(wanted) != set(stages.carried) or any(
            given[name] != wanted[name] for name in stages.carried
        ):  # fmt: skip
            raise EngineLoadError(
                "the two stages of the model do not fit together in this engine",
                expected=", ".join(sorted(names)),
                found=f"{', '.join(sorted(given))}; {', '.join(sorted(wanted))}",
                remedy="Refine every window, or use another engine",
            )
        self._first, self._second, self._stages, self._below = first, second, stages, below
        self._score = float("nan")

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""
        return self._first.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""
        return self._second.outputs

    @property
    def below(self) -> float:
        """Score below which a window stops."""
        return self._below

    @property
    def score(self) -> float:
        """The largest first-pass score of the last window; NaN before the first one."""
        return self._score

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """All outputs by name for one set of inputs; see `xedge.engines.base.Engine.run`."""
        check_feeds(self.inputs, feeds)
        found = self._first.run(feeds)
        # numpy's maximum passes a NaN on, and a NaN is not below anything.
        self._score = float(np.max([found[name].max() for name in self._stages.scores]))
        if self._score < self._below:
            return {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.outputs}
        return self._second.run({name: found[name] for name in self._stages.carried})

    def close(self) -> None:
        """Free both stages; safe to call twice."""
        self._first.close()
        self._second.close()
