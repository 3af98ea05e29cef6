"""Where a bundle may be written to is said before the work for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from xedge.commands.bundle_options import refuse_output
from xedge.errors import ConfigError


def test_an_output_needs_a_name_that_says_something_and_a_folder(tmp_path: Path) -> None:
    refuse_output(tmp_path / "new.xedge")
    refuse_output(Path("new.xedge"))
    with pytest.raises(ConfigError, match=r"expected FILE\.xedge, found .*new\.onnx"):
        refuse_output(tmp_path / "new.onnx")
    with pytest.raises(ConfigError, match=r"no folder to write to: found .*nowhere\. Make it"):
        refuse_output(tmp_path / "nowhere" / "new.xedge")
