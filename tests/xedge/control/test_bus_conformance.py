"""What every bus does, the shipped fake among them."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from xedge.control.commands import COMMAND_BYTES, SILENT, Commands, Direction
from xedge.control.image import IMAGE_BYTES, Header, LaneState, Place, decode, encode
from xedge.control.link import Link, LinkConfig
from xedge.control.rule import PlcRule, Why
from xedge.control.words import to_words
from xedge.errors import BusError
from xedge.types import Decision, Verdict

PATIENCE_S = 60.0
"""How long a test waits for what must come; a loaded machine is slow, not wrong."""


def image(sequence: int, bag: int = 1) -> bytes:
    place = Place(bag, 100, 900, 2000, Verdict.CLEAR)
    return encode(Header(sequence, sequence, LaneState.RUNNING, 7, bag), (place, None, place))


def eventually(true: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.005)


def came(rig: SimpleNamespace, data: bytes) -> Callable[[], bool]:
    return lambda: rig.port.read() == data


def commanded(rig: SimpleNamespace, data: bytes) -> Callable[[], bool]:
    return lambda: rig.bus.read() == data


def test_the_plc_reads_what_was_written_and_the_last_write_wins(rig: SimpleNamespace) -> None:
    rig.bus.connect()
    for sequence in range(20):
        rig.bus.write(image(sequence, sequence + 1))
    eventually(came(rig, image(19, 20)))
    rig.bus.write(image(20))
    eventually(came(rig, image(20)))


def test_every_byte_may_have_every_value(rig: SimpleNamespace) -> None:
    rig.bus.connect()
    for first in (0, 100):
        data = bytes((first + n) % 256 for n in range(IMAGE_BYTES))
        rig.bus.write(data)
        eventually(came(rig, data))
    back = bytes(255 - n for n in range(COMMAND_BYTES))
    rig.port.write(back)
    eventually(commanded(rig, back))


def test_before_the_first_write_nothing_is_cleared_and_nothing_commanded(
    rig: SimpleNamespace,
) -> None:
    if not rig.serves:  # then there is nobody to read from before
        assert rig.port.read() == bytes(IMAGE_BYTES)
    rig.bus.connect()
    assert rig.bus.read() == SILENT
    assert rig.port.read() == bytes(IMAGE_BYTES)


def test_the_lane_reads_what_the_plc_commands(rig: SimpleNamespace) -> None:
    rig.bus.connect()
    for beat in range(1, 4):
        data = Commands(beat, beat, True, Direction.FORWARD, -5, 2**32 - 1, 2**31).encode()
        rig.port.write(data)
        eventually(commanded(rig, data))


def test_a_bus_can_be_connected_again_and_closed_twice(rig: SimpleNamespace) -> None:
    rig.bus.close()
    rig.bus.connect()
    rig.bus.connect()
    rig.bus.write(image(1))
    rig.bus.close()
    rig.bus.close()
    with pytest.raises(BusError):
        rig.bus.write(image(2))
    with pytest.raises(BusError):
        rig.bus.read()
    rig.bus.connect()
    rig.bus.write(image(3))
    eventually(lambda: read_again(rig) == image(3))


def read_again(rig: SimpleNamespace) -> bytes:
    """What the PLC reads, when its own end may have to connect again."""
    try:
        return bytes(rig.port.read())
    except BusError:
        rig.port.close()
        rig.port.connect()
        return b""


def test_a_plc_that_is_gone_is_an_error_and_one_that_is_back_starts_from_zero(
    rig: SimpleNamespace,
) -> None:
    if rig.serves:
        pytest.skip("the lane's end is the server: writing needs no PLC")
    rig.bus.connect()
    rig.bus.write(image(1))
    rig.port.close()

    def fails() -> bool:  # what is on its way when a peer goes may still be taken
        try:
            rig.bus.write(image(2))
        except BusError:
            return True
        return False

    eventually(fails)
    rig.bus.close()
    with pytest.raises(BusError) as refused:
        rig.bus.connect()
    assert str(refused.value).startswith(str(rig.bus))
    assert refused.value.remedy
    rig.port.connect()
    assert rig.port.read() == bytes(IMAGE_BYTES)
    rig.bus.connect()
    rig.bus.write(image(3))
    eventually(came(rig, image(3)))


def test_no_name_and_no_repr_holds_a_secret(rig: SimpleNamespace) -> None:
    said = f"{rig.bus} {rig.bus!r} {rig.port} {rig.port!r} {vars(rig.bus)!r}"
    for secret in rig.secrets:
        assert secret not in said


def test_a_link_and_a_plc_clear_one_bag_through_it_and_again_after_an_outage(
    rig: SimpleNamespace,
) -> None:
    config = LinkConfig(valid_counts=4000, beat_s=0.02, poll_s=0.01, plc_limit_s=PATIENCE_S,
                        retry_first_s=0.02, retry_most_s=0.1)  # fmt: skip
    rule = PlcRule()
    beat = 0

    def scan(encoder: int) -> None:
        nonlocal beat
        beat += 1
        try:
            rule.see(to_words(rig.port.read()), encoder, 20 * beat)
            rig.port.write(
                Commands(beat % 65536, beat % 65536, True, Direction.FORWARD, encoder, rule.epoch,
                         rule.acknowledged).encode()
            )  # fmt: skip
        except BusError:
            rig.port.close()
            rig.port.connect()
        time.sleep(0.005)

    def clears(bag: int, head: int) -> bool:
        item = rule.enter(head, head + 800)
        link.publish(Decision(bag, Verdict.CLEAR, encoder_head=head, encoder_tail=head + 800))
        for _ in range(400):
            scan(head + 1000)
            item = rule.follow(item)
            if item.taken:
                break
        answer = rule.answer(item)
        assert answer.why in (Why.DECIDED, Why.NO_DECISION)
        return answer.verdict is Verdict.CLEAR

    link = Link(rig.bus, config, epoch=99)
    with link:
        link.set_state(LaneState.RUNNING)
        eventually(lambda: scan(0) or rule.ready)
        assert clears(1, 0)
        eventually(lambda: scan(1500) or not link.status.unacknowledged)
        rig.port.close()
        time.sleep(0.05)
        rig.port.connect()
        eventually(lambda: scan(1500) or (rule.ready and link.status.connected))
        assert clears(2, 2000)
    last = rig.serves or rig.port.read()
    # MQTT has a last will of zeros behind the farewell.
    assert rig.serves or not any(last) or decode(last)[0].state is LaneState.DOWN
