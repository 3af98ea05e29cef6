"""The words of DICOS v03 (NEMA IIC 1), and which of them each of xedge's reasons becomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from xedge.types import Reason

ABORT_REASONS: Final = frozenset({
    "OVERSIZE_BAG", "CLIPPED_BAG", "INCOMPLETE_SCAN", "FAILED_RECON", "TIMEOUT", "NOT_REVIEWED",
    "UNKNOWN_DATATYPE", "USER_INTERRUPT", "OUT_OF_BOUNDS",
})  # fmt: skip
"""Words of Abort Reason (4010,1021): readers refuse a report with any other."""

SUCCESSFUL: Final = "SUCCESSFUL"
OVERSIZE: Final = "OVERSIZE"
INCOMPLETE: Final = "INCOMPLETE"
SLIP: Final = "SLIP"


@dataclass(frozen=True)
class Words:
    """What a reason is called in a file.

    Attributes:
        abort: Abort Reason (4010,1021) of the report, one of `ABORT_REASONS`.
        acquisition: Acquisition Status (4010,1044) of images and report.
        why: Why these words, a phrase.
    """

    abort: str
    acquisition: str
    why: str


WORDS: Final[Mapping[Reason, Words]] = MappingProxyType(
    {
        Reason.TIMEOUT: Words("TIMEOUT", INCOMPLETE, "its own word; lines may be missing behind"),
        Reason.USER_INTERRUPT: Words("USER_INTERRUPT", INCOMPLETE, "its own word"),
        Reason.OVERLOAD: Words("NOT_REVIEWED", INCOMPLETE, "windows or lines were never looked at"),
        Reason.ENGINE_FAILED: Words(
            "NOT_REVIEWED", SUCCESSFUL, "the scan is sound, and the model did not look at all of it"
        ),
        Reason.CONTROL_LOST: Words(
            "NOT_REVIEWED", SUCCESSFUL, "nobody was there to be told what the review found"
        ),
        Reason.DETECTOR_FAULT: Words(
            "FAILED_RECON", INCOMPLETE, "the counts do not make an image that can be screened"
        ),
        Reason.BELT_REVERSED: Words(
            "OUT_OF_BOUNDS", SLIP, "the bag is not where its scan says that it is"
        ),
        Reason.BAD_LINES: Words("INCOMPLETE_SCAN", INCOMPLETE, "damaged lines left a hole"),
        Reason.INCOMPLETE_SCAN: Words("INCOMPLETE_SCAN", INCOMPLETE, "its own word"),
        Reason.OVERSIZE_BAG: Words("OVERSIZE_BAG", OVERSIZE, "its own word"),
        Reason.CLIPPED_BAG: Words("CLIPPED_BAG", INCOMPLETE, "its own word"),
        Reason.NONE: Words("NOT_REVIEWED", SUCCESSFUL, "not cleared, and nobody said why"),
    }
)
"""Every reason of xedge, the gravest first; the standard has no words for faults of machines."""


def abort_reasons(reasons: Iterable[Reason]) -> tuple[str, ...]:
    """The words for ``reasons``, each once, the gravest first; none for no reason.

    >>> abort_reasons({Reason.CLIPPED_BAG, Reason.OVERLOAD, Reason.ENGINE_FAILED})
    ('NOT_REVIEWED', 'CLIPPED_BAG')
    """
    given = set(reasons)
    return tuple(dict.fromkeys(words.abort for reason, words in WORDS.items() if reason in given))


def acquisition_status(reasons: Iterable[Reason]) -> str:
    """What the reasons say of the scan as an image: the worst of the words.

    >>> acquisition_status({Reason.ENGINE_FAILED}), acquisition_status({Reason.BAD_LINES})
    ('SUCCESSFUL', 'INCOMPLETE')
    """
    given = {WORDS[reason].acquisition for reason in reasons}
    return next((word for word in (INCOMPLETE, SLIP, OVERSIZE) if word in given), SUCCESSFUL)
