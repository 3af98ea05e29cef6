"""What all tests share: the real scans, the programs that must be there, hypothesis' behaviour.

A test that needs a program skips with a reason that begins "needs NAME". The variable XEDGE_REQUIRE
lists names, with commas, whose absence is a failure instead: `.ci/run` names what it installs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from html.parser import HTMLParser
from pathlib import Path

import hypothesis
import pytest

# A slow machine must not fail a property that holds.
hypothesis.settings.register_profile("xedge", deadline=None)
hypothesis.settings.load_profile("xedge")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The report, a failure where what is required was missing."""
    report = yield
    if report.skipped and call.excinfo is not None:
        needed = re.match(r"needs ([\w.-]+)", str(call.excinfo.value))
        if needed and needed[1] in os.environ.get("XEDGE_REQUIRE", "").split(","):
            report.outcome = "failed"
            report.longrepr = f"{call.excinfo.value}: and XEDGE_REQUIRE says that it must be there"
    return report


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """Engines that tests build are kept apart from the user's."""
    folder = tmp_path_factory.mktemp("cache") / "engines"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XEDGE_CACHE", str(folder))
        yield folder


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


VOID = {"meta", "img", "input", "br", "rect", "line"}


class Page(HTMLParser):
    """Elements of a page, and whether they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="session")
def read_page() -> type[Page]:
    """What takes an HTML page apart, and fails where elements do not nest."""
    return Page
