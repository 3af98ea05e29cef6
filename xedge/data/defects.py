"""What is wrong with a data set's files, as readers and the verifier say it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from xedge.errors import DataError


class Kind(str, enum.Enum):
    """What kind of defect was found."""

    LAYOUT = "wrong layout"
    MISSING_FILE = "missing file"
    UNREADABLE = "unreadable file"
    NO_DECODE = "does not decode"
    NO_PARSE = "does not parse"
    EMPTY_NAME = "empty name"
    DUPLICATE_NAME = "duplicate name"
    DUPLICATE_IMAGE = "duplicate image"
    UNKNOWN_CLASS = "unknown class"
    BAD_BOX = "bad box"
    OUT_OF_BOUNDS = "box out of bounds"
    WRONG_SIZE = "wrong size"
    LISTS_DISAGREE = "lists disagree"
    NO_ANNOTATION = "image without annotation"
    NO_IMAGE = "annotation without image"
    KNOWN_DEFECT = "known defect"
    CHECKSUM = "checksum"


@dataclass(frozen=True, order=True)
class Finding:
    """One defect.

    Attributes:
        kind: What kind of defect.
        file: The file, as a path inside the set's folder.
        what: What is wrong there: what was expected and what was found.
        lost: True when a reader leaves an image or a box out because of it. Opening a set is
            refused then, unless the caller takes such findings.
    """

    kind: Kind
    file: str
    what: str
    lost: bool = False


Complain = Callable[[Finding], None]
"""Takes what a reader finds while it reads."""


def complaint(skip: Complain | None) -> Complain:
    """What opening a set does with findings: those that lose something raise, or go to ``skip``.

    Args:
        skip: Takes each finding that loses an image or a box; None raises the first.
    """

    def complain(finding: Finding) -> None:
        if not finding.lost:
            return
        if skip is None:
            raise DataError(
                f"{finding.file}: {finding.kind.value}",
                found=finding.what,
                remedy="`xedge data verify` lists every such file; repair them, or have "
                "`xedge train` leave them out with --skip-bad",
            )
        skip(finding)

    return complain
