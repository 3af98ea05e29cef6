from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from xedge.train.shipped import about, shipped_recipes, size_of


def test_every_recipe_says_what_it_is() -> None:
    paths = shipped_recipes()
    assert {"atss-tiny", "atss-la-r18half"} <= {path.stem for path in paths}
    assert all(about(path) for path in paths)
    assert not [path for path in paths if path.name.startswith("_")]
    assert [path.stem for path in paths] == sorted(path.stem for path in paths)


def test_a_comment_of_several_lines_is_one(tmp_path: Path) -> None:
    path = tmp_path / "some-tiny.toml"
    path.write_text("# One thing\n# and another.\n\n# not this\nname = 'x'\n")
    assert about(path) == "One thing and another."
    assert size_of(path) == "tiny"
    assert size_of(tmp_path / "some.toml") == "full"


def test_listing_names_needs_no_torch() -> None:
    code = (
        "import sys; from xedge.train.command import train; "
        "train(['--list'], standalone_mode=False); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "atss-tiny" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"
