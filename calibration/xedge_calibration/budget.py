"""What eight bits may cost, and whether a variant costs more."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from xedge.bundle import Bundle
from xedge.commands.evaluate import difference_of, evaluate_bundle, record_of
from xedge.commands.evaluated import Subjects
from xedge.errors import ConfigError
from xedge.metrics import Difference, PairedComparison, compare_paired
from xedge.spec import Kind

FEWEST: Final = 300
"""Images times points of a budget. Where n images show no loss at all, resampling gives an interval
without width, and 3 / n may be lost all the same at 95 % confidence (the rule of three)."""


@dataclass(frozen=True)
class Budget:
    """How far below float32 a variant may lie, at 95 % confidence.

    Attributes:
        ap50: Loss of AP50, points (hundredths).
        recall: Loss of any class's recall at 5 % false alarms, points; None sets no limit.
    """

    ap50: float = 0.5
    recall: float | None = 1.0


def overdrawn(budget: Budget, compared: PairedComparison, classes: Sequence[str]) -> list[str]:
    """What breaks a budget, a few words each; empty for a variant that is within it.

    The lower end of a difference's interval counts: what was not shown is not within.
    """
    rows = [("AP50", compared.ap50, budget.ap50)]
    missing = [] if _known(compared.ap50) else ["AP50 not measured"]
    images = compared.flips.total
    if images * budget.ap50 < FEWEST:
        missing.append(f"{images} bags are too few to show a loss of {budget.ap50:g} points")
    if budget.recall is not None:
        recalls = zip(classes, compared.recall_by_class, strict=False)
        rows += [(f"recall of {name}", lost, budget.recall) for name, lost in recalls]
        missing += [] if compared.recall else ["recall not measured, without a clean image"]
    return missing + [
        f"{name} {100 * d.value:+.2f} ({100 * d.low:+.2f} to {100 * d.high:+.2f}) points"
        for name, d, limit in rows
        if _known(d) and 100 * d.low < -limit
    ]


def _known(difference: Difference) -> bool:
    return not (math.isnan(difference.value) or math.isnan(difference.low))


def measure(
    bundle: Bundle,
    variants: Sequence[tuple[str, str]],
    subjects: Subjects,
    threads: int | None = None,
    folder: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, tuple[PairedComparison, dict[str, Any]]]:
    """Each variant less float32 on the same engine, image by image, and that as JSON.

    Args:
        bundle: With all variants.
        variants: Engine and variant of each.
        subjects: What to look at.
        threads: Threads of one run.
        folder: Where answers are kept as they come, and taken from (`xedge.commands.answers`).
        advance: Called after each image.

    Raises:
        ConfigError: For a classifier, whose precision is another measure.
        EngineError: When an engine is not installed, or fails.
    """
    if bundle.spec.kind is Kind.CLASSIFIER:
        raise ConfigError(
            "the budget is in points of AP50, which a classifier does not have",
            remedy="Compare the variants with `xedge evaluate --against`",
        )
    engines = list(dict.fromkeys(engine for engine, _ in variants))
    contenders = [(engine, "fp32") for engine in engines] + list(variants)
    results, truths = evaluate_bundle(
        bundle, contenders, subjects, threads=threads, folder=folder, advance=advance
    )
    plain = dict(zip(engines, results, strict=False))
    found = {}
    for (engine, variant), result in zip(variants, results[len(engines) :], strict=True):
        compared = compare_paired(
            plain[engine].found,
            result.found,
            truths,
            len(bundle.spec.classes),
            alarm_threshold=bundle.spec.alarm_threshold,
        )
        keys = ("engine", "version", "data", "images", "ap50")
        whole = record_of(bundle, subjects, result)
        record = {key: whole[key] for key in keys}
        record["less_fp32"] = difference_of(bundle.spec, compared)
        found[variant] = (compared, record)
    return found
