"""Runs of neighbouring scans."""

from xedge.data.blocks import LONGEST_RUN, neighbours


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
