"""The PLC's rule: nothing but a sound, fresh, fitting CLEAR clears."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.control.image import CLEARING, PLACES, Header, LaneState, Place, encode
from xedge.control.rule import Item, PlcRule, RuleConfig, Why
from xedge.control.words import to_words, wrap
from xedge.errors import ConfigError
from xedge.types import Reason, Verdict

EPOCH = 0xC0FFEE
CLEAR = Place(3, 1000, 1800, 4000, Verdict.CLEAR)


@dataclass
class Desk:
    """A rule and an image that it is shown, one beat after the other."""

    rule: PlcRule = field(default_factory=PlcRule)
    beat: int = 0
    now_ms: int = 0
    encoder: int = 1800

    def show(
        self,
        *places: Place | None,
        epoch: int = EPOCH,
        state: LaneState = LaneState.RUNNING,
        beats: bool = True,
        passed_ms: int = 100,
    ) -> None:
        self.beat += beats
        self.now_ms += passed_ms
        header = Header(self.beat % 65536, self.beat % 65536, state, epoch)
        self.rule.see(to_words(encode(header, places)), self.encoder, self.now_ms % 2**32)

    def heard(self) -> Desk:
        """Twice shown, so that the heartbeat has changed."""
        self.show()
        self.show()
        return self

    def why(self, item: Item) -> Why:
        answer = self.rule.answer(item)
        assert (answer.verdict is Verdict.CLEAR) <= (answer.why is Why.DECIDED)
        return answer.why


def test_a_clear_that_fits_clears() -> None:
    desk = Desk().heard()
    item = desk.rule.enter(990, 1795)
    assert desk.why(item) is Why.NO_DECISION
    desk.show(CLEAR)
    item = desk.rule.follow(item)
    assert desk.rule.answer(item).verdict is Verdict.CLEAR
    assert desk.rule.acknowledged == 3
    desk.show()  # acknowledged, so it is gone from the image
    assert desk.rule.answer(desk.rule.follow(item)).verdict is Verdict.CLEAR


@pytest.mark.parametrize("verdict", [Verdict.ALARM, Verdict.NOT_CLEARED])
def test_other_decisions_are_passed_on(verdict: Verdict) -> None:
    desk = Desk().heard()
    item = desk.rule.enter(1000, 1800)
    desk.show(Place(3, 1000, 1800, 4000, verdict, Reason.NONE))
    assert desk.rule.answer(desk.rule.follow(item)).verdict is verdict


def test_at_power_up_one_image_clears_nothing_as_it_may_be_old() -> None:
    desk = Desk()
    desk.show(CLEAR)
    item = desk.rule.follow(desk.rule.enter(1000, 1800))
    assert desk.why(item) is Why.SILENT
    desk.show(CLEAR, beats=False)
    assert not desk.rule.ready
    desk.show(CLEAR)
    assert desk.rule.ready
    # The bag came while the lane was not heard: nobody knows which bag it is.
    assert desk.why(desk.rule.follow(item)) is Why.EPOCH


def taken() -> tuple[Desk, Item]:
    desk = Desk().heard()
    item = desk.rule.enter(1000, 1800)
    desk.show(CLEAR)
    item = desk.rule.follow(item)
    assert desk.rule.answer(item).verdict is Verdict.CLEAR
    return desk, item


def test_a_heartbeat_that_stands_clears_nothing_and_never_looks_young_again() -> None:
    desk, item = taken()
    desk.show(CLEAR, beats=False, passed_ms=1000)
    assert desk.why(item) is Why.DECIDED
    desk.show(CLEAR, beats=False, passed_ms=1)
    assert desk.why(item) is Why.SILENT
    desk.show(CLEAR, beats=False, passed_ms=2**32 - 1100)  # the PLC's clock has wrapped
    assert desk.why(item) is Why.SILENT
    desk.show(CLEAR)
    assert desk.why(item) is Why.DECIDED


@given(
    st.integers(0, 65535),
    st.lists(st.integers(1, 2000), min_size=1, max_size=4),
    st.lists(st.integers(0, 400), min_size=3, max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_old_images_shown_in_turn_are_no_heartbeat(
    first: int, steps: list[int], waits: list[int]
) -> None:
    """As by a gateway that repeats what it holds: at most the first round of them is news."""
    rule = PlcRule(RuleConfig(heartbeat_limit_ms=1000))
    counts = [first, *(first + sum(steps[: n + 1]) for n in range(len(steps)))]
    held = [to_words(encode(Header(count % 65536, count % 65536, LaneState.RUNNING, EPOCH), ()))
            for count in counts]  # fmt: skip
    now_ms = 2**32 - 1000
    for number, wait in enumerate(waits):
        # A round of these takes less than the limit.
        now_ms += min(wait, 1000 // len(held))
        rule.see(held[number % len(held)], 0, now_ms % 2**32)
        if number >= len(held):
            assert not rule.ready


@pytest.mark.parametrize(
    ("sequence", "heartbeat", "sound", "alive"),
    [
        (1, 1, True, True),
        (1, 0, True, False),
        (0, 0, True, False),
        (2**15 - 1, 2**15 - 1, True, True),
        (2**15, 1, False, False),
        (-1, -1, False, False),
        (1, -1, False, False),
        (0, 1, False, False),
        (-1, 1, False, False),
    ],
)
def test_only_an_image_that_is_newer_beats(
    sequence: int, heartbeat: int, sound: bool, alive: bool
) -> None:
    rule = PlcRule()
    for add in (0, 1):
        header = Header((65535 + add * sequence) % 65536, (65535 + add * heartbeat) % 65536,
                        LaneState.RUNNING, EPOCH)  # fmt: skip
        rule.see(to_words(encode(header, ())), 0, add)
    assert (rule._header is not None, rule.alive) == (sound, alive)


def test_a_lane_that_was_out_of_reach_for_long_is_heard_again_a_limit_later() -> None:
    desk, _ = taken()
    desk.beat += 40_000
    desk.show()
    for _ in range(9):
        desk.show()
        assert not desk.rule.ready
    desk.show()
    desk.show()
    assert desk.rule.ready


@pytest.mark.parametrize("state", [s for s in LaneState if s.name not in ("RUNNING", "DRAINING")])
def test_a_lane_that_does_not_run_clears_nothing(state: LaneState) -> None:
    desk, item = taken()
    desk.show(CLEAR, state=state)
    assert desk.why(item) is Why.STATE
    desk.show(CLEAR, state=LaneState.DRAINING)
    assert desk.why(item) is Why.DECIDED


def test_another_epoch_clears_nothing_of_the_one_before() -> None:
    desk = Desk().heard()
    item = desk.rule.enter(1000, 1800)
    for _ in range(3):
        desk.show(CLEAR, epoch=EPOCH + 1)
    assert desk.rule.alive
    assert desk.why(desk.rule.follow(item)) is Why.EPOCH
    assert desk.rule.acknowledged == 0, "nor does it take what is another bag's"


def test_the_first_image_of_an_epoch_is_no_heartbeat() -> None:
    desk, _ = taken()
    desk.show(epoch=EPOCH + 1)
    assert not desk.rule.ready
    desk.show(epoch=EPOCH + 1)
    assert desk.rule.ready


def test_an_image_that_cannot_be_read_clears_nothing() -> None:
    desk, item = taken()
    for words in ((), (0,) * 97, (0xFFFF,) * 97):
        desk.rule.see(words, 1800, desk.now_ms)
        assert desk.why(item) is Why.NO_IMAGE


def test_the_window_of_the_encoder_closes_for_good() -> None:
    desk, item = taken()
    for encoder, why in ((4000, Why.DECIDED), (4001, Why.WINDOW), (4000, Why.WINDOW)):
        desk.encoder = encoder
        desk.show(CLEAR)
        item = desk.rule.follow(item)
        assert desk.why(item) is why


def test_an_encoder_before_the_bags_tail_is_outside_the_window() -> None:
    desk, item = taken()
    desk.encoder = 1799
    desk.show(CLEAR)
    assert desk.why(item) is Why.WINDOW


def test_a_belt_that_was_moved_back_clears_no_bag_that_had_passed() -> None:
    desk, item = taken()
    desk.encoder = 1800 - 16
    desk.show(CLEAR)
    desk.encoder = 1800
    desk.show(CLEAR)
    assert desk.why(item) is Why.DECIDED, "a belt may roll back as it stops"
    for encoder in (1800 - 17, 1900, 3000):
        desk.encoder = encoder
        desk.show(CLEAR)
        assert desk.why(desk.rule.follow(item)) is not Why.DECIDED
    # A bag put where another one was scanned takes no decision; the next one, behind it, does.
    assert desk.why(desk.rule.follow(desk.rule.enter(1000, 1800))) is not Why.DECIDED
    desk.encoder = 4000
    later = desk.rule.enter(3100, 3900)
    desk.show(Place(4, 3100, 3900, 6000, Verdict.CLEAR))
    assert desk.rule.answer(desk.rule.follow(later)).verdict is Verdict.CLEAR


def test_touching_bags_do_not_share_a_clear() -> None:
    desk = Desk().heard()
    both = desk.rule.enter(1000, 2600)  # one bag to the light barrier, two to the scanner
    first, second = desk.rule.enter(1000, 1800), desk.rule.enter(1801, 2600)
    desk.show(CLEAR)
    assert desk.why(desk.rule.follow(both)) is Why.NO_DECISION
    first = desk.rule.follow(first)
    assert desk.rule.answer(first).verdict is Verdict.CLEAR
    assert desk.why(desk.rule.follow(second)) is Why.NO_DECISION


def test_a_decision_is_taken_by_one_bag_only() -> None:
    desk = Desk().heard()
    one, other = desk.rule.enter(1000, 1800), desk.rule.enter(1002, 1802)
    desk.show(CLEAR)
    assert desk.rule.follow(one).taken
    assert desk.why(desk.rule.follow(other)) is Why.NO_DECISION


def test_two_decisions_that_fit_one_bag_are_none() -> None:
    desk = Desk().heard()
    item = desk.rule.enter(1000, 1800)
    desk.show(CLEAR, Place(4, 1001, 1801, 4000, Verdict.CLEAR))
    assert desk.why(desk.rule.follow(item)) is Why.NO_DECISION


def test_a_decision_older_than_the_last_one_taken_is_none() -> None:
    desk, _ = taken()
    item = desk.rule.enter(2000, 2800)
    desk.show(Place(2, 2000, 2800, 4000, Verdict.CLEAR))
    assert desk.why(desk.rule.follow(item)) is Why.NO_DECISION


def test_bag_numbers_go_on_over_their_wrap() -> None:
    desk = Desk().heard()
    item = desk.rule.enter(1000, 1800)
    desk.show(Place(2**32 - 1, 1000, 1800, 4000, Verdict.CLEAR))
    assert desk.rule.answer(desk.rule.follow(item)).verdict is Verdict.CLEAR
    item = desk.rule.enter(2000, 2800)
    desk.encoder = 2800
    desk.show(Place(1, 2000, 2800, 4000, Verdict.CLEAR))
    assert desk.rule.answer(desk.rule.follow(item)).verdict is Verdict.CLEAR


def test_a_clear_may_be_taken_back_but_not_given_later() -> None:
    desk, item = taken()
    desk.show(Place(3, 1000, 1800, 4000, Verdict.NOT_CLEARED, Reason.CONTROL_LOST))
    item = desk.rule.follow(item)
    assert desk.rule.answer(item).verdict is Verdict.NOT_CLEARED
    desk.show(CLEAR)
    item = desk.rule.follow(item)
    assert desk.rule.answer(item).verdict is Verdict.NOT_CLEARED


def test_its_limits_are_those_that_were_set() -> None:
    limits = RuleConfig(heartbeat_limit_ms=200, extent_counts=0, reverse_counts=0)
    desk = Desk(PlcRule(limits)).heard()
    item, off = desk.rule.enter(1000, 1800), desk.rule.enter(1001, 1800)
    desk.show(CLEAR)
    off, item = desk.rule.follow(off), desk.rule.follow(item)
    assert desk.why(off) is Why.NO_DECISION
    for passed_ms, why in ((200, Why.DECIDED), (1, Why.SILENT)):
        desk.show(CLEAR, beats=False, passed_ms=passed_ms)
        assert desk.why(item) is why
    desk.encoder = 1801
    desk.show(CLEAR)
    assert desk.why(item) is Why.DECIDED
    desk.encoder = 1800
    desk.show(CLEAR)
    assert desk.why(item) is Why.REVERSED


@pytest.mark.parametrize("wrong", [{"heartbeat_limit_ms": 0}, {"extent_counts": -1}])
def test_a_limit_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        RuleConfig(**wrong)


@pytest.mark.parametrize(
    ("state", "verdict", "first", "turning"),
    [
        (LaneState.RUNNING, Verdict.NOT_CLEARED, 12, 18),
        (LaneState.STOPPED, Verdict.CLEAR, 0, 4),
    ],
)
def test_no_flipped_bit_nor_two_turn_a_decision_or_a_state(
    state: LaneState, verdict: Verdict, first: int, turning: int
) -> None:
    """Every bit of the decision, or of the header, alone and with each that would turn it."""
    desk = Desk().heard()
    item = desk.rule.enter(1000, 1800)
    desk.beat += 1
    header = Header(desk.beat, desk.beat, state, EPOCH)
    words = to_words(encode(header, [Place(3, 1000, 1800, 4000, verdict)]))
    for one in range(16 * first, 16 * (first + 12)):
        for other in (None, *range(16 * turning, 16 * turning + 3)):
            flipped = list(words)
            for bit in {one, other} - {None}:
                flipped[bit // 16] ^= 1 << bit % 16
            desk.rule.see(flipped, 1800, desk.now_ms)
            assert desk.rule.answer(desk.rule.follow(item)).verdict is not Verdict.CLEAR


# A whole lane, belt and wire that misbehave as hypothesis likes. Numbers do not wrap here; what
# the PLC sees does.

LIMITS = RuleConfig(heartbeat_limit_ms=1000, extent_counts=10, reverse_counts=16)
VALID = 2500


@dataclass
class World:
    encoder: int
    now_ms: int
    epoch: int = 1
    bag: int = 2**32 - 3
    beat: int = 65530
    frozen: bool = False
    state: LaneState = LaneState.RUNNING
    shown: LaneState = LaneState.RUNNING
    places: list[Place] = field(default_factory=list)
    image: bytes = b""
    beaten_ms: int = 0  # when the lane beat last
    verdicts: dict[tuple[int, int], Verdict] = field(default_factory=dict)
    furthest: int = 0
    bags: list[tuple[int, int, int, int, Item]] = field(default_factory=list)
    turned_at: int = -(2**70)

    def __post_init__(self) -> None:
        self.rule = PlcRule(LIMITS)
        self.furthest = self.encoder
        self.write()
        self.scan()

    def write(self) -> None:
        if self.frozen:
            return
        self.beat += 1
        self.beaten_ms = self.now_ms
        self.shown = self.state
        header = Header(self.beat % 65536, self.beat % 65536, self.state, self.epoch)
        self.image = encode(header, self.places[-PLACES:])

    def move(self, counts: int, passed_ms: int) -> None:
        self.encoder += counts
        self.now_ms += passed_ms
        if self.furthest - self.encoder > LIMITS.reverse_counts:
            self.turned_at = max(self.turned_at, self.furthest)
        self.furthest = max(self.furthest, self.encoder)

    def scan(self, image: bytes | None = None) -> None:
        words = to_words(self.image if image is None else image)
        self.rule.see(words, wrap(self.encoder), self.now_ms % 2**32)
        self.bags = [(*bag[:4], self.rule.follow(bag[4])) for bag in self.bags]
        self.check()

    def check(self) -> None:
        for epoch, number, head, tail, item in self.bags:
            if self.rule.answer(item).verdict is not Verdict.CLEAR:
                continue
            assert self.verdicts[epoch, number] is Verdict.CLEAR
            assert epoch == self.epoch
            assert self.shown in CLEARING
            assert self.now_ms - self.beaten_ms <= LIMITS.heartbeat_limit_ms
            assert tail - LIMITS.extent_counts <= self.encoder <= tail + VALID
            assert head > self.turned_at - LIMITS.extent_counts

    def flip(self, bits: set[int]) -> bytes:
        image = bytearray(self.image)
        for bit in bits:
            image[bit // 8] ^= 1 << bit % 8
        return bytes(image)

    def pass_bag(self, verdict: Verdict, jitter: int, decided: bool, flipped: set[int]) -> None:
        """A bag goes through the beam as the belt moves on, and is decided perhaps."""
        head = self.encoder + 40
        self.move(840, 400)
        self.write()
        self.scan()
        tail = self.encoder
        item = self.rule.enter(wrap(head + jitter), wrap(tail + jitter))
        self.bags.append((self.epoch, self.bag, head, tail, item))
        self.verdicts[self.epoch, self.bag] = verdict
        if decided and not self.frozen:
            self.places.append(
                Place((self.bag - 1) % (2**32 - 1) + 1, wrap(head), wrap(tail), wrap(tail + VALID),
                      verdict)
            )  # fmt: skip
        self.bag += 1
        self.write()
        self.scan(self.flip(flipped))

    def restart(self) -> None:
        self.epoch += 1
        self.bag, self.beat, self.places, self.frozen = 1, self.beat + 7, [], False


# Bits, counted from the lowest of the first byte, that turn a decision or a state into another:
# the low byte of each decision's word (12 + 12 n + 6) and of the state's (4).
TURNING = [16 * word + 8 + bit for word in (4, *range(18, 96, 12)) for bit in (0, 1)]

FLIPS = st.sets(st.integers(0, 97 * 16 - 1), max_size=5) | st.sets(
    st.sampled_from(TURNING), min_size=1, max_size=2
)
OPERATIONS = st.one_of(
    st.tuples(st.just("bag"), st.sampled_from(Verdict), st.integers(-10, 10), st.booleans(), FLIPS),
    st.tuples(st.just("move"), st.integers(-1500, 1500), st.integers(0, 700)),
    st.tuples(st.just("beat")),
    st.tuples(st.just("beat")),
    st.tuples(st.just("freeze")),
    st.tuples(st.just("thaw")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("state"), st.sampled_from(LaneState)),
    st.tuples(st.just("flip"), FLIPS),
    st.tuples(st.just("tear"), st.integers(1, 193)),
    st.tuples(st.just("power-up")),
)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(-3000, 3000).map(lambda n: 2**31 + n),
    st.integers(0, 3000).map(lambda n: 2**32 - n),
    st.lists(OPERATIONS, min_size=5, max_size=25),
)
def test_nothing_clears_but_a_sound_fresh_fitting_clear(
    encoder: int, now_ms: int, operations: list[tuple]
) -> None:
    """Flips, torn writes, a lane that hangs or restarts, a belt that turns, counters that wrap."""
    world = World(encoder, now_ms)
    for name, *arguments in operations:
        if name == "bag":
            world.pass_bag(*arguments)
        elif name == "move":
            world.move(*arguments)
        elif name == "state":
            world.state = arguments[0]
        elif name in ("freeze", "thaw"):
            world.frozen = name == "freeze"
        elif name == "restart":
            world.restart()
        elif name == "power-up":
            world.rule, world.bags = PlcRule(LIMITS), []
            world.turned_at, world.furthest = -(2**70), world.encoder
        elif name == "flip":
            world.scan(world.flip(arguments[0]))
        elif name == "tear":
            before = world.image
            world.write()
            world.scan(world.image[: arguments[0]] + before[arguments[0] :])
        if name != "flip":
            world.write()
        world.scan()


def test_the_world_above_does_clear_bags() -> None:
    """Otherwise the property would hold of a rule that clears nothing."""
    world = World(2**31 - 500, 2**32 - 500)
    for _ in range(4):
        world.write()
        world.scan()
    for _ in range(6):
        world.pass_bag(Verdict.CLEAR, -3, True, set())
        world.write()
        world.scan()
        assert world.rule.answer(world.bags[-1][4]).verdict is Verdict.CLEAR
