"""The PLC's rule in C does what the reference does, image by image, and commands as it should."""

from __future__ import annotations

import ctypes as c
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.control.commands import Commands, Direction, decode_commands
from xedge.control.image import Header, LaneState, Place, encode
from xedge.control.rule import RuleConfig
from xedge.control.words import crc, to_bytes, to_words
from xedge.types import Reason, Verdict

PLACE = Place(1, 0, 800, 2000, Verdict.CLEAR)


@pytest.fixture
def both(headers: c.CDLL, native_control: ModuleType) -> Any:
    return native_control.Both(headers)


def shown(beat: int, *places: Place, state: LaneState = LaneState.RUNNING) -> list[int]:
    return list(to_words(encode(Header(beat, beat, state, 9), places)))


def test_no_story_is_told_otherwise(
    headers: c.CDLL, native_control: ModuleType, rule_scenes: ModuleType
) -> None:
    rule_scenes.play_stories(lambda: native_control.Both(headers))


@settings(max_examples=150)
@given(data=st.data())
def test_it_answers_as_the_reference_does(
    headers: c.CDLL, native_control: ModuleType, rule_scenes: ModuleType, data: st.DataObject
) -> None:
    rule_scenes.play(native_control.Both(headers), *data.draw(rule_scenes.SCENES))


def test_a_bag_is_cleared_by_it_until_its_window_ends(both: Any) -> None:
    for beat in (1, 2):
        both.scan(shown(beat), 900, beat)
    both.enter(0, 800)
    both.scan(shown(3, PLACE), 900, 3)
    (_, item), *_ = both.items
    assert both.answer(item)[0] == Verdict.CLEAR
    both.scan(None, 900, 4)  # nothing was read
    assert both.answer(item)[0] == Verdict.NOT_CLEARED
    both.scan(shown(4, PLACE), 2000, 5)
    assert both.answer(item)[0] == Verdict.CLEAR
    both.scan(shown(5, PLACE), 2001, 6)
    both.scan(shown(6, PLACE), 2000, 7)
    assert both.answer(item)[0] == Verdict.NOT_CLEARED


@pytest.mark.parametrize("state", LaneState)
def test_it_knows_the_states(both: Any, state: LaneState) -> None:
    for beat in (1, 2, 3):
        both.scan(shown(beat, state=state), 0, beat)
    assert both.rule.state == state


def test_limits_can_be_set(headers: c.CDLL, native_control: ModuleType) -> None:
    both = native_control.Both(headers, RuleConfig(heartbeat_limit_ms=5, extent_counts=0))
    for beat in (1, 2):
        both.scan(shown(beat), 900, beat)
    both.enter(1, 800)
    both.scan(shown(3, PLACE), 900, 3)
    both.scan(shown(3, PLACE), 900, 9)
    assert not both.rule.alive
    assert not both.items[0][1].taken.bag


@given(st.integers(0, 65535) | st.integers(0, 3), st.integers(0, 65535) | st.integers(8, 14))
def test_it_takes_no_decision_nor_reason_that_does_not_exist(
    headers: c.CDLL, native_control: ModuleType, decision: int, reason: int
) -> None:
    both = native_control.Both(headers)
    for beat in (1, 2):
        both.scan(shown(beat), 900, beat)
    both.enter(0, 800)
    words = shown(3, PLACE)
    words[18:20] = decision, reason
    words[22:24] = crc((*words[5:7], *words[12:22]))
    both.scan(words, 900, 3)
    exists = decision in set(Verdict) and reason in set(Reason)
    assert bool(both.items[0][1].taken.bag) == exists


@given(words=st.lists(st.integers(0, 65535), min_size=97, max_size=97), right=st.booleans())
def test_no_image_is_taken_that_the_reference_refuses(
    headers: c.CDLL, native_control: ModuleType, words: list[int], right: bool
) -> None:
    both = native_control.Both(headers)
    if right:
        words[0:2], words[96], words[4] = (0x5845, 1), words[2], words[4] % 8
        words[10:12] = crc(words[:10])
    both.scan(words, 0, 0)


@given(
    beat=st.integers(0, 65535), run=st.booleans(), direction=st.sampled_from(Direction),
    encoder=st.integers(-(2**31), 2**31 - 1), epoch=st.integers(0, 2**32 - 1),
    bag=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_its_command_image_is_the_one_that_a_lane_reads(
    headers: c.CDLL, native_control: ModuleType, beat: int, run: bool, direction: Direction,
    encoder: int, epoch: int, bag: int,
) -> None:  # fmt: skip
    both, words = native_control.Both(headers), (c.c_uint16 * 19)()
    both.rule.encoder, both.rule.epoch, both.rule.newest = encoder, epoch, bag
    headers.xedge_rule_commands(c.byref(both.rule), words, beat, run, direction)
    assert decode_commands(to_bytes(list(words))) == Commands(
        beat, beat, run, direction, encoder, epoch, bag
    )
