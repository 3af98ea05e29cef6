"""Words, wrapping counters and the CRC."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.control import words
from xedge.errors import ImageRefused

ANY32 = st.integers(-(2**31), 2**31 - 1)


@given(ANY32)
def test_a_signed_number_comes_back_from_its_two_words(value: int) -> None:
    assert words.signed(*words.split(value)) == value
    assert words.unsigned(*words.split(value)) == value % 2**32


@given(st.integers(-(2**70), 2**70), st.integers(-(2**31), 2**31 - 1))
def test_a_distance_survives_the_wrap_of_both_counters(start: int, steps: int) -> None:
    assert words.distance(words.wrap(start + steps), words.wrap(start)) == steps


@given(st.lists(st.integers(0, 65535)))
def test_words_come_back_from_their_bytes(some: list[int]) -> None:
    assert words.to_words(words.to_bytes(some)) == tuple(some)


def test_half_a_word_is_refused() -> None:
    with pytest.raises(ImageRefused, match="odd number of bytes: found 3"):
        words.to_words(b"abc")


def test_the_crc_is_the_one_that_catalogues_call_crc_32_iso_hdlc() -> None:
    """Its check value is that of the nine bytes "123456789"; of eight, computed bit by bit."""
    data, register = b"12345678", 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    high, low = words.crc(words.to_words(data))
    assert high << 16 | low == register ^ 0xFFFFFFFF


@pytest.mark.parametrize("count", [1, 10, 12, 16, 97])
def test_the_crc_of_zeros_is_not_zero(count: int) -> None:
    assert words.crc([0] * count) != (0, 0)
