"""Faults of detector, encoder, tube and clock, as they show in the strips of a source.

Each fault strikes a `Tape`: it takes strips from it, yields what the lane is to get instead,
and writes down what must come of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from xedge.scanner.intake import Refusal
from xedge.sim.faults.tape import Tape, Touch, with_encoder
from xedge.types import U16, Reason, Strip

HOLE: Final = frozenset({Reason.INCOMPLETE_SCAN})
BAD: Final = frozenset({Reason.BAD_LINES})
LATE: Final = frozenset({Reason.TIMEOUT})
BEHIND: Final = frozenset({Reason.TIMEOUT, Reason.OVERLOAD})
DETECTOR: Final = frozenset({Reason.DETECTOR_FAULT, Reason.OVERSIZE_BAG, Reason.CLIPPED_BAG})
SCAN: Final = HOLE | BAD

DARK_COUNTS: Final = 900
"""What an element of the simulated scanner reads without X-rays."""

BURST_STRIPS: Final = 40

Strike = Callable[[Tape, np.random.Generator], Iterator[Strip]]


@dataclass(frozen=True)
class LineFault:
    """A fault of the lines.

    Attributes:
        name: Its name on the command line.
        what: What happens, a clause.
        then: What the lane must do about it, a clause.
        strike: What makes it happen once.
        strips: Strips of one bag that it wants ahead.
    """

    name: str
    what: str
    then: str
    strike: Strike
    strips: int = 4


def _drop(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    lost = list(tape.take_some(int(rng.integers(1, 4))))
    if lost and (behind := tape.take()) is not None:  # without more lines nobody can miss them
        tape.expected.missing += sum(map(len, lost))
        tape.touch("dropped", int(lost[0].encoder[0]), int(lost[-1].encoder[-1]), HOLE)
        yield behind


def _duplicate(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    del rng
    if (strip := tape.take()) is not None:
        tape.refuse(Refusal.REPEATED, len(strip))
        tape.touch("duplicated", int(strip.encoder[0]), int(strip.encoder[-1]), BAD)
        yield from (strip, strip)


def _reorder(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    del rng
    pair = list(tape.take_some(2))
    if len(pair) == 2:
        tape.expected.missing += len(pair[0])
        tape.refuse(Refusal.REPEATED, len(pair[0]))
        tape.touch("reordered", int(pair[0].encoder[0]), int(pair[1].encoder[-1]), SCAN)
    yield from reversed(pair)


def _corrupt(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    if (strip := tape.take()) is not None:
        low, high = (_noise(strip.low.shape, rng) for _ in range(2))
        tape.refuse(Refusal.DAMAGED, len(strip))
        tape.touch("corrupted", int(strip.encoder[0]), int(strip.encoder[-1]), BAD)
        # The counters of damaged lines are as wrong as their samples.
        yield Strip(int(rng.integers(0, 2**40)), rng.integers(0, 2**40, len(strip)), low, high,
                    strip.captured_ns, intact=False)  # fmt: skip


def _narrow(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    if (strip := tape.take()) is not None:
        wide = strip.elements - int(rng.integers(1, strip.elements))
        tape.refuse(Refusal.WRONG_WIDTH, len(strip))
        tape.touch("wrong-width", int(strip.encoder[0]), int(strip.encoder[-1]), BAD)
        yield replace(strip, low=strip.low[:, :wide], high=strip.high[:, :wide])


def _restart(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    del rng
    tape.restart_counter()
    if (strip := tape.take()) is not None:
        tape.refuse(Refusal.REPEATED, len(strip))
        tape.touch("restarted", int(strip.encoder[0]), int(strip.encoder[-1]), BAD)
        yield strip


def _stick(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    yield from _stand(tape, "encoder-stuck", int(rng.integers(1, 5)), None)


def _die(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    del rng
    yield from _stand(tape, "encoder-dead", None, tape.severity.stuck_s)


def _stand(tape: Tape, fault: str, strips: int | None, seconds: float | None) -> Iterator[Strip]:
    """Strips at one place, for so many of them or so long, and the next one where it really is."""
    last = tape.last
    if last is None:
        return
    at, began_ns, stood = tape.reached, last.captured_ns, 0
    touch: Touch | None = None
    while (strip := tape.take()) is not None:
        long = seconds is not None and strip.captured_ns - began_ns > seconds * 1e9
        if stood == strips or long:
            if touch is not None:  # the lane sees what it has lost when the encoder goes on
                touch.tail = int(strip.encoder[0])
            yield strip
            return
        # The bag may be late before that.
        touch = touch or tape.touch(fault, at, at + 1, HOLE | LATE)
        tape.refuse(Refusal.STANDING, len(strip))
        stood += 1
        yield with_encoder(strip, at)


def _jump(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    before, lines = tape.reached, int(rng.integers(8, 400))
    tape.shift_encoder(round(lines * tape.counts_per_line))
    if (strip := tape.take()) is not None:
        tape.touch("encoder-jump", before, int(strip.encoder[0]), HOLE)
        yield strip


def _jump_back(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    before, lines = tape.reached, int(rng.integers(8, 48))
    tape.shift_encoder(-round(lines * tape.counts_per_line))
    refused = 0
    while (strip := tape.take()) is not None:
        back = int(np.count_nonzero(strip.encoder < before))
        standing = int(np.count_nonzero(strip.encoder == before))
        tape.refuse(Refusal.REVERSED, back)
        tape.refuse(Refusal.STANDING, standing)
        if refused == 0:
            tape.touch("encoder-back", before, before + 1, BAD)
        refused += back
        yield strip
        if int(strip.encoder[-1]) > before:
            return


def _reverse(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    """The belt goes back under the beam and comes again; the place that it left is not counted."""
    del rng
    strip = tape.take()
    if strip is None or len(strip) < 3:
        yield from () if strip is None else (strip,)
        return
    tape.touch("belt-reversed", int(strip.encoder[0]), int(strip.encoder[-1]), harmful=False)
    yield strip
    more, line_ns = len(strip) - 1, tape.strip_ns // len(strip)
    first, at_ns = strip.first_line + len(strip), strip.captured_ns
    for turn, rows in enumerate((slice(more - 1, None, -1), slice(0, more))):
        tape.refuse(Refusal.STANDING, turn)  # where it turns, it shows one line twice
        tape.refuse(Refusal.RESCANNED, more - turn)
        yield Strip(first + turn * more, strip.encoder[rows].copy(), strip.low[rows].copy(),
                    strip.high[rows].copy(), at_ns + (turn + 1) * more * line_ns)  # fmt: skip
    tape.shift_counter(2 * more)
    tape.shift_clock(2 * more * line_ns)


def _tube_off(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    strips = list(tape.take_some(int(rng.integers(2, 7))))
    if strips:
        tape.refuse(Refusal.TUBE_OFF, sum(map(len, strips)))
        tape.touch("tube-off", int(strips[0].encoder[0]), tape.reached, DETECTOR | HOLE)
    for strip in strips:
        low, high = (
            rng.integers(DARK_COUNTS - 20, DARK_COUNTS + 20, strip.low.shape, np.uint16)
            for _ in range(2)
        )
        yield replace(strip, low=low, high=high)


def _dead_block(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    if tape.last is None:
        return
    wide = min(12, tape.last.elements // 3)
    first = int(rng.integers(0, tape.last.elements - wide))
    head, lines = tape.reached, tape.severity.dead_lines
    # It is trusted again after 64 idle lines, which come between the next bags.
    tape.touch("dead-block", head, head + round(lines * tape.counts_per_line), DETECTOR,
               settle_lines=4000)  # fmt: skip
    while lines > 0 and (strip := tape.take()) is not None:
        low, high = strip.low.copy(), strip.high.copy()
        low[:, first : first + wide] = high[:, first : first + wide] = 0
        lines -= len(strip)
        yield replace(strip, low=low, high=high)


def _burst(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    """Ten times the line rate: the belt, and with it the detector, runs away."""
    del rng
    head, last = tape.reached, tape.last
    if last is None:
        return
    more = round(BURST_STRIPS * len(last) * tape.counts_per_line)
    tape.touch("burst", head, head + more, may=BEHIND, harmful=False)
    for strip in tape.take_some(BURST_STRIPS):
        early_ns = max(0, strip.captured_ns - last.captured_ns) * 9 // 10
        tape.shift_clock(-early_ns)
        last = tape.last = replace(strip, captured_ns=strip.captured_ns - early_ns)
        yield last


def _clock_forward(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    yield from _set_clock(tape, rng, "clock-forward", 1)


def _clock_back(tape: Tape, rng: np.random.Generator) -> Iterator[Strip]:
    yield from _set_clock(tape, rng, "clock-back", -1)


def _set_clock(tape: Tape, rng: np.random.Generator, fault: str, sign: int) -> Iterator[Strip]:
    head, step_s = tape.reached, tape.severity.step_s * float(rng.uniform(0.1, 1.0))
    tape.shift_clock(sign * round(step_s * 1e9))
    if (strip := tape.take()) is not None:
        tape.touch(fault, head, tape.reached, may=BEHIND, harmful=False)
        yield strip


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> U16:
    return rng.integers(0, 65_536, shape, np.uint16)


_ALL: Final = (
    LineFault("dropped", "one to three strips never come",
              "INCOMPLETE_SCAN; the lines counted as missing", _drop),
    LineFault("duplicated", "a strip comes twice",
              "BAD_LINES; counted as repeated", _duplicate),
    LineFault("reordered", "two strips change places",
              "INCOMPLETE_SCAN and BAD_LINES; counted as missing, then as repeated", _reorder),
    LineFault("corrupted", "a strip is noise, counters too, and its CRC says so",
              "BAD_LINES; counted as damaged", _corrupt),
    LineFault("wrong-width", "a strip has fewer elements than the detector",
              "BAD_LINES; counted as wrong width", _narrow),
    LineFault("restarted", "the detector starts anew, and counts its lines from 0",
              "BAD_LINES; one strip counted as repeated", _restart),
    LineFault("encoder-stuck", "the encoder stands for up to four strips while the belt moves",
              "INCOMPLETE_SCAN; counted as standing", _stick),
    LineFault("encoder-dead", "the encoder stands for longer than the bag limit",
              "TIMEOUT or INCOMPLETE_SCAN; counted as standing", _die),
    LineFault("encoder-jump", "the encoder jumps forward by 8 to 400 lines, for good",
              "INCOMPLETE_SCAN", _jump),
    LineFault("encoder-back", "the encoder jumps back by 8 to 48 lines, for good",
              "BAD_LINES; counted as reversed until it is past its old place", _jump_back),
    LineFault("belt-reversed", "the belt goes back by a strip, and comes again",
              "the verdict as without it; both ways counted as rescanned", _reverse),
    LineFault("tube-off", "no X-rays for two to six strips",
              "never CLEAR: DETECTOR_FAULT; its lines are refused", _tube_off, strips=8),
    LineFault("dead-block", "twelve neighbouring elements read 0 for longer than any bag",
              "OVERSIZE_BAG, then DETECTOR_FAULT", _dead_block),
    LineFault("burst", "forty strips come at ten times the line rate",
              "the verdict as without it, or TIMEOUT, OVERLOAD", _burst),
    LineFault("clock-forward", "the clock is set forward",
              "the verdict as without it, or TIMEOUT", _clock_forward),
    LineFault("clock-back", "the clock is set back",
              "the verdict as without it, or TIMEOUT, OVERLOAD", _clock_back),
)  # fmt: skip

LINE_FAULTS: Final = MappingProxyType({fault.name: fault for fault in _ALL})
"""Every fault of the lines, by name."""
