"""An exported classifier against PyTorch: the same windows through both, score by score."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from xedge.engines.base import Engine
from xedge.errors import ExportError
from xedge.models.base import Classifier
from xedge.spec import ModelSpec
from xedge.types import U8
from xedge_export.contract import INPUT_NAME

SCORE_TOLERANCE: Final = 1e-3
"""Of a score: logits within 4e-3, some hundred times what float32 leaves of logits around ten."""
MAP_TOLERANCE: Final = 1e-3
"""Of a map, as a share of its largest absolute number."""


@dataclass(frozen=True)
class ClassParityReport:
    """How an engine's scores and maps differ from PyTorch's.

    Attributes:
        windows: Windows compared.
        compared: Scores compared, one a class and window.
        different: Those further apart than `SCORE_TOLERANCE`.
        different_maps: Maps, one a class and window, with a number further off than
            `MAP_TOLERANCE` of the largest.
        worst_score: Largest difference of a score.
        worst_map: Largest difference in a map, as a share of its largest absolute number.
    """

    windows: int = 0
    compared: int = 0
    different: int = 0
    different_maps: int = 0
    worst_score: float = 0.0
    worst_map: float = 0.0

    @property
    def holds(self) -> bool:
        """True when nothing differs, and there was something to compare."""
        return self.compared > 0 and self.different + self.different_maps == 0

    def merge(self, other: ClassParityReport) -> ClassParityReport:
        """Both reports as one."""
        return ClassParityReport(
            self.windows + other.windows,
            self.compared + other.compared,
            self.different + other.different,
            self.different_maps + other.different_maps,
            max(self.worst_score, other.worst_score),
            max(self.worst_map, other.worst_map),
        )


@torch.no_grad()
def check_scores(
    model: Classifier,
    spec: ModelSpec,
    engine: Engine,
    windows: Iterable[U8],
    advance: Callable[[], None] = lambda: None,
) -> ClassParityReport:
    """Parity of an engine with PyTorch over windows of planes, uint8 ``[3, H, W]`` each.

    Args:
        model: The classifier in PyTorch, in evaluation mode.
        spec: Its description.
        engine: The engine on the exported model.
        windows: The windows.
        advance: Called after each.

    Raises:
        ExportError: When there is no window, or the answers do not line up.
    """
    report = ClassParityReport()
    for planes in windows:
        outputs = model(torch.from_numpy(planes[None]))
        scores, maps = (t[0].numpy() for t in (model.scores(outputs), model.locate(outputs)))
        answer = engine.run({INPUT_NAME: planes[None]})
        if (
            answer["scores"].shape != (1, len(spec.classes))
            or answer["maps"].shape[1:] != maps.shape
        ):
            raise ExportError(
                "the graph's answer does not line up with the model's",
                expected=f"{len(spec.classes)} scores, maps {list(maps.shape)}",
                found=f"{list(answer['scores'].shape)}, {list(answer['maps'].shape)}",
            )
        gaps = np.abs(answer["scores"][0] - scores)
        peaks = np.maximum(np.abs(maps).max((1, 2)), np.finfo(np.float32).tiny)
        off = np.abs(answer["maps"][0] - maps).max((1, 2)) / peaks
        # Written so that a NaN, which is not below anything, counts as a difference.
        report = report.merge(
            ClassParityReport(
                windows=1,
                compared=gaps.size,
                different=int((~(gaps <= SCORE_TOLERANCE)).sum()),
                different_maps=int((~(off <= MAP_TOLERANCE)).sum()),
                worst_score=float(gaps.max()),
                worst_map=float(off.max()),
            )
        )
        advance()
    if not report.windows:
        raise ExportError("there is nothing to compare", remedy="Give at least one window")
    return report
