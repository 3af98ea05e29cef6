"""The books of a lane: every line and every bag that came in is accounted for."""

from __future__ import annotations

from dataclasses import dataclass, field

from xedge.scanner.intake import Refusal


@dataclass
class Ledger:
    """Lines in = lines in bags + lines of air + lines held + lines refused by cause.

    Attributes:
        lines_in: Lines that the source gave, whatever became of them.
        bag_lines: Lines that are part of a bag's scan.
        gap_lines: Lines of air between bags.
        held_lines: Lines that are not settled yet; 0 at the end.
        refused_lines: Lines that were not used, by cause.
        missing_lines: Lines that never came, by the detector's counter; not part of `lines_in`.
        bags_in: Bags that began.
        decisions: Decisions made.
        open_bags: Bags that are not decided yet; 0 at the end.
        blind_lines: Of the lines in bags and air, those that a view did not see, by view; of a
            detector with one view 0.
    """

    lines_in: int = 0
    bag_lines: int = 0
    gap_lines: int = 0
    held_lines: int = 0
    refused_lines: dict[Refusal, int] = field(default_factory=dict)
    missing_lines: int = 0
    bags_in: int = 0
    decisions: int = 0
    open_bags: int = 0
    blind_lines: tuple[int, ...] = ()

    def refuse(self, refused: dict[Refusal, int]) -> None:
        """Count lines that are not used."""
        for cause, lines in refused.items():
            self.refused_lines[cause] = self.refused_lines.get(cause, 0) + lines

    @property
    def lines_balance(self) -> bool:
        """True when every line that came in is accounted for."""
        used = self.bag_lines + self.gap_lines + self.held_lines
        seen = all(0 <= blind <= used for blind in self.blind_lines)
        return seen and self.lines_in == used + sum(self.refused_lines.values())

    @property
    def bags_balance(self) -> bool:
        """True when every bag is either open or has its one decision."""
        return self.bags_in == self.decisions + self.open_bags

    @property
    def balanced(self) -> bool:
        """True when lines and bags are all accounted for."""
        return self.lines_balance and self.bags_balance

    def to_dict(self) -> dict[str, int | bool | dict[str, int] | list[int]]:
        """The books as JSON values."""
        views = {"blind_lines": list(self.blind_lines)} if len(self.blind_lines) > 1 else {}
        return {
            **views,
            "lines_in": self.lines_in,
            "bag_lines": self.bag_lines,
            "gap_lines": self.gap_lines,
            "held_lines": self.held_lines,
            "refused_lines": {cause.value: n for cause, n in sorted(self.refused_lines.items())},
            "missing_lines": self.missing_lines,
            "bags_in": self.bags_in,
            "decisions": self.decisions,
            "open_bags": self.open_bags,
            "balanced": self.balanced,
        }
