"""Runs of neighbouring scans."""

import numpy as np
import pytest

from xedge.data.blocks import LONGEST_RUN, choose_blocks, neighbours, twins
from xedge.errors import DataError


def test_numbers_that_follow_each_other_are_one_run() -> None:
    names = ["P00010", "P00007", "P00004", "P00014", "N00011", "Q", "20_1_2", "20_2_2"]
    groups = neighbours(names)
    assert groups["P00004"] == groups["P00007"] == groups["P00010"] == "P00004"
    assert {name for name, group in groups.items() if name == group} == {
        "P00004", "P00014", "N00011", "Q", "20_1_2", "20_2_2",
    }  # fmt: skip


def test_a_set_without_gaps_is_cut_into_runs_of_limited_length() -> None:
    groups = neighbours([f"{k:06d}" for k in range(3 * LONGEST_RUN)])
    assert len(set(groups.values())) == 3
    assert groups["000063"] == "000000"
    assert groups["000064"] == "000064"


def test_files_with_the_same_bytes_are_twins(tmp_path) -> None:
    paths = [tmp_path / name for name in "abcdef"]
    for path, content in zip(paths[:5], (b"one", b"two", b"one", b"three", b"one"), strict=True):
        path.write_bytes(content)
    assert twins(paths) == [(0, 2), (0, 4)]


@pytest.mark.parametrize("seed", range(5))
def test_groups_that_share_a_picture_go_to_one_side(seed) -> None:
    groups = [f"g{k}" for k in range(12)]
    pairs = [("g0", "g11"), ("g11", "g5"), ("g2", "g3")]
    held = choose_blocks(groups, np.ones((12, 1)), 0.4, seed, 12, of="set", twins=pairs)
    assert 0 < len(held) < 12
    for a, b in pairs:
        assert (a in held) == (b in held)
    with pytest.raises(DataError, match="two blocks without a picture in common"):
        choose_blocks(groups[:2], np.ones((2, 1)), 0.4, seed, 2, of="set", twins=[("g0", "g1")])
