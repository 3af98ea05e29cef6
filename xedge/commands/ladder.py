"""Models that take over when time runs short, as commands and lane files name them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from xedge.bundle import Bundle, open_bundle
from xedge.errors import ConfigError
from xedge.lane.config import FULL
from xedge.lane.ladder import Rung, on_scale_of
from xedge.lane.publisher import Screen
from xedge.spec import ModelSpec

FIRST_PASS: Final = "first-pass"
SMALLER: Final = "smaller"

SHARED: Final = ("kind", "classes", "height", "width", "channels", "binning", "pixel_mm")
"""What a model must have in common with the one that it stands in for: windows and labels."""


@dataclass(frozen=True, kw_only=True)
class LadderTable:
    """What screens windows when time runs short; see docs/lane.md.

    Attributes:
        first_pass: The bundle of the model without the label-aware step, as
            ``xedge export --stage first-pass`` writes it; None where there is none.
        smaller: The bundle of a quicker model with the same windows and classes.
        clear_by: The lowest of them that may clear a bag.

    Raises:
        ConfigError: When ``clear_by`` names one that is not there.
    """

    first_pass: Path | None = None
    smaller: Path | None = None
    clear_by: Literal["full", "first-pass", "smaller"] = "full"

    def __post_init__(self) -> None:
        if self.clear_by not in (FULL, *(name for name, _ in self.rungs)):
            raise ConfigError("clear_by names a model that is not there",
                              expected=", ".join((FULL, *(name for name, _ in self.rungs))),
                              found=self.clear_by)  # fmt: skip

    @property
    def rungs(self) -> tuple[tuple[str, Path], ...]:
        """Name and bundle of each rung below the full model, from the best to the quickest."""
        named = ((FIRST_PASS, self.first_pass), (SMALLER, self.smaller))
        return tuple((name, path) for name, path in named if path is not None)

    @property
    def clearing(self) -> tuple[str, ...]:
        """The rungs that may clear, for `LaneConfig.clear_by`."""
        names = (FULL, *(name for name, _ in self.rungs))
        return names[: names.index(self.clear_by) + 1]

    def open(
        self, full: ModelSpec, public_key: bytes | None = None
    ) -> Iterator[tuple[str, Bundle]]:
        """Name and bundle of each rung, checked against the full model.

        Args:
            full: The full model.
            public_key: Whose signature the bundles must carry; None asks for none.

        Raises:
            BundleError: When a bundle cannot be used.
            ConfigError: When one is of another kind of model.
        """
        for name, path in self.rungs:
            bundle = open_bundle(path, public_key)
            _check(name, path, bundle.spec, full)
            yield name, bundle


def rung_of(name: str, screen: Screen, spec: ModelSpec, full: ModelSpec) -> Rung:
    """A rung whose scores alarm where the full model's do."""
    return Rung(name, on_scale_of(screen, spec.alarm_threshold, full.alarm_threshold))


def _check(name: str, path: Path, spec: ModelSpec, full: ModelSpec) -> None:
    for field in SHARED:
        if getattr(spec, field) != getattr(full, field):
            raise ConfigError(
                f"{path} cannot stand in for {full.name}",
                expected=f"{field} {getattr(full, field)!r}",
                found=repr(getattr(spec, field)),
                remedy="Take a model that was trained for the same windows and classes",
            )
    if name == FIRST_PASS and spec.stage != FIRST_PASS:
        raise ConfigError(
            f"{path} is no first pass",
            expected=f"stage {FIRST_PASS}", found=spec.stage,
            remedy="Export it with xedge export --stage first-pass",
        )  # fmt: skip
