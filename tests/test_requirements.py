"""Skips that are allowed on a desk are failures where XEDGE_REQUIRE forbids them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPING = """
import pytest

@pytest.fixture
def broker():
    pytest.skip("needs mosquitto (on Debian: apt-get install mosquitto)")

def test_in_a_fixture(broker): ...

def test_itself():
    pytest.skip("needs mosquitto")

def test_of_something_else():
    pytest.skip("needs a moon")
"""


@pytest.mark.parametrize(
    ("required", "outcome"),
    [("mosquitto2,mosq", "3 skipped"), ("mbpoll,mosquitto", "1 skipped")],
)
def test_a_missing_program_fails_only_where_it_is_required(
    tmp_path: Path, repository: Path, required: str, outcome: str
) -> None:
    shutil.copy(repository / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), "-p", "no:cacheprovider",
         str(tmp_path)],
        env=os.environ | {"XEDGE_REQUIRE": required}, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert outcome in done.stdout
    assert (done.returncode == 1) == ("1 skipped" in outcome), done.stdout
    assert ("XEDGE_REQUIRE says" in done.stdout) == (done.returncode == 1)
