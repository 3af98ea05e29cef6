"""Which code runs: followed through a checkout of the test's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import xedge
from xedge.provenance import CodeVersion, code_version, installed_versions

PACKAGED = CodeVersion(f"xedge {xedge.__version__}", dirty=False)


def git(folder: Path, *args: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, *args], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_code_version_follows_the_checkout(tmp_path: Path) -> None:
    package = tmp_path / "xedge"
    package.mkdir()
    assert code_version(package) == PACKAGED  # no checkout
    git(tmp_path, "init", "-q")
    assert code_version(package) == PACKAGED  # no commit
    (package / "a.py").write_text("1")
    git(tmp_path, "add", "xedge/a.py")
    git(tmp_path, "commit", "-qm", "one")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert code_version(package) == CodeVersion(head, dirty=False)
    (package / "a.py").write_text("2")
    assert code_version(package) == CodeVersion(head, dirty=True)
    assert str(code_version(package)) == f"{head[:12]} with uncommitted changes"


def test_a_record_does_not_taint_the_next_but_a_new_module_does(tmp_path: Path) -> None:
    package = tmp_path / "xedge"
    package.mkdir()
    (package / "a.py").write_text("1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "xedge/a.py")
    git(tmp_path, "commit", "-qm", "one")
    records = tmp_path / "benchmarks" / "results" / "machine"
    records.mkdir(parents=True)
    (records / "record.json").write_text("{}")
    assert not code_version(package).dirty
    (package / "b.py").write_text("2")
    assert code_version(package).dirty


def test_absent_packages_are_left_out() -> None:
    versions = installed_versions(["numpy", "no-such-distribution"])
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert set(versions) == {"python", "numpy"}
