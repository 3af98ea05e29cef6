"""A bundle with the shipped model's description and no model: for the fake engine."""

import datetime
import socket
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from xedge.bundle import Variant, write_bundle
from xedge.sim import CLASSES
from xedge.spec import Channels, ModelSpec
from xedge.types import AIR_COUNTS

VENDOR = """
import itertools
import numpy as np
from xedge.commands.sources import Feed
from xedge.scanner.flatfield import FlatField
from xedge.types import AIR_COUNTS, Strip

def feed():
    shape = (2, 32)
    flat = FlatField(np.zeros(shape, np.float32), np.ones(shape, np.float32),
                     np.zeros(shape, np.bool_))
    return Feed(strips(), flat, 1 / 0.62)
"""


# A detector of a vendor: 32 elements, a line a millisecond, a bag of 300 lines every 700; every
# second one holds something dense. It never ends when there is no number of bags.
BELT = """
BAGS = {bags}

def strips():
    for number in itertools.count():
        first = 20 * number
        low = np.full((20, 32), AIR_COUNTS, np.uint16)
        bag, place = divmod(first, 700)
        if 400 <= place < 700 and (BAGS is None or bag < BAGS):
            low[:, 6:26] = 40_000
            if bag % 2 and 500 <= place < 560:
                low[:, 10:20] = 5_000
        if BAGS is not None and first >= 700 * BAGS + 400:
            return
        encoder = np.arange(first, first + 20, dtype=np.int64)
        yield Strip(first, encoder, low, low.copy(), (first + 20) * 1_000_000)

def nothing():
    return None
"""


@pytest.fixture(scope="session")
def vendor_module() -> Callable[[str], str]:
    """From the text of a function `strips` to that of a module that feeds them: 32 elements."""
    return lambda strips: VENDOR + strips


@pytest.fixture(scope="session")
def stand_in_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `xedge.engines.fake.FakeEngine` stands in for: its answers need no graph."""
    k = 200
    spec = ModelSpec(
        name="stand-in",
        classes=CLASSES,
        height=416,
        width=416,
        channels=Channels.DUAL_ENERGY,
        binning=2,
        pixel_mm=1.24,
        candidates=k,
    )
    golden = {
        "boxes": np.zeros((1, k, 4), np.float32),
        "scores": np.zeros((1, k), np.float32),
        "labels": np.zeros((1, k), np.int32),
    }
    air = np.full((64, 64), AIR_COUNTS, np.uint16)
    path = tmp_path_factory.mktemp("stand-in") / "stand-in.xedge"
    write_bundle(
        path,
        spec=spec,
        variants={"fp32": Variant(b"no graph", golden)},
        golden_low=air,
        golden_high=air,
        licence="none",
        created=datetime.date(2026, 11, 21),
        measured={"ap50": 0.5, "ap50_OL1": 0.6, "la_off_ap50": 0.4, "la_w_mean": 2.5e-4},
    )
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def lane_file(
    tmp_path: Path, stand_in_bundle: Path, vendor_module: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Path]:  # fmt: skip
    """What writes a lane's file and its source, and returns the file's path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(
        bags: int | None, *, control: str = "", more: str = "", lane: str = "", belt: str = BELT
    ) -> Path:
        name = f"vendor_{uuid.uuid4().hex}"  # a module is imported once in a process
        (tmp_path / f"{name}.py").write_text(vendor_module(belt.format(bags=bags)))
        path = tmp_path / "lane.toml"
        path.write_text(
            f'[lane]\nbundle = "{stand_in_bundle}"\nengine = "fake"\njournal = "lane.journal"\n'
            f'{lane}\n[source]\nkind = "python"\nentry = "{name}:feed"\n'
            f"[control]\nplc_limit_s = 10\nbeat_s = 0.02\npoll_s = 0.01\n{control}\n"
            f'[[bus]]\nkind = "modbus"\nport = {free_port()}\n{more}\n'
        )
        return path

    return write
