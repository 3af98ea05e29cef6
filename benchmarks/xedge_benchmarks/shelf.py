"""Exporting a large model takes longer than timing it, so graphs can be kept in a folder.

A file is named after the commit that made it, and one of other code is not taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xedge.provenance import code_version


@dataclass(frozen=True)
class Shelf:
    """Where graphs are kept.

    Attributes:
        folder: None keeps none.
    """

    folder: Path | None = None

    def take(self, name: str, make: Callable[[], bytes]) -> bytes:
        """A graph by its name, from the folder or made."""
        code = code_version()
        if self.folder is None or code.dirty:
            return make()
        path = self.folder / f"{name}-{code.commit[:12].replace(' ', '-')}.onnx"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make())
        return path.read_bytes()
