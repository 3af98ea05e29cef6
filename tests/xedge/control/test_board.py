"""What a lane shows a PLC, and what it makes of the PLC's words, under a clock of the test."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.control.board import SEVERITY, Board, BoardConfig, PlcEvent, new_epoch
from xedge.control.commands import SILENT, Commands, Direction
from xedge.control.image import PLACES, Header, LaneState, Place, decode
from xedge.control.words import distance, wrap
from xedge.errors import ConfigError
from xedge.types import Decision, Reason, Verdict

MS = 1_000_000
EPOCH = 77


def decision(bag: int, verdict: Verdict = Verdict.CLEAR) -> Decision:
    return Decision(bag, verdict, encoder_head=1000 * bag, encoder_tail=1000 * bag + 800)


@dataclass
class Talk:
    """A board, and a PLC that beats."""

    board: Board = field(default_factory=lambda: Board(BoardConfig(valid_counts=3000), EPOCH))
    now_ns: int = 0
    beat: int = 0
    said: list[PlcEvent] = field(default_factory=list)

    def plc(self, *, passed_ms: int = 100, **changes: object) -> list[PlcEvent]:
        self.beat += 1
        self.now_ns += passed_ms * MS
        told: dict[str, object] = {"run": True, "direction": Direction.FORWARD, "epoch": EPOCH}
        commands = Commands(self.beat, self.beat, **(told | changes))  # type: ignore[arg-type]
        self.said = self.board.heard(commands.encode(), self.now_ns)
        return self.said

    def running(self) -> Talk:
        self.board.set_state(LaneState.RUNNING)
        self.plc()
        self.plc()
        return self

    def shown(self) -> tuple[Header, dict[int, Place]]:
        image = self.board.image(self.now_ns, anew=True)
        assert image is not None
        header, places = decode(image)
        return header, {place.bag: place for place in places if place}

    def take(self, decision: Decision) -> list[PlcEvent]:
        return self.board.take(decision, self.now_ns)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.said]


def test_decisions_are_shown_as_they_were_made_until_they_are_acknowledged() -> None:
    talk = Talk().running()
    talk.take(decision(1))
    talk.take(Decision(2, Verdict.NOT_CLEARED, Reason.TIMEOUT))
    header, places = talk.shown()
    assert header.state is LaneState.RUNNING
    assert header.decisions == 2
    assert places[1] == Place(1, 1000, 1800, 4800, Verdict.CLEAR)
    assert (places[2].verdict, places[2].reason) == (Verdict.NOT_CLEARED, Reason.TIMEOUT)
    talk.plc(acknowledged=1)
    assert set(talk.shown()[1]) == {2}
    talk.plc(acknowledged=2)
    assert talk.board.unacknowledged == 0


def test_an_acknowledgement_for_another_epoch_takes_nothing_away() -> None:
    talk = Talk().running()
    talk.take(decision(1))
    talk.plc(acknowledged=1, epoch=EPOCH + 1)
    assert set(talk.shown()[1]) == {1}


def test_what_an_earlier_start_decided_is_shown_again_and_clears_nothing() -> None:
    talk = Talk().running()
    events = talk.board.take(decision(1), talk.now_ns, earlier=True)
    assert [(event.kind, event.fields["reason"]) for event in events] == [
        ("clear-withheld", "CONTROL_LOST")
    ]
    assert talk.board.take(decision(2, Verdict.ALARM), talk.now_ns, earlier=True) == []
    talk.take(decision(3))
    header, places = talk.shown()
    assert header.decisions == 1  # those of this epoch
    assert [places[bag].verdict for bag in (1, 2, 3)] == [
        Verdict.NOT_CLEARED, Verdict.ALARM, Verdict.CLEAR,
    ]  # fmt: skip
    talk.plc(acknowledged=3)
    assert [(event.kind, event.fields["bag"]) for event in talk.said] == [
        ("decision-acknowledged", bag) for bag in (1, 2, 3)
    ]


def test_the_oldest_decision_makes_room_and_is_named() -> None:
    talk = Talk().running()
    bags = range(2**32 - 3, 2**32 - 3 + PLACES)  # their numbers wrap on the way
    for bag in bags:
        assert talk.take(decision(bag)) == []
    (event,) = talk.take(decision(bags[-1] + 1))
    assert (event.kind, event.fields["bag"]) == ("decision-pushed-out", 2**32 - 3)
    assert len(talk.shown()[1]) == PLACES
    assert talk.board.pushed_out == 1


def test_heartbeat_and_sequence_count_and_wrap() -> None:
    talk = Talk().running()
    seen = [talk.shown()[0] for _ in range(3)]
    assert [h.sequence - seen[0].sequence for h in seen] == [0, 1, 2]
    assert len({h.heartbeat for h in seen}) == 1, "no time has passed"
    talk.now_ns += 200 * MS
    assert talk.shown()[0].heartbeat == seen[0].heartbeat + 1
    board = talk.board
    board._sequence = board._heartbeat = 65535
    talk.now_ns += 200 * MS
    header = talk.shown()[0]
    assert (header.sequence, header.heartbeat) == (0, 0)


def test_an_image_is_due_when_it_changed_or_the_heart_beats() -> None:
    talk = Talk().running()
    talk.shown()
    assert talk.board.image(talk.now_ns) is None
    assert talk.board.image(talk.now_ns + 199 * MS) is None
    assert talk.board.image(talk.now_ns + 200 * MS) is not None
    talk.take(decision(1))
    assert talk.board.image(talk.now_ns + 201 * MS) is not None
    talk.board.set_state(LaneState.DRAINING)
    assert talk.board.image(talk.now_ns + 202 * MS) is not None
    talk.plc(passed_ms=3)
    assert talk.board.image(talk.now_ns) is not None, "the PLC's beat is echoed"


def test_at_power_up_control_is_lost_until_the_plc_has_beaten_twice() -> None:
    talk = Talk()
    talk.board.set_state(LaneState.RUNNING)
    assert talk.board.heard(SILENT, 0) == []
    assert talk.shown()[0].state is LaneState.CONTROL_LOST
    talk.plc()
    assert talk.shown()[0].state is LaneState.CONTROL_LOST, "this may be an old image"
    (event,) = talk.take(decision(1))
    assert event == PlcEvent("clear-withheld", {"bag": 1, "reason": "CONTROL_LOST"})
    talk.plc()
    header, places = talk.shown()
    assert header.state is LaneState.RUNNING
    assert (places[1].verdict, places[1].reason) == (Verdict.NOT_CLEARED, Reason.CONTROL_LOST)


def test_a_plc_that_falls_silent_loses_every_clear_for_good() -> None:
    talk = Talk().running()
    talk.take(decision(1))
    talk.take(decision(2, Verdict.ALARM))
    assert talk.board.tick(talk.now_ns + 1000 * MS) == []
    events = talk.board.tick(talk.now_ns + 1001 * MS)
    assert [e.kind for e in events] == ["plc-lost", "clear-withdrawn"]
    header, places = talk.shown()
    assert header.state is LaneState.CONTROL_LOST
    assert places[1].verdict is Verdict.NOT_CLEARED
    assert places[2].verdict is Verdict.ALARM
    talk.plc(passed_ms=1100)
    assert talk.kinds() == ["plc-heard"]
    header, places = talk.shown()
    assert header.state is LaneState.RUNNING
    assert (places[1].verdict, places[1].reason) == (Verdict.NOT_CLEARED, Reason.CONTROL_LOST)


def test_a_heartbeat_that_stands_is_silence_however_often_it_is_read() -> None:
    talk = Talk().running()
    same = Commands(9, 9, True, Direction.FORWARD, epoch=EPOCH).encode()
    talk.board.heard(same, talk.now_ns)
    said = [talk.board.heard(same, talk.now_ns + ms * MS) for ms in range(0, 1101, 100)]
    assert [event.kind for events in said for event in events] == ["plc-lost"]


def test_a_slow_bus_hides_no_silence() -> None:
    talk = Talk().running()
    talk.take(decision(1))
    talk.plc(passed_ms=1001)
    assert talk.kinds() == ["plc-lost", "clear-withdrawn", "plc-heard"]
    assert talk.shown()[1][1].verdict is Verdict.NOT_CLEARED


def test_a_decision_that_comes_when_the_plc_was_silent_too_long_is_withheld() -> None:
    talk = Talk().running()
    talk.now_ns += 1001 * MS
    assert [event.kind for event in talk.take(decision(1))] == ["plc-lost", "clear-withheld"]


@given(
    st.integers(0, 65535),
    st.lists(st.integers(1, 2000), min_size=1, max_size=4),
    st.lists(st.integers(0, 400), min_size=3, max_size=30),
)
def test_old_command_images_read_in_turn_are_no_heartbeat(
    first: int, steps: list[int], waits: list[int]
) -> None:
    talk = Talk()
    talk.board.set_state(LaneState.RUNNING)
    counts = [first, *(first + sum(steps[: n + 1]) for n in range(len(steps)))]
    for number, wait in enumerate(waits):
        talk.now_ns += min(wait, 1000 // len(counts)) * MS
        count = counts[number % len(counts)] % 65536
        told = Commands(count, count, True, Direction.FORWARD, epoch=EPOCH)
        talk.board.heard(told.encode(), talk.now_ns)
        assert not talk.board.plc_alive or number < len(counts)


@pytest.mark.parametrize(
    ("seen", "changes"),
    [
        ("epoch", {"epoch": 0}),
        ("epoch", {"epoch": EPOCH + 1}),
        ("encoder", {"encoder": 3001}),
        ("encoder", {"encoder": -3001}),
    ],
)
def test_a_plc_that_starts_anew_within_the_limit_finds_no_old_clear(
    seen: str, changes: dict[str, int]
) -> None:
    talk = Talk().running()
    talk.take(decision(1))
    talk.take(decision(2, Verdict.ALARM))
    talk.plc(**changes)
    assert talk.said[:2] == [
        PlcEvent("plc-restarted", {"seen": seen}),
        PlcEvent("clear-withdrawn", {"bag": 1, "reason": "CONTROL_LOST"}),
    ]
    talk.plc()
    assert [place.verdict for place in talk.shown()[1].values()] == [
        Verdict.NOT_CLEARED, Verdict.ALARM
    ]  # fmt: skip


def test_a_plc_whose_counters_start_anew_is_heard_again_a_limit_later() -> None:
    talk = Talk(beat=500).running()
    talk.take(decision(1))
    talk.beat = 0
    talk.plc()
    assert talk.kinds() == ["plc-restarted", "plc-lost", "clear-withdrawn"]
    for _ in range(10):
        talk.plc()
        assert talk.shown()[0].state is LaneState.CONTROL_LOST
    talk.plc()
    assert talk.kinds() == ["plc-heard"]
    assert talk.shown()[1][1].verdict is Verdict.NOT_CLEARED


def test_a_plc_whose_memory_is_zero_again_has_started_anew() -> None:
    talk = Talk().running()
    talk.take(decision(1))
    said = talk.board.heard(SILENT, talk.now_ns)
    assert [event.kind for event in said] == ["plc-restarted", "plc-lost", "clear-withdrawn"]
    assert talk.board.heard(SILENT, talk.now_ns) == []
    assert talk.shown()[0].state is LaneState.CONTROL_LOST


def test_a_damaged_command_image_is_no_heartbeat() -> None:
    talk = Talk().running()
    for ms in range(100, 1101, 100):
        data = bytearray(Commands(ms, ms, True, Direction.FORWARD).encode())
        data[9] ^= 1
        talk.board.heard(bytes(data), talk.now_ns + ms * MS)
    assert talk.board.damaged_commands == 11
    assert talk.shown()[0].state is LaneState.CONTROL_LOST


def test_a_lane_that_the_plc_stops_clears_nothing_until_it_runs_again() -> None:
    talk = Talk().running()
    talk.take(decision(1))
    talk.plc(run=False)
    assert talk.kinds() == ["plc-stop", "clear-withdrawn"]
    assert talk.shown()[0].state is LaneState.STOPPED
    (event,) = talk.take(decision(2))
    assert event.fields["reason"] == "USER_INTERRUPT"
    talk.plc()
    assert talk.kinds() == ["plc-run"]
    header, places = talk.shown()
    assert header.state is LaneState.RUNNING
    assert [places[bag].verdict for bag in (1, 2)] == [Verdict.NOT_CLEARED] * 2
    assert {places[bag].reason for bag in (1, 2)} == {Reason.USER_INTERRUPT}


def test_a_belt_that_goes_back_withdraws_and_withholds() -> None:
    talk = Talk().running()
    talk.take(decision(1))
    talk.plc(direction=Direction.REVERSE)
    assert talk.kinds() == ["belt-direction", "clear-withdrawn"]
    talk.take(decision(2))
    talk.plc(direction=Direction.FORWARD)
    _, places = talk.shown()
    assert [places[bag].verdict for bag in (1, 2)] == [Verdict.NOT_CLEARED] * 2
    assert {places[bag].reason for bag in (1, 2)} == {Reason.BELT_REVERSED}


@given(st.integers(-(2**31), 2**31 - 1), st.lists(st.integers(-60, 200), max_size=30))
def test_a_belt_whose_encoder_goes_back_is_reversed_whatever_the_direction_says(
    start: int, steps: list[int]
) -> None:
    """No bag whose head had passed the beam before the belt was moved back stays clear."""
    board = Board(BoardConfig(valid_counts=3000, reverse_counts=50), EPOCH)
    talk = Talk(board).running()
    place = furthest = start
    turned_at = start - 2**20
    talk.plc(encoder=wrap(place))
    talk.plc(encoder=wrap(place))
    for bag, step in enumerate(steps, 1):
        place += step
        talk.take(Decision(bag, Verdict.CLEAR, encoder_head=place - 40, encoder_tail=place))
        talk.plc(encoder=wrap(place))
        if furthest - place > 50:
            turned_at = furthest
        furthest = max(furthest, place)
        for shown in talk.shown()[1].values():
            if shown.verdict is Verdict.CLEAR:
                assert distance(shown.head, wrap(turned_at)) > 0


def test_a_belt_that_rolls_back_a_little_keeps_its_clears() -> None:
    talk = Talk().running()
    talk.plc(encoder=1900)
    talk.take(decision(1))
    talk.plc(encoder=1900 - 16)
    assert talk.shown()[1][1].verdict is Verdict.CLEAR
    talk.plc(encoder=1900 - 17)
    assert talk.kinds() == ["belt-reversed", "clear-withdrawn"]
    talk.plc(encoder=2000)
    (event,) = talk.take(Decision(2, Verdict.CLEAR, encoder_head=1900, encoder_tail=1950))
    assert event.fields["reason"] == "BELT_REVERSED"
    assert talk.take(Decision(3, Verdict.CLEAR, encoder_head=1901, encoder_tail=1950)) == []


def test_an_operator_takes_a_clear_away_but_gives_none_here() -> None:
    talk = Talk().running()
    talk.take(decision(1))
    talk.take(decision(2, Verdict.ALARM))
    told = {"override_bag": 1, "override": Verdict.ALARM, "operator": 12}
    talk.plc(**told)
    assert talk.said == [
        PlcEvent("operator-override", {"bag": 1, "verdict": "ALARM", "operator": 12,
                                       "effect": "applied"})
    ]  # fmt: skip
    talk.plc(**told)
    assert talk.said == [], "the same words once more are no second override"
    talk.plc(override_bag=2, override=Verdict.CLEAR, operator=12)
    assert talk.said[0].fields["effect"] == "none"
    _, places = talk.shown()
    assert (places[1].verdict, places[2].verdict) == (Verdict.ALARM, Verdict.ALARM)


@given(st.sampled_from(Verdict), st.sampled_from(Verdict), st.booleans(), st.booleans())
def test_an_override_makes_a_decision_worse_or_leaves_it_whichever_came_first(
    verdict: Verdict, override: Verdict, before: bool, ours: bool
) -> None:
    talk = Talk().running()
    told = {"override_bag": 1, "override": override, "operator": 3,
            "epoch": EPOCH if ours else EPOCH + 1}  # fmt: skip
    if before:
        talk.plc(**told)
        assert [event.fields["effect"] for event in talk.said if "effect" in event.fields] == (
            ["bag-not-shown"] if ours else []
        )
        events = talk.take(decision(1, verdict))
    else:
        talk.take(decision(1, verdict))
        events = talk.plc(**told)
    worse = ours and SEVERITY.index(override) > SEVERITY.index(verdict)
    place = talk.shown()[1][1]
    effects = [event.fields["effect"] for event in events if event.kind == "operator-override"]
    assert effects == ([("none", "applied")[worse]] if ours else [])
    if worse:
        assert (place.verdict, place.reason) == (override, Reason.USER_INTERRUPT)
    else:
        assert SEVERITY.index(place.verdict) >= SEVERITY.index(verdict)


def test_a_plc_that_never_writes_may_be_told_so() -> None:
    board = Board(BoardConfig(valid_counts=3000, plc_beats=False), EPOCH)
    board.set_state(LaneState.RUNNING)
    board.take(decision(1), 0)
    board.tick(10**12)
    image = board.image(10**12)
    assert image is not None
    header, places = decode(image)
    assert header.state is LaneState.RUNNING
    assert places[0] is not None
    assert places[0].verdict is Verdict.CLEAR


@pytest.mark.parametrize("verdict", Verdict)
def test_a_board_is_drained_when_the_last_bag_has_left_its_window(verdict: Verdict) -> None:
    talk = Talk().running()
    assert talk.board.drained
    talk.take(decision(1, verdict))
    talk.plc(encoder=4801)
    assert not talk.board.drained, "not taken over yet"
    talk.plc(encoder=4800, acknowledged=1)
    assert not talk.board.drained, "the bag is on its way"
    talk.plc(encoder=4801, acknowledged=1)
    assert talk.board.drained
    talk.plc(encoder=4000, acknowledged=1)
    talk.board.tick(talk.now_ns + 2000 * MS)
    assert talk.board.drained, "a silent PLC clears nothing"


def test_a_decision_of_before_the_start_clears_nothing_and_keeps_no_end_waiting() -> None:
    """Its encoder may have counted from another place: a window far ahead is no news."""
    talk = Talk().running()
    events = talk.board.take(decision(900), talk.now_ns, earlier=True)
    assert [event.kind for event in events] == ["clear-withheld"]
    header, places = talk.shown()
    assert header.decisions == 0
    assert (places[900].verdict, places[900].reason) == (Verdict.NOT_CLEARED, Reason.CONTROL_LOST)
    talk.take(decision(901))
    talk.plc(encoder=10, acknowledged=901)
    assert not talk.board.drained
    talk = Talk().running()
    talk.board.take(decision(900), talk.now_ns, earlier=True)
    talk.plc(encoder=10, acknowledged=900)
    assert talk.board.drained


def test_the_farewell_holds_no_decision() -> None:
    talk = Talk().running()
    talk.take(decision(1))
    header, places = decode(talk.board.farewell())
    assert header.state is LaneState.DOWN
    assert places == (None,) * PLACES


def test_epochs_are_never_zero_and_differ() -> None:
    epochs = {new_epoch() for _ in range(100)}
    # Two of 100 draws agree with probability 100 * 99 / 2 / 2^32 = 1.2e-6.
    assert len(epochs) == 100
    assert min(epochs) > 0
    assert max(epochs) < 2**32


@pytest.mark.parametrize(
    "wrong",
    [
        {"valid_counts": 0},
        {"valid_counts": 2**31},
        {"beat_s": 0},
        {"reverse_counts": -1},
        {"plc_limit_s": -1},
    ],
)
def test_a_number_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        BoardConfig(**({"valid_counts": 1} | wrong))  # type: ignore[arg-type]
