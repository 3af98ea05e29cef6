"""Decisions, events and set-ups as they stand in a journal, and back, without a bit lost.

A float32 becomes the shortest decimal that is the same float64, so that it comes back exactly.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from xedge.lane import events as happened
from xedge.lane.config import LaneConfig
from xedge.scanner.cutter import CutterConfig
from xedge.scanner.flatfield import FlatField
from xedge.scanner.follow import FollowConfig
from xedge.scanner.intake import Refusal
from xedge.scanner.sidebyside import Corrections, views_of
from xedge.scanner.windows import WindowPlan
from xedge.types import Decision, Detections, Reason, Strip, Verdict

STRIP: Final = "strip"
DAMAGED_STRIP: Final = "damaged-strip"
MISFIT: Final = "misfit"

KINDS: Final[Mapping[str, type[Any]]] = {
    "lines-lost": happened.LinesLost,
    "window-done": happened.WindowDone,
    "window-failed": happened.WindowFailed,
    "tick": happened.Tick,
    "belt-running": happened.BeltRunning,
    "source-ended": happened.SourceEnded,
    "interrupted": happened.Interrupted,
    "retuned": happened.Retuned,
}
"""Kinds of events whose fields say everything; strips have the three above."""


def decision_record(decision: Decision) -> dict[str, Any]:
    """A decision as JSON values: verdict and reasons by name, detections as lists."""
    return {
        "bag": decision.bag,
        "verdict": decision.verdict.name,
        "reason": decision.reason.name,
        "reasons": sorted(reason.name for reason in decision.reasons),
        "encoder_head": decision.encoder_head,
        "encoder_tail": decision.encoder_tail,
        "latency_ms": decision.latency_ns / 1e6,
        "late": decision.late,
        "ladder": list(decision.ladder),
        "detections": detections_record(decision.detections),
    }


def detections_record(found: Detections) -> list[dict[str, Any]]:
    """Detections as JSON values."""
    return [
        {"label": int(label), "score": float(score), "box": [float(x) for x in box]}
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
    ]


def detections_of(records: list[dict[str, Any]]) -> Detections:
    """The detections of `detections_record`."""
    return Detections(
        np.array([one["box"] for one in records], np.float32).reshape(-1, 4),
        np.array([one["score"] for one in records], np.float32),
        np.array([one["label"] for one in records], np.int32),
    )


def decision_columns(decision: Decision) -> dict[str, Any]:
    """A decision as it stands in the table of bags."""
    return {
        "encoder_head": decision.encoder_head,
        "encoder_tail": decision.encoder_tail,
        "verdict": decision.verdict.name,
        "reason": decision.reason.name,
        "reasons": json.dumps(sorted(reason.name for reason in decision.reasons)),
        "late": int(decision.late),
        "latency_ns": decision.latency_ns,
        "ladder": json.dumps(list(decision.ladder)),
        "detections": json.dumps(detections_record(decision.detections)),
    }


def decision_of(row: Mapping[str, Any]) -> Decision:
    """The decision of a row of the table of bags."""
    return Decision(
        bag=row["bag"],
        verdict=Verdict[row["verdict"]],
        reason=Reason[row["reason"]],
        encoder_head=row["encoder_head"],
        encoder_tail=row["encoder_tail"],
        detections=detections_of(json.loads(row["detections"])),
        latency_ns=row["latency_ns"],
        late=bool(row["late"]),
        reasons=frozenset(Reason[name] for name in json.loads(row["reasons"])),
        ladder=tuple(json.loads(row["ladder"])),
    )


def event_record(event: happened.Event) -> tuple[str, str]:
    """Kind and fields of an event that is no strip."""
    kind = next(name for name, shape in KINDS.items() if type(event) is shape)
    fields = {name: _plain(value) for name, value in event.__dict__.items()}
    return kind, json.dumps(fields)


def _plain(value: Any) -> Any:
    if isinstance(value, Detections):
        return detections_record(value)
    return value.name if isinstance(value, Refusal | Reason) else value


def event_of(kind: str, text: str) -> happened.Event:
    """The event of `event_record`."""
    fields = json.loads(text)
    if "detections" in fields:
        fields["detections"] = detections_of(fields["detections"])
    if "cause" in fields:
        fields["cause"] = Refusal[fields["cause"]]
    if "reason" in fields:
        fields["reason"] = Reason[fields["reason"]]
    event: happened.Event = KINDS[kind](**fields)
    return event


def misfit_record(strip: Strip) -> str:
    """What the core looks at of a strip that is not as wide as the detector: not its counts."""
    return json.dumps({
        "first_line": strip.first_line, "elements": strip.elements, "intact": strip.intact,
        "captured_ns": strip.captured_ns, "encoder": strip.encoder.tolist(),
    })  # fmt: skip


def misfit_of(text: str) -> Strip:
    """The strip of `misfit_record`, its counts zero."""
    fields = json.loads(text)
    encoder = np.array(fields["encoder"], np.int64)
    counts = np.zeros((len(encoder), fields["elements"]), np.uint16)
    return Strip(
        fields["first_line"], encoder, counts, counts, fields["captured_ns"], fields["intact"]
    )


def config_text(config: LaneConfig) -> str:
    """A lane's set-up as JSON."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def config_of(text: str) -> LaneConfig:
    """The set-up of `config_text`."""
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                              for name, value in json.loads(text).items()}  # fmt: skip
    fields["windows"] = WindowPlan(**fields["windows"])
    fields["cutter"] = CutterConfig(**fields["cutter"])
    follow = fields["correction"]
    follow["reference"] = tuple(tuple(span) for span in follow["reference"])
    fields["correction"] = FollowConfig(**follow)
    return LaneConfig(**fields)


def digest(text: str) -> str:
    """SHA-256 of a text, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def correction_bytes(correction: Corrections) -> bytes:
    """The correction of a detector, or of each of its views, as an npz file."""
    flats = views_of(correction)
    out = io.BytesIO()
    np.savez(
        out,
        elements=np.array([flat.elements for flat in flats]),
        offset=np.concatenate([flat.offset for flat in flats], axis=1),
        gain=np.concatenate([flat.gain for flat in flats], axis=1),
        dead=np.concatenate([flat.dead for flat in flats], axis=1),
        saturated_share=np.array([flat.saturated_share for flat in flats]),
    )
    return out.getvalue()


def correction_of(data: bytes) -> Corrections:
    """The correction of `correction_bytes`."""
    flats = []
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        ends = np.cumsum(arrays["elements"]).tolist()
        for start, end, (low, high) in zip(
            [0, *ends[:-1]], ends, arrays["saturated_share"].tolist(), strict=True
        ):
            offset, gain, dead = (
                arrays[name][:, start:end].copy() for name in ("offset", "gain", "dead")
            )
            flats.append(FlatField(offset, gain, dead, (low, high)))
    return flats[0] if len(flats) == 1 else tuple(flats)
