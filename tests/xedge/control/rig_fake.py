"""The rig of the shipped fake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from xedge.control.fake import FakeBus, FakePlc, FakePort


@contextmanager
def fake(tmp_path: Path) -> Iterator[SimpleNamespace]:
    plc = FakePlc()
    # bus: not connected. port: connected. serves: True where the lane's end is the server, so that
    # writing works without a PLC. secrets: strings that no message may hold.
    yield SimpleNamespace(bus=FakeBus(plc), port=FakePort(plc), serves=False, secrets=())


RIGS = {"fake": fake}
