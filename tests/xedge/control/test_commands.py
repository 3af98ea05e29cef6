"""The command image, word by word, and what is no command image."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.control.commands import COMMAND_BYTES, SILENT, Commands, Direction, decode_commands
from xedge.control.words import crc, to_bytes, to_words
from xedge.errors import ImageRefused
from xedge.types import Verdict

U16 = st.integers(0, 65535)
U32 = st.integers(0, 2**32 - 1)
COMMANDS = st.builds(
    Commands, U16, U16, st.booleans(), st.sampled_from(Direction),
    st.integers(-(2**31), 2**31 - 1), U32, U32, U32, st.sampled_from(Verdict), U16,
)  # fmt: skip
SOME = Commands(3, 4, True, Direction.REVERSE, -2, 0x10002, 0x30004, 0x50006, Verdict.ALARM, 77)


@given(COMMANDS)
def test_commands_come_back(commands: Commands) -> None:
    assert decode_commands(commands.encode()) == commands


def test_every_word_is_where_the_table_says() -> None:
    words = to_words(SOME.encode())
    assert words[:16] == (0x5850, 1, 3, 4, 1, 2, 65535, 65534, 1, 2, 3, 4, 5, 6, 2, 77)
    assert words[16:18] == crc(words[:16])
    assert words[18:] == (3,)
    assert COMMAND_BYTES == 38


def test_zero_memory_is_a_plc_that_has_said_nothing() -> None:
    assert decode_commands(SILENT) is None
    assert decode_commands(bytes(38)) is None
    assert Commands() == Commands(run=False, direction=Direction.STANDING)


@given(st.sets(st.integers(0, 8 * 36 - 1), min_size=1, max_size=4))
def test_no_four_flipped_bits_pass_the_crc(bits: set[int]) -> None:
    """CRC-32 has a Hamming distance of 5 up to 2974 bits of data; these are 256."""
    image = bytearray(SOME.encode())
    for bit in bits:
        image[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ImageRefused):
        decode_commands(bytes(image))


@given(st.integers(6, 37))
def test_a_torn_image_is_refused(cut: int) -> None:
    old, new = SOME.encode(), Commands(4, 5, True).encode()
    with pytest.raises(ImageRefused):
        decode_commands(new[:cut] + old[cut:])


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (0, 0x5845, "found 0x5845 and 1"),
        (1, 9, "found 0x5850 and 9"),
        (4, 2, "a command does not exist"),
        (5, 3, "a command does not exist"),
        (14, 3, "a command does not exist"),
        (18, 2, "while it was written"),
    ],
)
def test_what_cannot_be_is_refused_in_words(at: int, value: int, said: str) -> None:
    words = list(to_words(SOME.encode()))
    words[at] = value
    words[16:18] = crc(words[:16])
    with pytest.raises(ImageRefused, match=said):
        decode_commands(to_bytes(words))


def test_another_length_is_refused() -> None:
    with pytest.raises(ImageRefused, match="expected 38 bytes, found 36"):
        decode_commands(SOME.encode()[:36])


@pytest.mark.parametrize(
    "changes", [{"sequence": -1}, {"epoch": 2**32}, {"encoder": 2**31}, {"operator": 65536}]
)
def test_what_does_not_fit_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ImageRefused, match=next(iter(changes))):
        Commands(**changes)  # type: ignore[arg-type]
