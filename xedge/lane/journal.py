"""A lane's journal: one JSON record a line, each behind the CRC-32 of its text.

    1c291ca3 {"kind": "decision", "bag": 1, ...}

Records reach the operating system before a decision is published, so they survive the end of
the process; they are forced to the disk when the journal is closed.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from pathlib import Path
from typing import Any

from xedge.types import Decision


class Journal:
    """Appends records to a file; a context manager. Several threads may write.

    A last line that a crash has torn is closed first, so that it does not spoil the next record.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        path = Path(path)
        self._file = path.open("a", encoding="utf-8", newline="\n")
        self._lock = threading.Lock()
        if _is_torn(path):
            self._file.write("\n")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, kind: str, fields: dict[str, Any]) -> None:
        """Append one record and hand it to the operating system.

        Raises:
            OSError: When the disk is full, say; a lane counts that and goes on.
        """
        text = json.dumps({"kind": kind, **fields}, sort_keys=True, allow_nan=False)
        with self._lock:
            self._file.write(f"{zlib.crc32(text.encode()):08x} {text}\n")
            self._file.flush()

    def close(self) -> None:
        """Force what was written to the disk and close; safe to call twice."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def _is_torn(path: Path) -> bool:
    """True when the last line of a file has no end."""
    if not path.is_file():  # a pipe, say, cannot be read back
        return False
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def decision_record(decision: Decision) -> dict[str, Any]:
    """A decision as JSON values: verdict and reasons by name, detections as lists."""
    found = decision.detections
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
        "detections": [
            {"label": int(label), "score": float(score), "box": [float(x) for x in box]}
            for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
        ],
    }


def read_journal(path: str | os.PathLike[str]) -> tuple[list[dict[str, Any]], int]:
    """The sound records of a journal, and how many lines were not sound.

    A line is not sound when its CRC does not fit, as after a crash in the middle of a write.
    """
    records: list[dict[str, Any]] = []
    damaged = 0
    for line in Path(path).read_bytes().splitlines():
        crc, _, text = line.partition(b" ")
        if crc == b"%08x" % zlib.crc32(text):
            records.append(json.loads(text))
        else:
            damaged += 1
    return records, damaged
