"""The decision image, word by word, and what is no decision image."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.control.image import (
    HEADER_WORDS,
    IMAGE_BYTES,
    IMAGE_WORDS,
    PLACE_WORDS,
    PLACES,
    Header,
    LaneState,
    Place,
    bag_number,
    decode,
    encode,
    read_header,
    read_place,
)
from xedge.control.words import crc, to_bytes, to_words
from xedge.errors import ImageRefused
from xedge.types import Decision, Reason, Verdict

I32 = st.integers(-(2**31), 2**31 - 1)
PLACE = st.builds(
    Place, st.integers(1, 2**32 - 1), I32, I32, I32, st.sampled_from(Verdict),
    st.sampled_from(Reason),
)  # fmt: skip
HEADER = st.builds(
    Header, st.integers(0, 65535), st.integers(0, 65535), st.sampled_from(LaneState),
    st.integers(1, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 65535),
)  # fmt: skip

RUNNING = Header(5, 6, LaneState.RUNNING, 0x01020304, 8, 9)
CLEAR = Place(0x00010002, 100, -2, 0x00030004, Verdict.CLEAR)


@given(HEADER, st.lists(st.none() | PLACE, max_size=PLACES))
def test_an_image_comes_back(header: Header, places: list[Place | None]) -> None:
    data = encode(header, places)
    assert len(data) == IMAGE_BYTES == 194
    assert decode(data) == (header, tuple(places + [None] * (PLACES - len(places))))


def test_every_word_is_where_the_table_says() -> None:
    """Against the table in the documentation, written out by hand."""
    words = to_words(encode(RUNNING, [None, CLEAR]))
    assert len(words) == IMAGE_WORDS == 97
    assert words[:10] == (0x5845, 1, 5, 6, 2, 0x0102, 0x0304, 0, 8, 9)
    assert words[10:12] == crc(words[:10])
    assert words[12:24] == (0,) * 12
    assert words[24:34] == (1, 2, 0, 100, 0xFFFF, 0xFFFE, 1, 0, 3, 4)
    assert words[34:36] == crc((0x0102, 0x0304, *words[24:34]))
    assert words[36:96] == (0,) * 60
    assert words[96] == 5


def test_an_image_fits_one_message_of_modbus_and_one_of_the_smallest_s7() -> None:
    # Function 16 takes 123 registers; python-snap7 keeps 35 bytes of a PDU of 240 for itself.
    assert IMAGE_WORDS <= 123
    assert IMAGE_BYTES <= 240 - 35


def test_zero_memory_is_no_image_and_its_places_are_free() -> None:
    with pytest.raises(ImageRefused, match="no decision image"):
        decode(bytes(IMAGE_BYTES))
    assert read_place((0,) * IMAGE_WORDS, 0, 1) is None


@given(st.data())
def test_no_five_flipped_bits_of_a_part_pass_its_crc(data: st.DataObject) -> None:
    """CRC-32 has a Hamming distance of 6 up to 268 bits of data; a part and its epoch have 192."""
    image = bytearray(encode(RUNNING, [CLEAR]))
    start, size = data.draw(st.sampled_from([(0, 24), (24, 24)]))
    bits = st.integers(8 * start, 8 * (start + size) - 1)
    for bit in data.draw(st.sets(bits, min_size=1, max_size=5)):
        image[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ImageRefused):
        decode(bytes(image))


@given(st.integers(6, IMAGE_BYTES - 1))
def test_a_torn_image_is_refused(cut: int) -> None:
    """From behind the first sequence number on; before that the image is the old one."""
    old = encode(RUNNING, [CLEAR])
    new = encode(Header(6, 7, LaneState.RUNNING, 0x01020304, 9, 9), [None, CLEAR])
    with pytest.raises(ImageRefused):
        read_header(to_words(new[:cut] + old[cut:]))


def test_a_decision_of_another_epoch_is_refused() -> None:
    words = to_words(encode(RUNNING, [CLEAR]))
    assert read_place(words, 0, RUNNING.epoch) == CLEAR
    with pytest.raises(ImageRefused, match="another start"):
        read_place(words, 0, RUNNING.epoch + 1)


def altered(at: int, value: int, first: int, last: int, at_crc: int) -> bytes:
    """An image with a word that cannot be, and a CRC that fits it."""
    words = list(to_words(encode(RUNNING, [CLEAR])))
    words[at] = value
    epoch = words[5:7] if first else []
    words[at_crc : at_crc + 2] = crc([*epoch, *words[first:last]])
    return to_bytes(words)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (altered(4, 9, 0, 10, 10), "state in a decision image is unknown: expected 0 to 6"),
        (altered(18, 3, 12, 22, 22), "decision 0 of an image is unknown: 3 is not"),
        (altered(19, 99, 12, 22, 22), "decision 0 of an image is unknown: 99 is not"),
        (altered(12, 0, 12, 22, 22)[:-2], "expected 97 words, found 96"),
        (altered(0, 1, 0, 10, 10), "expected 0x5845 and version 1, found 0x0001 and 1"),
        (altered(1, 2, 0, 10, 10), "found 0x5845 and 2"),
        (altered(96, 4, 0, 10, 10), "while it was written: expected 5, found 4"),
    ],
)
def test_what_cannot_be_is_refused_in_words(data: bytes, said: str) -> None:
    with pytest.raises(ImageRefused, match=said):
        decode(data)


def test_a_lanes_counters_wrap_into_the_image() -> None:
    decision = Decision(
        2**32, Verdict.CLEAR, encoder_head=2**31 - 10, encoder_tail=2**31 + 10,
    )  # fmt: skip
    place = Place.of(decision, 100)
    assert place.bag == bag_number(2**32) == 1
    assert (place.head, place.tail) == (2**31 - 10, -(2**31) + 10)
    assert place.valid_until == -(2**31) + 110


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Place(0, 0, 0, 0),
        lambda: Place(2**32, 0, 0, 0),
        lambda: Place(1, 2**31, 0, 0),
        lambda: Header(0, 0, LaneState.RUNNING, 0),
        lambda: Header(65536, 0, LaneState.RUNNING, 1),
        lambda: encode(RUNNING, [CLEAR] * (PLACES + 1)),
    ],
)
def test_what_does_not_fit_is_refused(wrong: object) -> None:
    with pytest.raises(ImageRefused):
        wrong()  # type: ignore[operator]


def test_the_layout_leaves_no_gap() -> None:
    assert HEADER_WORDS + PLACES * PLACE_WORDS + 1 == IMAGE_WORDS
