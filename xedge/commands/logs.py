"""What a service's log looks like: for people, or one JSON object a line."""

from __future__ import annotations

import datetime
import json
import logging
from typing import Any, Final

TEXT: Final = "%(asctime)s %(levelname)s %(message)s"


class JsonLines(logging.Formatter):
    """Makes one JSON object of a record: time, level, message, and what was given as ``fields``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        at = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        said: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        said |= getattr(record, "fields", {})
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)


def formatter(kind: str) -> logging.Formatter:
    """What formats a log: ``text`` or ``json``."""
    return JsonLines() if kind == "json" else logging.Formatter(TEXT)


def fields(**said: Any) -> dict[str, Any]:
    """Extra keys of a JSON line, as ``LOG.info("...", extra=fields(event="decision", bag=1))``."""
    return {"fields": said}
