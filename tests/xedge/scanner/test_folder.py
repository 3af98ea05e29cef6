"""A watched folder: what is read and when, and that every file gets a decision."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from xedge.errors import ConfigError, ImageError
from xedge.lane import LaneConfig, run_lane
from xedge.scanner.folder import CUTTER, MOST_LINES, FileSeen, FolderSource, plain_flat_field
from xedge.scanner.source import LineSource
from xedge.scanner.windows import WindowPlan
from xedge.types import AIR_COUNTS, U16, Detections, Reason, Verdict

ELEMENTS = 48


def read(path: Path) -> tuple[U16, U16]:
    if path.suffix != ".npy":
        raise ImageError(f"{path} is no picture")
    low = np.load(path, allow_pickle=False)
    return low, low.copy()


def image(path: Path, *, lines: int = 120, width: int = 32, gap: int = 0) -> Path:
    """Two blocks of matter with ``gap`` lines of air between."""
    low = np.full((lines + gap, width), AIR_COUNTS, np.uint16)
    low[10 : lines // 2, 8:24] = low[lines // 2 + gap : -10, 8:24] = 20_000
    np.save(path, low)
    return path


class Watched:
    """A source that closes itself when it has seen so many files."""

    def __init__(self, folder: Path, files: int, **options) -> None:
        self.seen: list[FileSeen] = []
        self._files = files
        self.source = FolderSource(folder, ELEMENTS, read, on_file=self._on_file, line_ns=1000,
                                   settle_s=0.0, poll_s=0.005, **options)  # fmt: skip

    def _on_file(self, seen: FileSeen) -> None:
        self.seen.append(seen)
        if len(self.seen) == self._files:
            self.source.close()

    def screen(self):
        config = LaneConfig(
            pitch_mm=1.0, counts_per_mm=1.0, deadline_counts=1 << 40, bag_limit_s=600.0,
            cutter=CUTTER, windows=WindowPlan(64, 16, 2), max_queued_windows=100,
        )  # fmt: skip
        return run_lane(self.source, lambda planes: Detections.empty(),
                        plain_flat_field(ELEMENTS), config)  # fmt: skip


def test_every_file_gets_one_decision_whatever_is_in_it(tmp_path: Path) -> None:
    image(tmp_path / "a.npy")
    image(tmp_path / "b.npy", gap=400)  # which would be two bags on a belt
    (tmp_path / "c.jpg").write_bytes(b"no picture")
    np.save(tmp_path / "d.npy", np.zeros((MOST_LINES + 1, 8), np.uint16))
    np.save(tmp_path / "e.npy", np.zeros((8, ELEMENTS + 1), np.uint16))
    (tmp_path / "f.npy").write_bytes(b"")
    watched = Watched(tmp_path, 6)
    report = watched.screen()
    names = [seen.path.name for seen in watched.seen]
    assert sorted(names) == ["a.npy", "b.npy", "c.jpg", "d.npy", "e.npy", "f.npy"]
    verdicts = {
        seen.path.name[0]: (decision.verdict, decision.reason)
        for seen, decision in zip(watched.seen, report.decisions, strict=True)
    }
    clear, bad = (Verdict.CLEAR, Reason.NONE), (Verdict.NOT_CLEARED, Reason.BAD_LINES)
    assert verdicts == {"a": clear, "b": clear, "c": bad, "d": bad, "e": bad, "f": bad}
    for seen, decision in zip(watched.seen, report.decisions, strict=True):
        assert seen.first_encoder - 16 <= decision.encoder_head <= seen.last_encoder
        assert decision.encoder_tail <= seen.last_encoder
    assert (watched.source.taken, watched.source.refused) == (2, 4)
    assert report.ledger.balanced
    assert sorted(p.name for p in (tmp_path / "taken").iterdir()) == ["a.npy", "b.npy"]
    assert len(list((tmp_path / "refused").iterdir())) == 4


def test_an_image_of_air_is_counted_as_empty(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((40, 20), AIR_COUNTS, np.uint16))
    watched = Watched(tmp_path, 1)
    assert watched.screen().decisions == ()
    assert (watched.source.taken, watched.source.empty) == (1, 1)


def test_a_file_that_grows_is_left_until_it_stands_still(tmp_path: Path) -> None:
    source = FolderSource(tmp_path, ELEMENTS, read, settle_s=1.0)
    path = image(tmp_path / "a.npy")
    (tmp_path / ".hidden.npy").write_bytes(b"x")
    (tmp_path / "b.npy.part").write_bytes(b"x")
    s = 1_000_000_000
    assert source._ready(0) == []
    with path.open("ab") as file:
        file.write(b"more")
    assert source._ready(2 * s) == []  # it has changed: it is waited for anew
    assert source._ready(2 * s + s // 2) == []
    assert source._ready(3 * s) == [(path,)]


def test_half_a_pair_waits_for_the_other_half_and_is_refused_in_the_end(tmp_path: Path) -> None:
    low, high = tmp_path / "a_low.npy", tmp_path / "a_high.npy"
    source = FolderSource(tmp_path, ELEMENTS, read, parts=lambda path: (low, high), settle_s=1.0)
    image(low)
    s = 1_000_000_000
    assert source._ready(0) == source._ready(9 * s) == []
    image(high)
    assert source._ready(9 * s + 1) == []
    assert source._ready(10 * s + 1) == [(low, high)]  # once, as one image
    high.unlink()
    assert source._ready(20 * s) == [(low, high)]  # it came alone: whoever reads it says so


def test_files_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for _ in range(3):
        image(tmp_path / "a.npy")
        Watched(tmp_path, 1).screen()
    assert sorted(p.name for p in (tmp_path / "taken").iterdir()) == [
        "a.1.npy", "a.2.npy", "a.npy",
    ]  # fmt: skip


def test_bags_are_paced_like_a_belt(tmp_path: Path) -> None:
    image(tmp_path / "a.npy")
    source = FolderSource(tmp_path, ELEMENTS, read, line_ns=1_000_000, settle_s=0.0, poll_s=0.0,
                          on_file=lambda seen: source.close())  # fmt: skip
    begun_ns = time.monotonic_ns()
    assert isinstance(source, LineSource)
    times = [strip.captured_ns for strip in source]
    assert times == sorted(times)
    assert times[-1] - begun_ns >= 120 * 1_000_000


def test_close_ends_a_source_that_waits(tmp_path: Path) -> None:
    source = FolderSource(tmp_path, ELEMENTS, read)
    thread = threading.Thread(target=lambda: list(source))
    thread.start()
    source.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be watched"):
        FolderSource(tmp_path / "none", ELEMENTS, read)
