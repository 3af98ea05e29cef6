"""A folder in which image files appear, as a source: one bag a file.

Plain polling, no library: network shares send no events, and a look a fifth of a second is enough.

**When a file is read.** Best is to write it under a name that begins with a dot, or ends in
``.part`` or ``.tmp``, and rename it: those are left alone. Any other file is read when its size and
time have not changed for ``settle_s``; the halves of a pair when both have not.

**What becomes of it.** Once its lines are handed over it is moved to the sub-folder ``taken``. What
cannot be read goes to ``refused``, is counted and named, and passes the lane as a bag of its own:
opaque, with a damaged strip in it, so that its decision is not CLEAR. What is moved is never read
again; a process that is killed before it moved a file reads that file again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from xedge.errors import ConfigError, InputError, LineError
from xedge.scanner.cutter import CutterConfig
from xedge.scanner.flatfield import FlatField
from xedge.scanner.source import Source
from xedge.types import AIR_COUNTS, U16, Strip

Reader = Callable[[Path], tuple[U16, U16]]
"""Corrected counts (low, high) out of a file; raises `InputError`."""

MOST_LINES: Final = 1600
"""A longer image is refused: it is no bag."""

CUTTER: Final = CutterConfig(min_gap_lines=MOST_LINES, max_bag_lines=2 * MOST_LINES)
"""With it no gap inside an image ends its bag."""

STRIP_LINES: Final = 64
LONE_S: Final = 10.0
"""How long half a pair waits for the other half."""

_UNFINISHED: Final = (".part", ".tmp", ".crdownload", ".filepart")


@dataclass(frozen=True)
class FileSeen:
    """What became of one file.

    Attributes:
        path: Where it was found.
        first_encoder: Encoder counts at the first line of its bag.
        last_encoder: Encoder counts at the last one.
        error: Why it was refused; empty when it was taken.
    """

    path: Path
    first_encoder: int
    last_encoder: int
    error: str = ""


def plain_flat_field(elements: int) -> FlatField:
    """The correction of images, whose counts are corrected already: none."""
    shape = (2, elements)
    return FlatField(
        np.zeros(shape, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.bool_)
    )


class FolderSource(Source):
    """The image files of a folder as bags on a belt; ends when it is closed. One count is one line.

    Args:
        folder: The folder.
        elements: Elements of a line; narrower images are put in the middle, among air.
        read: What reads an image.
        parts: All files of the image that a file belongs to, there or not: two for a pair.
        on_file: Called with each file that was taken or refused, before its lines come.
        line_ns: Nanoseconds from line to line, which pace the bags.
        settle_s: Seconds that a file must not have changed for.
        poll_s: Seconds between two looks.

    Attributes:
        taken: Images that became bags.
        refused: Images that could not be read.
        empty: Images of nothing but air: taken, and no lane will decide on them.

    Raises:
        ConfigError: When there is no such folder, or nothing can be moved in it.
    """

    live = True

    def __init__(
        self,
        folder: Path,
        elements: int,
        read: Reader,
        *,
        parts: Callable[[Path], tuple[Path, ...]] = lambda path: (path,),
        on_file: Callable[[FileSeen], None] = lambda seen: None,
        line_ns: int = 1_240_000,
        settle_s: float = 1.0,
        poll_s: float = 0.2,
    ) -> None:
        self._folder, self.elements, self._read = folder, elements, read
        self._parts, self._on_file = parts, on_file
        self._line_ns, self._settle_ns, self._poll_s = line_ns, int(settle_s * 1e9), poll_s
        self._sizes: dict[Path, tuple[tuple[int, int], int]] = {}
        self._stuck: set[Path] = set()
        self._stop = threading.Event()
        self._line = 0
        self._due_ns = 0
        self.taken = self.refused = self.empty = 0
        try:
            for name in ("taken", "refused"):
                (folder / name).mkdir(exist_ok=True)
                if not os.access(folder / name, os.W_OK):
                    raise PermissionError(0, "no right to write in it")
        except OSError as error:
            raise ConfigError(
                f"the folder {folder} cannot be watched", found=error.strerror or "",
                expected="a folder in which files may be moved",
            ) from error  # fmt: skip

    def close(self) -> None:
        """Look no more, also from another thread; safe to call twice."""
        self._stop.set()

    def __iter__(self) -> Iterator[Strip]:
        while not self._stop.is_set():
            files = self._ready(time.monotonic_ns())
            for parts in files:
                yield from self._bag(parts)
                if self._stop.is_set():
                    return
            if not files:
                self._stop.wait(self._poll_s)

    def _ready(self, now_ns: int) -> list[tuple[Path, ...]]:
        """Images that can be read, the oldest first; each as the files it consists of."""
        states: dict[Path, tuple[tuple[int, int], int]] = {}
        try:
            entries = list(os.scandir(self._folder))
        except OSError:
            return []  # a share that is away for a moment
        for entry in entries:
            name = entry.name
            try:
                if name.startswith(".") or name.endswith(_UNFINISHED) or not entry.is_file():
                    continue
                about = entry.stat()
            except OSError:
                continue  # it was taken away
            path, state = self._folder / name, (about.st_size, about.st_mtime_ns)
            old = self._sizes.get(path)
            states[path] = old if old is not None and old[0] == state else (state, now_ns)
        self._sizes = states
        self._stuck &= states.keys()
        images = {self._parts(path) for path in states.keys() - self._stuck}
        ready = []
        for parts in images:
            there = [states[part] for part in parts if part in states]
            least_ns = self._settle_ns if len(there) == len(parts) else int(LONE_S * 1e9)
            if now_ns - max(since for _, since in there) >= least_ns:
                ready.append((min(state[1] for state, _ in there), parts))
        return [parts for _, parts in sorted(ready)]

    def _bag(self, parts: tuple[Path, ...]) -> Iterator[Strip]:
        """The lines of one image, and the air behind it."""
        error, path = "", next(part for part in parts if part in self._sizes)
        try:
            low, high = self._placed(*self._read(path))
        except (InputError, ConfigError, OSError, MemoryError) as raised:
            error = " ".join(str(raised).split()) or type(raised).__name__
        except Exception as raised:  # a decoder that does not know its own file: not our end
            error = f"{type(raised).__name__}: {raised}"
        if error:
            self.refused += 1
            blocks = [(self._opaque(), self._opaque(), whole) for whole in (True, False, True)]
        else:
            self.taken += 1
            self.empty += int(low.min()) >= CUTTER.begin_level * AIR_COUNTS
            cuts = range(0, len(low), STRIP_LINES)
            blocks = [(low[k : k + STRIP_LINES], high[k : k + STRIP_LINES], True) for k in cuts]
        if not self._line:  # a lane calls what lies under the beam at its start incomplete
            yield from self._air()
        first, lines = self._line, sum(len(block) for block, _, _ in blocks)
        self._on_file(FileSeen(path, first, first + lines - 1, error))
        for block_low, block_high, intact in blocks:
            yield self._strip(block_low, block_high, intact)
        yield from self._air()
        self._move(parts, "refused" if error else "taken")

    def _placed(self, low: U16, high: U16) -> tuple[U16, U16]:
        lines, width = low.shape
        if width > self.elements or lines > MOST_LINES:
            raise LineError("the image does not fit the belt", found=f"{width} x {lines}",
                            expected=f"at most {self.elements} elements x {MOST_LINES} lines",
                            remedy="Check the size of a pixel, or crop it")  # fmt: skip
        out = np.full((2, lines, self.elements), AIR_COUNTS, np.uint16)
        left = (self.elements - width) // 2
        out[0, :, left : left + width], out[1, :, left : left + width] = low, high
        return out[0], out[1]

    def _opaque(self) -> U16:
        counts = np.full((16, self.elements), AIR_COUNTS, np.uint16)
        counts[:, self.elements // 4 : -(self.elements // 4) or None] = 0
        return counts

    def _air(self) -> Iterator[Strip]:
        """The gap behind a bag; it takes no longer than the shortest one."""
        counts = np.full((MOST_LINES + CUTTER.margin_lines, self.elements), AIR_COUNTS, np.uint16)
        yield self._strip(counts, counts, True, paced=1)

    def _strip(self, low: U16, high: U16, intact: bool, *, paced: int = 0) -> Strip:
        # Not before its turn, and not in a burst after a pause.
        begin_ns = max(self._due_ns, time.monotonic_ns())
        self._due_ns = begin_ns + (paced or len(low)) * self._line_ns
        encoder = np.arange(self._line, self._line + len(low), dtype=np.int64)
        strip = Strip(self._line, encoder, low, high, self._due_ns, intact)
        self._line += len(low)
        return strip

    def _move(self, parts: tuple[Path, ...], where: str) -> None:
        for part in parts:
            target, number = self._folder / where / part.name, 1
            while target.exists():
                target = self._folder / where / f"{part.stem}.{number}{part.suffix}"
                number += 1
            try:
                part.rename(target)
            except FileNotFoundError:
                continue  # the other half, or it was taken away
            except OSError:  # it cannot be moved, and must not come again and again
                self._stuck.add(part)
