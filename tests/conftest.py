"""What all tests share: where the real scans are, and how hypothesis behaves."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# A slow machine must not fail a property that holds.
hypothesis.settings.register_profile("xedge", deadline=None)
hypothesis.settings.load_profile("xedge")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real scans (`dual-energy-lab/`, `sixray-real/`); tests without it are skipped."""
    folder = os.environ.get("XEDGE_DATA", "")
    if not folder:
        pytest.skip("XEDGE_DATA does not name a folder with real scans")
    if not (Path(folder) / "dual-energy-lab").is_dir():
        pytest.fail(f"XEDGE_DATA={folder} has no dual-energy-lab in it")
    return Path(folder)
