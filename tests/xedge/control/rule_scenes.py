"""Scenes for the PLC's rule, that the reference and each other rule are played side by side.

A scene is a list of steps, each the name of a method of `Stage` and its arguments. `STORIES` are
told by hand, one for each boundary of the rule; `SCENES` draws others that aim at them too: places
and times are counted from where something ends, and not drawn from the wide. A change of one
operator, number or statement of the rule shows in a story, whoever says the rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from hypothesis import strategies as st

from xedge.control.image import Header, LaneState, Place, encode
from xedge.control.words import crc, to_words, wrap
from xedge.types import Reason, Verdict

LIMIT_MS: Final = 1000
EXTENT: Final = 64
REVERSE: Final = 16
"""The rule's limits, as they are where nobody sets them."""

HALF: Final = 2**31
FORGOTTEN: Final = 2**30


class Watched(Protocol):
    """The reference and another rule side by side."""

    def scan(self, words: list[int], encoder: int, now_ms: int) -> None:
        """One cycle of both, in which they must not differ."""
        ...

    def enter(self, head: int, tail: int) -> None:
        """A bag for both."""
        ...

    def lost(self) -> None:
        """Both at power-up, and no bag."""
        ...


class Stage:
    """Lane, belt, clock and wire before two rules; numbers grow here and wrap where they are shown.

    Args:
        both: The rules.
        encoder, now_ms, count, bag: Where the belt and the clock stand, and from where sequence,
            heartbeat and bags are counted.
    """

    def __init__(self, both: Watched, encoder: int, now_ms: int, count: int, bag: int) -> None:
        self.both, self.now_ms, self.number = both, now_ms, bag
        self.sequence = self.heartbeat = count
        self.at = {"here": encoder, "head": encoder, "tail": encoder, "end": encoder,
                   "furthest": encoder, "turned": encoder, "zero": 0}  # fmt: skip
        self.when = {"now": now_ms, "beat": now_ms, "old": now_ms}
        self.state, self.epoch, self.decisions = LaneState.RUNNING, 9, 0
        self.places: list[Place] = []
        self.shown: list[list[int]] = []

    def belt(self, landmark: str, offset: int) -> None:
        """The belt moves to a place counted from another one."""
        here = self.at["here"] = self.at[landmark] + offset
        if here > self.at["furthest"]:
            self.at["furthest"] = here
        elif self.at["furthest"] - here > REVERSE:
            self.at["turned"] = self.at["furthest"]

    def clock(self, landmark: str, offset: int) -> None:
        """The clock goes to a time counted from another one, and round once where that is past."""
        then = self.when[landmark] + offset
        self.now_ms += (then - self.now_ms) % 2**32
        self.when["now"] = self.now_ms

    def write(self, sequence: int = 1, heartbeat: int = 1) -> None:
        """The lane writes an image, so many steps on, and it is seen."""
        self.draft(sequence, heartbeat)
        self.show()

    def draft(self, sequence: int = 1, heartbeat: int = 1) -> None:
        """The lane writes an image that nobody has seen yet."""
        self.sequence += sequence
        self.heartbeat += heartbeat
        if heartbeat:
            self.when["beat"] = self.now_ms
        if sequence % 2**16 >= 2**15 or heartbeat % 2**16 >= 2**15:
            self.when["old"] = self.now_ms
        header = Header(self.sequence % 2**16, self.heartbeat % 2**16, self.state, self.epoch,
                        self.decisions % 2**32)  # fmt: skip
        self.shown.append(list(to_words(encode(header, self.places))))

    def show(self, age: int = 0) -> None:
        """The image is seen that was written so many before the last one."""
        if self.shown:
            if age % len(self.shown):
                self.when["old"] = self.now_ms
            self._scan(self.shown[-1 - age % len(self.shown)])

    def spoil(self, word: int, bits: int, right: int = 0) -> None:
        """The image is seen with bits of a word changed: 1 the header's CRC fits, 2 every CRC."""
        if self.shown:
            words = list(self.shown[-1])
            words[word] ^= bits
            self._scan(_summed(words, right))

    def blank(self) -> None:
        """The image is seen with bag 0 in its decisions, each with a CRC that fits."""
        if self.shown:
            words = list(self.shown[-1])
            for first in range(12, 96, 12):
                words[first : first + 2] = 0, 0
            self._scan(_summed(words, 2))

    def foreign(self) -> None:
        """The image is seen with the decisions as the start before this one had them."""
        if self.shown:
            words = list(self.shown[-1])
            epoch = [*words[5:6], words[6] ^ 3]
            self._scan(words[:12] + _summed([*words[:5], *epoch, *words[7:]], 2)[12:])

    def nothing(self) -> None:
        """Zero memory is seen."""
        self._scan([0] * 97)

    def _scan(self, words: list[int]) -> None:
        self.both.scan(words, wrap(self.at["here"]), self.now_ms % 2**32)

    def item(self, head: int = 0, tail: int = 0) -> None:
        """The PLC tracks what went through the beam last, seen by its light barrier so far off."""
        self.both.enter(wrap(self.at["head"] + head), wrap(self.at["tail"] + tail))

    def decide(
        self, verdict: Verdict = Verdict.CLEAR, step: int = 1, head: int = 0, tail: int = 0,
        valid: int = 2000,
    ) -> None:  # fmt: skip
        """A decision about it goes into the image, whose number is so many on."""
        self.number = (self.number + step) % 2**32 or 1
        self.decisions += 1
        self.at["end"] = self.at["tail"] + valid
        reason = Reason.NONE if verdict else Reason.TIMEOUT
        self.places = [*self.places[-6:], Place(
            self.number, wrap(self.at["head"] + head), wrap(self.at["tail"] + tail),
            wrap(self.at["end"]), verdict, reason)]  # fmt: skip

    def through(self, length: int = 800) -> None:
        """Something goes through the beam."""
        self.belt("here", 1)
        self.at["head"] = self.at["here"]
        self.belt("here", length)
        self.at["tail"] = self.at["here"]

    def bag(self, verdict: Verdict = Verdict.CLEAR, head: int = 0, tail: int = 0) -> None:
        """A bag goes through, is tracked and decided."""
        self.through()
        self.item(head, tail)
        self.decide(verdict)
        self.write()

    def change(self, verdict: Verdict, step: int = 0) -> None:
        """The newest decision in the image becomes another one, or another bag's."""
        if self.places:
            last = self.places.pop()
            self.places.append(Place((last.bag + step) % 2**32 or 1, last.head, last.tail,
                                     last.valid_until, verdict))  # fmt: skip

    def acknowledge(self) -> None:
        """Every decision leaves the image."""
        self.places = []

    def lane(self, state: LaneState) -> None:
        """The lane does something else."""
        self.state = state

    def restart(self, step: int = 1) -> None:
        """The lane is started anew, in another epoch."""
        self.epoch, self.places = (self.epoch + step) % 2**32 or 1, []

    def lost(self) -> None:
        """The PLC has lost its memory."""
        self.both.lost()


def _summed(words: list[int], which: int) -> list[int]:
    """The words with CRCs that fit: 1 the header's, 2 those of decisions as well."""
    if which:
        words[10:12] = crc(words[:10])
    if which > 1:
        for first in range(12, 96, 12):
            if any(words[first : first + 12]):
                words[first + 10 : first + 12] = crc((*words[5:7], *words[first : first + 10]))
    return words


Step = tuple[Any, ...]
WRAPS: Final = (HALF - 3000, 2**32 - 400, 65533, 2**32 - 2)
"""A start from where every counter wraps within a scene: encoder, clock, images, bags."""

LOW: Final = (-5000, 0, 0, 0)
"""Another one: all near zero, and the encoder below it."""

HEARD: Final[list[Step]] = [("write",), ("clock", "now", 100), ("write",)]
CLEARED: Final[list[Step]] = [*HEARD, ("bag",)]
TWO: Final[list[Step]] = [*CLEARED, ("clock", "now", 100), ("bag",)]
ROUND: Final = 2**32


# fmt: off
_TOLD: Final[dict[str, list[Step]]] = {
    "a bag is cleared until its window ends, for good": [
        *CLEARED, ("belt", "end", 0), ("write",), ("belt", "end", 1), ("write",),
        ("belt", "end", 0), ("write",),
    ],
    "no bag is cleared before its tail": [
        *CLEARED, ("belt", "tail", -1), ("write",), ("belt", "tail", 0), ("write",),
    ],
    "a window of no length, and one that ends before it begins": [
        *HEARD, ("through",), ("item",), ("decide", Verdict.CLEAR, 1, 0, 0, 0), ("write",),
        ("through",), ("item",), ("decide", Verdict.CLEAR, 1, 0, 0, -1), ("write",),
        ("belt", "here", -3), ("write",),
    ],
    "half the encoder away is behind": [
        *CLEARED, ("belt", "end", HALF), ("write",), ("belt", "tail", HALF), ("write",),
        ("belt", "tail", -HALF - 1), ("write",), ("belt", "tail", HALF - 1), ("write",),
    ],
    "the heart stands for the limit, and a moment more": [
        *CLEARED, ("clock", "beat", LIMIT_MS), ("write", 1, 0), ("clock", "beat", LIMIT_MS + 1),
        ("write", 1, 0), ("clock", "beat", LIMIT_MS - 1), ("write", 1, 0), ("write",),
    ],
    "a beat that comes late is one": [
        *CLEARED, ("clock", "beat", LIMIT_MS + 1), ("write",), ("clock", "beat", LIMIT_MS + 1),
        ("nothing",), ("show",),
    ],
    "a clock that has gone round wakes nobody": [
        *CLEARED, ("clock", "beat", LIMIT_MS + 1), ("show",), ("clock", "beat", ROUND + 1),
        ("show",), ("clock", "beat", LIMIT_MS), ("show",),
    ],
    "the same image again and again": [*CLEARED, ("show",), ("show",), ("write", 0, 0)],
    "a lost image is still alive": [*CLEARED, ("nothing",), ("show",), ("write",)],
    "nothing was read yet": [("nothing",), ("through",), ("item",), ("nothing",), ("write",),
                             ("write",)],
    "a lane in its epoch 1, not heard as the bag came": [
        *HEARD, ("restart", -8), ("write",), ("through",), ("item",), ("decide",), ("write",),
        ("write",),
    ],
    "an epoch whose lower word is zero": [*HEARD, ("restart", 2**16 - 9), ("write",),
                                          ("write",), ("bag",)],
    "the first image of all is no beat": [("write",), ("through",), ("item",), ("decide",),
                                          ("write", 1, 0), ("write",)],
    "another start forgets, and must beat": [
        *TWO, ("restart",), ("write",), ("bag",), ("write", 1, 0), ("write",), ("bag",),
        ("restart", -1), ("write",), ("write",),
    ],
    "a start that begins where the last one stood": [
        *CLEARED, ("restart",), ("write", 0, 0), ("write", 0, 0), ("write",),
    ],
    "a start whose counters lie behind is no old image": [
        *CLEARED, ("restart",), ("write", -9, -9), ("bag",), ("write",), ("bag",),
    ],
    "a start in a state that clears nothing": [
        *CLEARED, ("restart",), ("lane", LaneState.STARTING), ("write",), ("write",), ("bag",),
        ("lane", LaneState.RUNNING), ("write",), ("bag",),
    ],
    "bags are numbered anew by another start": [
        *TWO, ("restart",), ("write",), ("write",), ("through",), ("item",),
        ("decide", Verdict.CLEAR, -3), ("write",),
    ],
    "an old image between new ones, until the limit has passed": [
        *TWO, ("show", 1), ("clock", "old", LIMIT_MS), ("write",),
        ("clock", "old", LIMIT_MS + 1), ("write",), ("bag",),
    ],
    "an old image twice: the limit counts from the last": [
        *TWO, ("show", 1), ("clock", "old", LIMIT_MS - 1), ("write",), ("show", 1),
        ("clock", "now", 2), ("write",), ("clock", "old", LIMIT_MS + 1), ("write",),
    ],
    "old images in turn": [
        *TWO, *[(("show", age % 3), ("clock", "now", 90))[n] for age in range(8)
                for n in (0, 1)],
    ],
    "old, and then the clock goes round": [
        *TWO, ("show", 1), ("clock", "old", LIMIT_MS + 1), ("nothing",),
        ("clock", "old", ROUND + 1), ("write",), ("bag",),
    ],
    "old at the time zero": [
        *HEARD, ("clock", "now", 2**31), ("write",), ("write",), ("bag",), ("show", 1),
        ("write",), ("write",),
    ],
    "what is old takes no decision": [*TWO, ("acknowledge",), ("write",), ("through",),
                                      ("item",), ("show", 1), ("show", 2)],
    "an item that enters beside an old image": [*TWO, ("show", 1), ("through",), ("item",),
                                                ("decide",), ("write",)],
    "two decisions that fit are none": [
        *HEARD, ("through",), ("item",), ("decide",), ("decide",), ("write",),
        ("acknowledge",), ("decide",), ("write",),
    ],
    "a repeated CLEAR after another word": [
        *CLEARED, ("change", Verdict.NOT_CLEARED), ("write",), ("change", Verdict.CLEAR),
        ("write",), ("change", Verdict.ALARM), ("write",), ("change", Verdict.CLEAR),
        ("write",),
    ],
    "another bag's ALARM changes nothing": [
        *CLEARED, ("change", Verdict.ALARM, 1), ("write",), ("change", Verdict.ALARM, -1),
        ("write",),
    ],
    "a withdrawal that is no longer in time": [
        *CLEARED, ("belt", "end", 1), ("change", Verdict.ALARM), ("write",),
        ("belt", "end", 0), ("write",),
    ],
    "a CLEAR again, with a longer window": [
        *CLEARED, ("acknowledge",), ("decide", Verdict.CLEAR, 0, 0, 0, 4000), ("write",),
        ("belt", "tail", 2001), ("write",), ("acknowledge",),
        ("decide", Verdict.ALARM, 0, 0, 0, 6000), ("write",),
    ],
    "one decision, two bags in its place": [
        *HEARD, ("through",), ("item",), ("item", 2, 2), ("decide",), ("write",),
        ("acknowledge",), ("decide",), ("write",),
    ],
    "two that the PLC sees as one": [
        *HEARD, ("through", 800), ("decide",), ("item", 0, 800), ("through", 799), ("decide",),
        ("item", -800, 0), ("write",),
    ],
    "the belt rolls back as it may, and one count more": [
        *CLEARED, ("belt", "furthest", -REVERSE), ("write",), ("belt", "furthest", 0),
        ("write",), ("belt", "furthest", -REVERSE - 1), ("write",), ("belt", "furthest", 0),
        ("write",), ("belt", "here", 100), ("write",),
    ],
    "one count on, and back from there": [
        *CLEARED, ("belt", "furthest", 1), ("write",), ("belt", "here", -REVERSE - 1),
        ("write",), ("belt", "furthest", 0), ("write",),
    ],
    "the belt creeps back, count by count": [
        *CLEARED, *[step for _ in range(3) for step in (("belt", "here", -8), ("write",))],
        ("belt", "here", 60), ("write",),
    ],
    "a bag behind the place where the belt turned": [
        *CLEARED, ("belt", "here", -17), ("write",), ("belt", "furthest", -1), ("bag",),
        ("bag",),
    ],
    "a bag whose head is right behind that place": [
        *CLEARED, ("belt", "here", -17), ("write",), ("belt", "furthest", 0), ("bag",),
        ("belt", "here", 500), ("write",),
    ],
    "the belt turns twice": [
        *CLEARED, ("belt", "here", -40), ("write",), ("belt", "furthest", 300), ("bag",),
        ("belt", "furthest", -40), ("write",), ("belt", "furthest", 40), ("bag",),
    ],
    "a belt that counts down clears nothing": [
        *HEARD, *[step for _ in range(4) for step in
                  (("belt", "here", -850), ("item", -900, -60), ("decide",), ("write",))],
    ],
    "where the belt turned is forgotten far behind": [
        *HEARD, ("through",), ("item",), ("decide", Verdict.CLEAR, 1, 0, 0, FORGOTTEN + 9000),
        ("write",), ("belt", "here", -17), ("write",), ("belt", "turned", FORGOTTEN),
        ("write",), ("belt", "turned", FORGOTTEN + 1), ("write",),
    ],
    "a bag that is half the encoder long": [
        *HEARD, ("through", FORGOTTEN), ("write",), ("belt", "here", FORGOTTEN), ("item",),
        ("decide",), ("write",),
    ],
    "the places of a decision after a damaged one": [
        *TWO, ("through",), ("item",), ("decide",), ("decide", Verdict.CLEAR, 1, 5000, 5000),
        ("write", 1, 1), ("acknowledge",), ("write",),
    ],
    "a bag where a damaged decision of ones would lie": [
        *HEARD, ("belt", "zero", 0x01010100), ("through", 0), ("item",), ("write",),
    ],
    "the image is full, and fuller": [*HEARD, *[("bag",)] * 9],
    "the PLC loses its memory": [
        *TWO, ("lost",), ("write", 1, 0), ("item",), ("write",), ("item",), ("write",),
        ("bag",),
    ],
    "the PLC wakes before an old image": [*TWO, ("lost",), ("show", 1), ("show", 1), ("item",),
                                          ("show", 0), ("item",), ("show", 0)],
    "the PLC wakes before a lane that stands": [
        *TWO, ("lost",), ("write",), ("clock", "now", 5), ("show",), ("item",), ("show",)],
    "the PLC wakes as the belt runs back": [
        *TWO, ("lost",), ("belt", "here", -17), ("write",), ("write",), ("bag",)],
}
# fmt: on


def _in_turn() -> dict[str, list[Step]]:
    """Scenes of which there is one for every value that something may have."""
    told: dict[str, list[Step]] = {}
    for name, step in (
        ("on", 1), ("the same", 0), ("back", -1), ("two on", 2), ("half on", HALF - 1),
        ("half", HALF), ("more than half", HALF + 1),
    ):  # fmt: skip
        told[f"a bag's number goes {name}"] = [
            *CLEARED, ("through",), ("item",), ("acknowledge",), ("decide", Verdict.CLEAR, step),
            ("write",), ("bag",),
        ]  # fmt: skip
    for off in (EXTENT, EXTENT + 1, -EXTENT, -EXTENT - 1, HALF, HALF + EXTENT, HALF - EXTENT - 1):
        for name, offsets in (("head", (off, 0)), ("tail", (0, off)), ("both", (off, off))):
            told[f"{name} {off} off"] = [*HEARD, ("bag", Verdict.CLEAR, *offsets)]
    for sequence, beat in (
        (1, 0), (0, 0), (0, 1), (2, 1), (1, 2), (2**15 - 1, 2**15 - 1), (2**15, 1), (1, 2**15),
        (2**15 - 1, 1), (1, 2**15 - 1), (2**15, 0), (-1, -1), (1, -1), (-1, 1), (-1, 0), (0, -1),
        (0, 2**15 - 1), (2**15 - 1, 0), (40000, 40000),
    ):  # fmt: skip
        told[f"sequence {sequence}, heartbeat {beat} on"] = [
            *CLEARED, ("through",), ("item",), ("decide",), ("write", sequence, beat), ("write",),
            ("clock", "now", LIMIT_MS - 200), ("write", sequence, beat), ("write", 1, 0),
            ("clock", "now", 201), ("write", 1, 0), ("write",),
        ]  # fmt: skip
    for state in LaneState:
        told[f"{state.name} and back"] = [
            *CLEARED, ("lane", state), ("clock", "now", 100), ("write",),
            ("clock", "beat", LIMIT_MS), ("show",), ("bag",), ("lane", LaneState.RUNNING),
            ("write",), ("bag",),
        ]  # fmt: skip
    for verdict in Verdict:
        for other in Verdict:
            told[f"{verdict.name}, then {other.name}"] = [
                *HEARD, ("bag", verdict), ("change", other), ("write",), ("acknowledge",),
                ("write",),
            ]  # fmt: skip
    waiting: list[Step] = [*CLEARED, ("through",), ("item",), ("acknowledge",), ("decide",)]
    for bits in (1, 0x8000, 0x0180):
        told[f"bits {bits:#x} of each word damaged"] = [
            *waiting, ("draft",), *[("spoil", word, bits) for word in (*range(24), 96)], ("show",),
        ]  # fmt: skip
    told["words that no lane writes"] = [
        *waiting, ("draft",), ("spoil", 0, 1, 2), ("spoil", 0, 0x5845, 2), ("spoil", 1, 1, 2),
        ("spoil", 1, 2, 2), ("spoil", 2, 1, 2), ("spoil", 96, 1, 2), ("spoil", 6, 9, 2),
        *[("spoil", 4, bits, 2) for bits in (5, 10, 0x8000, 0x100)], ("show",),
    ]  # fmt: skip
    told["decisions that no lane writes"] = [
        *waiting, ("draft",), *[("spoil", 18, bits, 2) for bits in (2, 5, 0x100, 0x8000)],
        *[("spoil", 19, bits, 2) for bits in (12, 13, 0x100, 0x8000)], ("blank",), ("foreign",),
        ("show",),
    ]  # fmt: skip
    told["the last reason that there is"] = [*waiting, ("draft",), ("spoil", 19, 11, 2), ("show",)]
    told["more decisions than there ever were"] = [*waiting, ("draft",), ("spoil", 7, 0x8000, 2)]
    told["another start in the upper word alone"] = [*waiting, ("draft",), ("spoil", 5, 1, 2),
                                                     ("write",), ("write",)]  # fmt: skip
    return told


STORIES: Final = {**_TOLD, **_in_turn()}
"""Steps by what they tell, to be played wherever the counters stand."""

# What hypothesis draws: mostly near an end of something, sometimes anywhere.
_NEAR: Final = st.sampled_from([-1, 0, 1])
_COUNTS: Final = st.one_of(
    _NEAR, st.sampled_from([-REVERSE - 1, -REVERSE, REVERSE, REVERSE + 1, FORGOTTEN, HALF]),
    st.integers(-80, 1500),
)  # fmt: skip
_OFF: Final = st.one_of(
    st.just(0),
    st.sampled_from([EXTENT, EXTENT + 1, -EXTENT, -EXTENT - 1, HALF]),
    st.integers(-80, 80),
)
_STEPS: Final = st.one_of(
    st.just(1), st.just(1), st.just(0), st.sampled_from([-1, 2, 2**15 - 1, 2**15, 40000])
)
_NUMBERS: Final = st.one_of(
    st.just(1), st.just(1), st.sampled_from([0, -1, 2, HALF - 1, HALF, HALF + 1])
)
_VALID: Final = st.one_of(st.just(2000), st.integers(-1, 3000), st.just(FORGOTTEN + 9000))
_VERDICTS: Final = st.sampled_from([Verdict.CLEAR, *Verdict])
_STEP: Final = st.one_of(
    st.tuples(st.just("belt"), st.sampled_from(
        ["here", "here", "tail", "end", "furthest", "turned"]), _COUNTS),
    st.tuples(st.just("clock"), st.just("now"), st.integers(0, 700)),
    st.tuples(st.just("clock"), st.sampled_from(["beat", "old"]), _NEAR.map(LIMIT_MS.__add__)),
    st.just(("write",)),
    st.just(("write",)),
    st.tuples(st.just("write"), _STEPS, _STEPS),
    st.tuples(st.just("bag"), _VERDICTS),
    st.tuples(st.just("bag"), st.just(Verdict.CLEAR), _OFF, _OFF),
    st.tuples(st.just("through"), st.sampled_from([800, 40, FORGOTTEN])),
    st.tuples(st.just("item"), _OFF, _OFF),
    st.tuples(st.just("decide"), _VERDICTS, _NUMBERS, _OFF, _OFF, _VALID),
    st.tuples(st.just("change"), _VERDICTS, st.just(0) | _NUMBERS),
    st.tuples(st.just("show"), st.integers(0, 3)),
    st.tuples(st.just("spoil"), st.integers(0, 96), st.integers(1, 65535), st.integers(0, 2)),
    st.tuples(st.just("lane"), st.sampled_from([LaneState.RUNNING, *LaneState])),
    st.tuples(st.just("restart"), st.sampled_from([1, 1, -1])),
    st.sampled_from([("nothing",), ("acknowledge",), ("lost",)]),
)  # fmt: skip
STARTS: Final = st.sampled_from([WRAPS, LOW]) | st.tuples(
    st.integers(-HALF, HALF - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1),
    st.integers(0, 2**32 - 2),
)  # fmt: skip
SCENES: Final = st.tuples(
    STARTS, st.lists(_STEP, min_size=3, max_size=14).map(lambda steps: [*HEARD, *steps])
)


def play_stories(make: Callable[[], Watched]) -> None:
    """Nothing; two rules have seen every story, from both starts, and did not differ.

    Raises:
        AssertionError: With the story in which they did.
    """
    for name, steps in STORIES.items():
        for start in (WRAPS, LOW):
            try:
                play(make(), start, steps)
            except AssertionError as error:
                raise AssertionError(f"{name!r}, from {start}: {error}") from error


def play(both: Watched, start: tuple[int, int, int, int], steps: list[Step]) -> None:
    """Nothing; both have seen the scene."""
    stage = Stage(both, *start)
    for name, *arguments in steps:
        getattr(stage, name)(*arguments)
