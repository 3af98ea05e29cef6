"""Several views as one detector: their elements side by side in one line, each corrected by itself.

A view may be blind in a line that others see: its tube is off, or it has no line at that place,
which `xedge.scanner.pairing` says by elements that read nothing at all. The others are used, so
that a bag is a bag; the blind one is shown as air, and the lane is told, so that it clears nothing.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from xedge.errors import ConfigError
from xedge.scanner.detectorarray import DetectorArray
from xedge.scanner.flatfield import FlatField, Mask
from xedge.scanner.follow import CorrectionNews, FollowConfig
from xedge.scanner.health import DetectorHealth
from xedge.types import AIR_COUNTS, F32, U16, Reason

GLANCE: Final = 16
"""Of so many elements one is looked at to see that a view is there."""

Corrections = FlatField | tuple[FlatField, ...]
"""Of a detector, or of each of its views."""


def views_of(correction: Corrections) -> tuple[FlatField, ...]:
    """The correction of each view; of a detector with one, its own alone."""
    return correction if isinstance(correction, tuple) else (correction,)


def digest_of(correction: Corrections) -> str:
    """SHA-256 of a correction, 64 hex digits; of several views, of theirs."""
    digests = [flat.digest for flat in views_of(correction)]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


class SideBySide:
    """The views of one belt as one detector.

    Args:
        correction: The correction of each view as it was made.
        config: How they follow; reference elements are counted over all views.

    Raises:
        ConfigError: When reference elements cannot be used.
    """

    def __init__(self, correction: Corrections, config: FollowConfig) -> None:
        flats = views_of(correction)
        edges = list(itertools.accumulate((flat.elements for flat in flats), initial=0))
        self.columns = tuple(slice(a, b) for a, b in itertools.pairwise(edges))
        self.elements = edges[-1]
        self._views = [
            DetectorArray(flat, replace(config, reference=_own(config, columns)))
            for flat, columns in zip(flats, self.columns, strict=True)
        ]
        given = sum(len(_own(config, columns)) for columns in self.columns)
        if given != len(config.reference):
            raise ConfigError("a span of reference elements lies in no view",
                              expected=f"spans within one of {_listed(self.columns)}",
                              found=str(config.reference))  # fmt: skip
        # Of the strip that was last asked about, a row a view; None when no view misses a line.
        self._blind: Mask | None = None
        self._absent: Mask | None = None
        self._levels: list[F32 | None] = []
        self.blind_lines = [0] * len(flats)

    @property
    def digest(self) -> str:
        """SHA-256 of the correction in force."""
        return digest_of(tuple(view.flat_field for view in self._views))

    @property
    def fault(self) -> bool:
        """True while more neighbouring elements fail in some view than interpolation can bridge."""
        return any(view.fault for view in self._views)

    def health(self) -> DetectorHealth:
        """What has been found so far; elements are counted over all views."""
        return _merged([view.health() for view in self._views], self.columns)

    def unlit(self, low: U16, high: U16) -> Mask | None:
        """Raw lines that no view can see, bool ``[n]``; None when there are none."""
        blind: Mask = np.zeros((len(self._views), len(low)), np.bool_)
        absent: Mask = blind.copy()
        some = False
        self._levels = []
        for k, (view, columns) in enumerate(zip(self._views, self.columns, strict=True)):
            mine = low[:, columns], high[:, columns]
            levels = view.levels(*mine)
            self._levels.append(levels)
            nothing = _nothing(*mine) if len(self._views) > 1 else None
            if nothing is None:
                unlit = view.unlit(*mine, levels)
                if unlit is not None:
                    blind[k], some = unlit, True
                continue
            some = True
            view.disturbed()
            absent[k] = blind[k] = nothing
            there = ~nothing
            if there.any():
                unlit = view.unlit(mine[0][there], mine[1][there], _of(levels, there))
                if unlit is not None:
                    blind[k, np.flatnonzero(there)[unlit]] = True
        self._blind, self._absent = (blind, absent) if some else (None, None)
        dark: Mask | None = np.logical_and.reduce(blind) if some else None
        return dark if dark is not None and dark.any() else None

    def correct(self, low: U16, high: U16, use: Mask | None) -> tuple[U16, U16]:
        """Corrected and repaired lines from raw ones.

        Args:
            low: Raw low-energy lines, of the strip that was last asked about in `unlit`.
            high: The high-energy lines.
            use: Which lines of that strip these are; None for all.
        """
        levels = [_of(of_view, use) for of_view in self._levels]
        if len(self._views) == 1:
            return self._views[0].correct(low, high, levels[0])
        out = np.empty(low.shape, np.uint16), np.empty(high.shape, np.uint16)
        for k, (view, columns) in enumerate(zip(self._views, self.columns, strict=True)):
            blind = self._blind_of(k, use)
            there = None if blind is None else ~blind
            if blind is not None:
                self.blind_lines[k] += int(np.count_nonzero(blind))
                for mine in out:
                    mine[blind, columns] = AIR_COUNTS
            if there is None or there.any():
                rows = slice(None) if there is None else there
                pair = view.correct(low[rows, columns], high[rows, columns], _of(levels[k], there))
                for mine, its in zip(out, pair, strict=True):
                    mine[rows, columns] = its
        return out

    def flaws(self, use: Mask | None) -> list[tuple[slice, Reason | None]]:
        """Runs of lines of that strip, and what is wrong with each: some view is blind there."""
        if self._blind is None or self._absent is None:
            return [(slice(0, None), None)]
        blind, absent = (m if use is None else m[:, use] for m in (self._blind, self._absent))
        kinds = np.logical_or.reduce(blind).astype(np.int8) + np.logical_or.reduce(absent)
        edges = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(kinds)]
        reasons = (None, Reason.DETECTOR_FAULT, Reason.INCOMPLETE_SCAN)
        return [(slice(a, b), reasons[kinds[a]]) for a, b in itertools.pairwise(edges) if a < b]

    @property
    def seeing(self) -> frozenset[int]:
        """Views that see the last line of the strip that was last asked about."""
        views = range(len(self._views))
        return frozenset(k for k in views if self._blind is None or not self._blind[k, -1])

    def seen_again(self, low: U16, high: U16) -> U16:
        """Corrected low-energy lines of places that were scanned before; nothing is learned."""
        parts = []
        for view, columns in zip(self._views, self.columns, strict=True):
            mine = low[:, columns], high[:, columns]
            parts.append(view.seen_again(*mine, view.levels(*mine)))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def idle(self, low: U16, high: U16, use: Mask | None) -> None:
        """Learn from raw lines without a bag, as of `correct`."""
        for k, (view, columns) in enumerate(zip(self._views, self.columns, strict=True)):
            blind = self._blind_of(k, use)
            if blind is not None:
                view.disturbed()
            else:
                view.idle(low[:, columns], high[:, columns], _of(self._levels[k], use))

    def disturbed(self) -> None:
        """A bag is under the beam, or lines are missing: what is near is not learned from."""
        for view in self._views:
            view.disturbed()

    def news(self) -> list[CorrectionNews]:
        """What has become of the corrections since this was last asked."""
        news = [(k, one) for k, view in enumerate(self._views, 1) for one in view.news()]
        if len(self._views) == 1:
            return [one for _, one in news]
        return [_of_view(one, k, self.digest) for k, one in news]

    def _blind_of(self, view: int, use: Mask | None) -> Mask | None:
        """Which of the lines a view does not see, bool ``[n]``; None when it sees all."""
        if self._blind is None:
            return None
        blind = self._blind[view] if use is None else self._blind[view, use]
        return blind if blind.any() else None


def _of(levels: F32 | None, rows: Mask | None) -> F32 | None:
    """The levels of some lines; of all, without a mask."""
    return levels if levels is None or rows is None else levels[:, rows]


def _of_view(news: CorrectionNews, view: int, digest: str) -> CorrectionNews:
    """The same with the view's number, and the digest of all views for its own."""
    fields = news.fields | {"view": view}
    if "sha256" in fields:
        fields["sha256"] = digest
    if "error" in fields:
        fields["error"] = f"view {view}: {fields['error']}"
    return CorrectionNews(news.kind, fields)


def _own(config: FollowConfig, columns: slice) -> tuple[tuple[int, int], ...]:
    """The spans that lie within a view, counted from its first element."""
    return tuple(
        (first - columns.start, last - columns.start)
        for first, last in config.reference
        if columns.start <= first <= last < columns.stop
    )


def _listed(columns: Sequence[slice]) -> str:
    return ", ".join(f"{one.start} to {one.stop - 1}" for one in columns)


def _nothing(low: U16, high: U16) -> Mask | None:
    """Lines that read nothing at all, bool ``[n]``; None when each reads something."""
    # A glance at one element first: where it reads something in every line, that is an answer.
    if low[:, 0].all() or (low[:, ::GLANCE].any(axis=1) | high[:, ::GLANCE].any(axis=1)).all():
        return None
    nothing: Mask = np.logical_not(low.any(axis=1) | high.any(axis=1))
    return nothing if nothing.any() else None


def _merged(health: Sequence[DetectorHealth], columns: Sequence[slice]) -> DetectorHealth:
    """The health of all views as that of one detector."""
    if len(health) == 1:
        return health[0]
    starts = [one.start for one in columns]
    elements = sum(one.elements for one in health)
    both = (0, 1)
    dead = [tuple(s + e for s, h in zip(starts, health, strict=True) for e in h.dead[k])
            for k in both]  # fmt: skip
    failing = [{s + e: n for s, h in zip(starts, health, strict=True)
                for e, n in h.intermittent[k].items()} for k in both]  # fmt: skip
    saturated = [sum(h.saturated_share[k] * h.elements for h in health) / elements for k in both]
    air = [max((h.air[k] for h in health), key=lambda share: abs(share - 1)) for k in both]
    wanted = [f"view {k}: {h.wanted}" for k, h in enumerate(health, 1) if h.wanted]
    return DetectorHealth(
        elements=elements,
        lines=max(h.lines for h in health),
        dead=(dead[0], dead[1]),
        intermittent=(failing[0], failing[1]),
        glitches=(sum(h.glitches[0] for h in health), sum(h.glitches[1] for h in health)),
        saturated_share=(saturated[0], saturated[1]),
        gain_from_saturated_air=any(h.gain_from_saturated_air for h in health),
        fault=any(h.fault for h in health),
        air=(air[0], air[1]),
        version=sum(h.version for h in health),
        wanted="; ".join(wanted),
    )
