"""A bundle with the shipped model's description and no model: for the fake engine."""

import datetime
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
