"""The documentation's marked commands run, in order, in one folder; its links lead somewhere.

A fenced block of ``sh`` or ``python`` is run when the line before it is ``<!-- test -->``. The
blocks of one page share a temporary folder, so that one can use what another wrote.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PAGES: Final = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "*/README.md", "benchmarks/**/*.md")
    for path in ROOT.glob(pattern)
    if not {".venv", "demo", "runs"} & set(path.relative_to(ROOT).parts)
)
BLOCK: Final = re.compile(
    r"^<!-- test -->\n```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK: Final = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    code: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, m.start()) + 2, m["language"], m["code"])
        for m in BLOCK.finditer(text)
    ]


def heading_anchors(text: str) -> set[str]:
    """Anchors as GitHub makes them: lower case, punctuation dropped, spaces to dashes."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def run_block(block: Block, folder: Path) -> None:
    command = {"sh": ["sh", "-eu", "-c"], "python": [sys.executable, "-W", "error", "-c"]}
    assert block.language in command, f"line {block.line}: a marked block of {block.language}"
    # The commands of this environment come first, as after activating it.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [*command[block.language], block.code],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    where = f"{block.page.relative_to(ROOT)}, line {block.line}"
    assert done.returncode == 0, f"{where}:\n{block.code}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.name)
def test_marked_blocks_run(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        run_block(block, tmp_path)


def test_the_readme_has_blocks_that_run() -> None:
    assert blocks(ROOT / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    # A fragment becomes a line of CHANGELOG.md, in the root.
    fragment = page.parent.name == "changelog.d" and page.name != "README.md"
    folder = ROOT if fragment else page.parent
    broken = []
    for link in (match[1] or match[2] for match in LINK.finditer(text)):
        target, _, anchor = link.partition("#")
        if target.startswith(("http://", "https://", "mailto:")):
            continue  # no test depends on a network
        file = (folder / target).resolve() if target else page
        if not file.exists() or (
            anchor and file.suffix == ".md" and anchor not in heading_anchors(file.read_text())
        ):
            broken.append(link)
    assert broken == []
