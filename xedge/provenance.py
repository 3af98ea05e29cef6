"""Which code runs: what a result names so that it can be traced."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import xedge

_CODE = (".", ":(exclude)benchmarks/results")
"""All files but the records of measurements, which are no code: one must not taint the next."""


@dataclass(frozen=True)
class CodeVersion:
    """The code that runs.

    Attributes:
        commit: Commit of the checkout, 40 hex digits; outside a checkout the package's version.
        dirty: True when files of the checkout differ from that commit.
    """

    commit: str
    dirty: bool

    def __str__(self) -> str:
        short = self.commit[:12] if len(self.commit) == 40 else self.commit
        return f"{short} with uncommitted changes" if self.dirty else short


def code_version(package: Path | None = None) -> CodeVersion:
    """The commit of the checkout that the package runs from, or its version.

    Args:
        package: Folder of the package; None takes that of xedge.
    """
    root = (package or Path(xedge.__file__).resolve().parent).parent
    if (root / ".git").exists():
        try:
            commit = _git(root, "rev-parse", "HEAD")
            return CodeVersion(commit, bool(_git(root, "status", "--porcelain", "--", *_CODE)))
        except (OSError, subprocess.SubprocessError):  # no git here, or no commit yet
            pass
    return CodeVersion(f"xedge {xedge.__version__}", False)


def installed_versions(distributions: Iterable[str]) -> dict[str, str]:
    """Version of Python and of each of the distributions that is installed."""
    versions = {"python": sys.version.partition(" ")[0]}
    for name in distributions:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _git(root: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", *args], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()
