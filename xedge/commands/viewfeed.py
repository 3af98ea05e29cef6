"""What the views of one lane give it, brought together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final

from xedge.commands.sources import Feed, open_feed
from xedge.commands.sourcetable import SourceTable
from xedge.errors import ConfigError
from xedge.lane.config import LaneConfig
from xedge.scanner.pairedsource import PairedSource
from xedge.scanner.pairing import Pairing, ViewPlan
from xedge.scanner.sidebyside import views_of
from xedge.scanner.source import Source
from xedge.types import Strip

SAME: Final = 1e-6
"""Share by which the counts per millimetre of two views may differ: they read one encoder."""


def open_feeds(
    sources: Sequence[SourceTable],
    pitch_mm: float,
    tell: Callable[[str], None] = lambda error: None,
) -> Feed:
    """The lines that the tables of a lane ask for: of one source, or of its views in rows.

    Args:
        sources: The tables, in the order of the views.
        pitch_mm: Belt from one line to the next.
        tell: Called with what becomes of a view that fails.

    Raises:
        ConfigError: When the views cannot be brought together.
        XedgeError: As `open_feed`.
    """
    if len(sources) == 1:
        return open_feed(sources[0])
    with ExitStack() as stack:
        feeds = []
        for source in sources:
            feeds.append(open_feed(source))
            stack.callback(feeds[-1].close)
        counts = feeds[0].counts_per_mm
        for number, feed in enumerate(feeds, 1):
            if abs(feed.counts_per_mm - counts) > SAME * counts:
                raise ConfigError(
                    "the views of a lane must read one encoder",
                    expected=f"{counts} counts a millimetre, as of the first",
                    found=f"{feed.counts_per_mm} of view {number}",
                )
            if isinstance(feed.flat_field, tuple):
                raise ConfigError(f"view {number} has views of its own",
                                  remedy="Make each a source")  # fmt: skip
        views = [_View(feed) for feed in feeds]
        if len({view.live for view in views}) > 1:  # their times are of different clocks
            raise ConfigError(
                "views that are live and others cannot be brought together",
                expected="strips that all say `live`, as a ring's do, or none",
                found=", ".join("live" if view.live else "not live" for view in views),
            )
        changes: dict[str, Any] = {}
        for number, feed in enumerate(feeds, 1):
            for name, value in feed.changes.items():
                if changes.setdefault(name, value) != value:
                    raise ConfigError(f"the views of a lane need {name} otherwise",
                                      expected=f"{changes[name]}, as of those before",
                                      found=f"{value} of view {number}")  # fmt: skip
        usual = LaneConfig()
        offsets = tuple(round(source.offset_mm * counts) for source in sources)
        pairing = Pairing(
            [
                ViewPlan(views_of(feed.flat_field)[0].elements, offset)
                for offset, feed in zip(offsets, feeds, strict=True)
            ],
            counts * pitch_mm,
            changes.get("direction", usual.direction),
            changes.get("encoder_period", usual.encoder_period),
        )
        changes["view_offsets"] = offsets
        # Each view has windows of its own.
        changes.setdefault("max_queued_windows", len(feeds) * usual.max_queued_windows)
        paired = PairedSource(views, pairing, tell)
        stack.pop_all()
        return Feed(
            paired, tuple(views_of(feed.flat_field)[0] for feed in feeds), counts, paired.close,
            any(feed.simulated for feed in feeds), changes, paired.books,
        )  # fmt: skip
    raise AssertionError  # a with statement may swallow errors, for all that mypy knows


class _View(Source):
    """A feed as a source."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.live = bool(getattr(feed.strips, "live", False))

    @property
    def elements(self) -> int:
        return views_of(self._feed.flat_field)[0].elements

    def __iter__(self) -> Iterator[Strip]:
        return iter(self._feed.strips)

    def close(self) -> None:
        self._feed.close()
