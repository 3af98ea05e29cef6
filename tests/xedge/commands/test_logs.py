"""A log for programs: one JSON object a line, whatever is said."""

from __future__ import annotations

import io
import json
import logging

import pytest

from xedge.commands.logs import fields, formatter


@pytest.fixture
def log():
    """A log of its own, and where it writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    log = logging.Logger("xedge.test")
    log.addHandler(handler)
    return log, handler, stream


def test_each_record_is_one_line_of_json(log) -> None:
    logger, handler, stream = log
    handler.setFormatter(formatter("json"))
    logger.warning("two\nlines, %d%%", 5, extra=fields(event="decision", bag=1, odd=object))
    try:
        raise ValueError("oh")
    except ValueError:
        logger.exception("it failed")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["level"], first["message"]) == ("WARNING", "two\nlines, 5%")
    assert (first["event"], first["bag"]) == ("decision", 1)
    assert first["time"].endswith("+00:00")
    assert "ValueError: oh" in second["traceback"]


def test_people_get_text(log) -> None:
    logger, handler, stream = log
    handler.setFormatter(formatter("text"))
    logger.error("it failed", extra=fields(event="error"))
    assert stream.getvalue().endswith("ERROR it failed\n")
