"""The DICOS files of a lane that runs as a service."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from xedge.commands.lanefile import LaneFile
from xedge.commands.sources import Feed
from xedge.control.dicos.bag import DicosArchive, DicosFolder
from xedge.control.dicos.document import Origin
from xedge.control.dicos.machine import DicosMachine
from xedge.control.dicos.report import Screener
from xedge.errors import ConfigError
from xedge.scanner.sidebyside import views_of
from xedge.spec import ModelSpec


def open_archive(
    file: LaneFile, feed: Feed, spec: ModelSpec, threshold: float, epoch: int
) -> DicosArchive | None:
    """What writes the files of every bag, in a thread of its own; None when none are asked for.

    They go to ``folder/<start>-<epoch>``: bags count from one at every start, and no file is ever
    replaced.

    Args:
        file: The lane's file.
        feed: Where the lines come from.
        spec: The model.
        threshold: Score of an ALARM.
        epoch: This start, as the decision image has it.

    Raises:
        ConfigError: When the description of the machine cannot be used.
        DicosError: When pydicom is absent.
    """
    if file.dicos.folder is None:
        return None
    start = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return DicosArchive(
        DicosFolder(
            file.dicos.folder / f"{start}-{epoch:08x}",
            described_machine(file, feed),
            Screener(spec.classes, threshold, spec.name),
            Origin.SYNTHETIC if feed.simulated else Origin.MACHINE,
        )
    )


def described_machine(file: LaneFile, feed: Feed) -> DicosMachine:
    """The machine as the files of a lane describe it.

    Raises:
        ConfigError: When its description cannot be used, or the lane has several views.
    """
    if len(views_of(feed.flat_field)) > 1:  # one image would show them side by side
        raise ConfigError("a lane with several views writes no DICOS files",
                          remedy="Take folder out of [dicos]")  # fmt: skip
    machine = DicosMachine(counts_per_mm=feed.counts_per_mm)
    return machine if file.dicos.machine is None else machine.with_toml(file.dicos.machine)


def left_out(archive: DicosArchive | None) -> Iterable[str]:
    """What is to be said of bags without files, behind the end of an archive."""
    if archive is None:
        return
    if archive.dropped:
        yield f"{archive.dropped} bags have no DICOS files: the disk was too slow"
    yield from (f"no DICOS files: {error}" for error in archive.errors)
