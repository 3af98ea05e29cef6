"""What a model takes and gives, as JSON inside the ONNX file (``metadata_props['xedge']``)."""

from __future__ import annotations

import dataclasses
import enum
import json
from dataclasses import dataclass
from typing import Any

from xedge.errors import BundleError

SCHEMA = 1
METADATA_KEY = "xedge"


class Channels(str, enum.Enum):
    """Meaning of the three input planes."""

    DUAL_ENERGY = "dual-energy"
    """CLCXray's equation 1: high / 256, low / 256, 510 * sigmoid(high / low) - 255."""
    PSEUDO_COLOUR = "pseudo-colour"
    """R, G, B of a pseudo-colour picture."""


class Kind(str, enum.Enum):
    """What a model says, hence which outputs its graph has."""

    DETECTOR = "detector"
    """Where objects are: boxes, scores, labels."""
    CLASSIFIER = "classifier"
    """Which classes are there, and a map of each that points at it."""


def fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Whether a shape is the wanted one; None stands for any side.

    >>> fits((1, 11, 13, 13), (1, 11, None, None))
    True
    """
    return len(shape) == len(wanted) and all(
        side in (mine, None) for mine, side in zip(shape, wanted, strict=True)
    )


def _check_number(
    name: str, value: object, kind: type[int] | type[float], least: float, most: float
) -> None:
    kinds = (int,) if kind is int else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not least <= value <= most:
        raise BundleError(
            f"a model's {name} cannot be used", expected=f"{least}..{most}", found=repr(value)
        )


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Everything outside the graph that a model's answer depends on.

    Attributes:
        name: Name of the model, a word of letters, digits and dashes.
        classes: Names of the classes, in the order of the labels.
        height: Height of the window in planes' pixels (lines of the belt after binning).
        width: Width of the window in planes' pixels (detector elements after binning).
        channels: Meaning of the three planes.
        binning: Detector elements and lines that are averaged into one pixel, each way.
        pixel_mm: Size of one pixel of the planes at the belt, millimetres.
        candidates: K, the fixed number of rows that a detector's graph gives per window; 0 of a
            classifier, which gives one score a class.
        score_threshold: Detections below are dropped by default.
        alarm_threshold: A lane alarms at this score; never below `score_threshold`.
        nms_iou: Overlap above which the weaker of two boxes of one class is dropped.
        kind: What the model says.
        mean: What the graph subtracts from each plane (for the record; it is in the graph).
        scale: What it multiplies each plane by afterwards (for the record).
        stage: ``refined`` (with the LA gradient step) or ``first-pass``.
        licence: SPDX identifier of the weights' licence.
        parents: Artefact name to sha256 of what this was made from (recipe, checkpoint).
        measured: Name to number, as measured when the model was trained; may be empty.
    """

    name: str
    classes: tuple[str, ...]
    height: int
    width: int
    channels: Channels
    binning: int
    pixel_mm: float
    candidates: int
    score_threshold: float = 0.05
    alarm_threshold: float = 0.4
    nms_iou: float = 0.6
    kind: Kind = Kind.DETECTOR
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: tuple[float, ...] = (1.0, 1.0, 1.0)
    stage: str = "refined"
    licence: str = "Apache-2.0"
    parents: dict[str, str] = dataclasses.field(default_factory=dict)
    measured: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        words = (self.name, self.stage, self.licence, *self.classes)
        if not all(isinstance(word, str) and word for word in words):
            raise BundleError("a model's name, stage, licence and classes must be words")
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise BundleError("a model's class names must be given and differ")
        for name, most in (("height", 8192), ("width", 8192), ("binning", 8)):
            _check_number(name, getattr(self, name), int, 1, most)
        least, most = (1, 1000) if self.kind is Kind.DETECTOR else (0, 0)
        _check_number("candidates", self.candidates, int, least, most)
        _check_number("pixel_mm", self.pixel_mm, float, 1e-3, 1e3)
        for name in ("score_threshold", "alarm_threshold", "nms_iou"):
            _check_number(name, getattr(self, name), float, 0, 1)
        if self.alarm_threshold < self.score_threshold:
            raise BundleError("the alarm threshold lies below the score threshold")
        for name in ("mean", "scale"):
            if len(getattr(self, name)) != 3:
                raise BundleError(f"a model's {name} must have one number a plane")
            for number in getattr(self, name):
                _check_number(name, number, float, -1e9, 1e9)
        if not all(isinstance(text, str) for pair in self.parents.items() for text in pair):
            raise BundleError("a model's parents must be names and digests")
        if not all(isinstance(number, (int, float)) for number in self.measured.values()):
            raise BundleError("what was measured of a model must be numbers")

    @property
    def outputs(self) -> dict[str, tuple[str, tuple[int | None, ...]]]:
        """Dtype and shape of each output of the graph for one window, by name; None is any side."""
        if self.kind is Kind.CLASSIFIER:
            c = len(self.classes)
            return {"scores": ("float32", (1, c)), "maps": ("float32", (1, c, None, None))}
        k = self.candidates
        return {
            "boxes": ("float32", (1, k, 4)),
            "scores": ("float32", (1, k)),
            "labels": ("int32", (1, k)),
        }

    def to_json(self) -> str:
        """The spec as one line of JSON with a schema number, keys sorted."""
        words = {"channels": self.channels.value, "kind": self.kind.value}
        record = dataclasses.asdict(self) | {"schema": SCHEMA} | words
        return json.dumps(record, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> ModelSpec:
        """The spec that `to_json` wrote.

        Raises:
            BundleError: When it is not JSON, of another schema, or has other keys.
        """
        try:
            record: dict[str, Any] = json.loads(text)
            schema = record.pop("schema", None)
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise BundleError(
                "the model's description is not JSON", remedy="Export the model again"
            ) from error
        if schema != SCHEMA:
            raise BundleError(
                "the model's description is of another version",
                expected=f"schema {SCHEMA}",
                found=f"schema {schema}",
                remedy="Export the model again with this version of xedge",
            )
        known = {f.name for f in dataclasses.fields(ModelSpec)}
        if unknown := set(record) - known:
            raise BundleError(
                "the model's description has unknown keys", found=", ".join(sorted(unknown))
            )
        for key in ("classes", "mean", "scale"):
            if key in record:
                record[key] = tuple(record[key])
        try:
            record["channels"] = Channels(record["channels"])
            record["kind"] = Kind(record.get("kind", Kind.DETECTOR))  # older ones do not say
            return ModelSpec(**record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(
                "the model's description is not complete", found=str(error)
            ) from error
