"""`xedge quiet`: thresholds out of what bags showed, and a bundle that states them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import assume, given
from hypothesis import strategies as st

import xedge
from xedge.bundle import open_bundle
from xedge.commands.quiet import choose, count, quiet, require_sound, state, with_quiet
from xedge.commands.quieted import QUIET_SEED, Seen, SeenBag, look
from xedge.errors import ConfigError, EngineError, EngineLoadError
from xedge.quiet import Quiet

ALARM = 0.4
SCORE = st.floats(0, 1)


def bag(*windows: tuple[float, float], clean: bool = True, seed: int = 1) -> SeenBag:
    return SeenBag(seed, clean, {"fp32": tuple(Seen(*w) for w in windows)})


def test_the_threshold_lies_a_margin_below_what_held_something() -> None:
    bags = [bag((0.5, 0.41), (0.3, 0.39)), bag((0.45, 0.4), (0.1, 0.0))]
    assert choose(bags, "fp32", ALARM, 0.1) == (0.45, Quiet(ALARM, 0.405))
    assert choose(bags, "fp32", 0.05, 0.5) == (0.3, Quiet(0.05, 0.15))
    with pytest.raises(ConfigError, match="nothing shows where"):
        choose(bags, "fp32", 0.9, 0.1)


@given(least=st.floats(0, 0.0003), margin=st.floats(0, 0.9))
def test_below_the_smallest_threshold_there_is_none(least: float, margin: float) -> None:
    bags = [bag((least, 0.5), (0.0, 0.0))]
    seen, chosen = choose(bags, "fp32", ALARM, margin)
    assert seen == least
    # A last bit of a product may lie on either side of a whole number.
    if least * (1 - margin) < 0.99e-4:
        assert chosen is None
    elif least * (1 - margin) > 1.01e-4:
        assert chosen is not None
        assert 0 < chosen.below <= least
    found = count(bags, "fp32", chosen, ALARM)
    assert (found.lost, found.flips) == (0, 0)
    assert found.stopped_clean == (0 if chosen is None else 0.5)


def test_a_threshold_for_alarms_is_stated_beside_none_for_all(quiet_bundle: Path) -> None:
    bags = [bag((0.00008, 0.35), (0.0, 0.0)), bag((0.6, 0.55))]
    for_all, alarms = state(open_bundle(quiet_bundle), bags, bags, ["fp32"], 0.1)["fp32"]
    assert (for_all.keeps, for_all.quiet, for_all.useful) == (0.3, None, False)
    assert (alarms.quiet, alarms.useful) == (Quiet(0.5, 0.54), True)
    assert for_all.checked_on.stopped_clean == 0


@given(
    windows=st.lists(st.lists(st.tuples(SCORE, SCORE), min_size=1, max_size=3), min_size=1),
    keeps=st.floats(0.01, 1),
)
def test_on_the_bags_it_was_chosen_on_nothing_is_lost(
    windows: list[list[tuple[float, float]]], keeps: float
) -> None:
    bags = [bag(*some) for some in windows]
    held = [w[0] for some in windows for w in some if w[1] >= keeps]
    assume(held)
    _, chosen = choose(bags, "fp32", keeps, 0.1)
    found = count(bags, "fp32", chosen, keeps)
    assert (found.lost, found.flips) == (0, 0)
    assert found.most_flips == 3 / len(bags)


def test_flips_are_of_bags_and_losses_of_windows() -> None:
    bags = [
        bag((0.2, 0.5), (0.9, 0.8), clean=False),  # the other window alarms as well
        bag((0.2, 0.5), (0.1, 0.1), clean=False),  # lost
        bag((0.2, 0.1), (0.1, 0.0), clean=True),
        bag((0.9, 0.1), clean=True),
    ]
    found = count(bags, "fp32", Quiet(ALARM, 0.3), ALARM)
    assert (found.bags, found.lost, found.flips, found.most_flips) == (4, 2, 1, None)
    assert (found.stopped_clean, found.stopped_loaded) == (2 / 3, 3 / 4)
    # A clean bag has 1.5 windows, a loaded one 2; 99 bags of 100 are clean.
    windows = 0.99 * 1.5 + 0.01 * 2
    assert found.stopped_belt == pytest.approx((0.99 * 1.0 + 0.01 * 1.5) / windows)


def test_too_few_bags_say_nothing_of_flips(quiet_bundle: Path) -> None:
    bundle, held = open_bundle(quiet_bundle), bag((0.9, 0.8), (0.1, 0.0))
    few = state(bundle, [held], [held] * 1499, ["fp32"], 0.1)
    with pytest.raises(ConfigError, match="too few bags say"):
        require_sound(few)
    require_sound(state(bundle, [held], [held] * 1500, ["fp32"], 0.1))
    # Where a threshold was chosen nothing can flip, and so nothing follows from it.
    assert [(one.chosen_on.most_flips, one.checked_on.most_flips) for one in few["fp32"]] == [
        (None, 3 / 1499)] * 2  # fmt: skip


def test_a_log_goes_on_where_it_was_ended(quiet_bundle: Path, tmp_path: Path) -> None:
    bundle, log = open_bundle(quiet_bundle), tmp_path / "log.jsonl"
    asked = {"fp32": "onnxruntime"}
    seeds = range(QUIET_SEED, QUIET_SEED + 2)
    first = look(bundle, asked, seeds[:1], log, 1)
    whole = log.read_text()
    log.write_text(whole + '{"seed": 8000001, "cl')  # ended while it wrote
    made: list[int] = []
    both = look(bundle, asked, seeds, log, 1, lambda: made.append(1))
    assert both[0] == first[0]
    assert [b.seed for b in both] == list(seeds)
    assert len(log.read_text().splitlines()) == 3
    assert look(bundle, asked, seeds, log, 1) == both
    with pytest.raises(ConfigError, match="is of other graphs or engines"):
        look(bundle, {"fp32": "openvino"}, seeds, log, 1)


def quieted(*arguments: object) -> Any:
    return CliRunner().invoke(quiet, [str(a) for a in arguments])


def test_a_bundle_is_written_that_states_what_was_measured(
    quiet_bundle: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "out.xedge", tmp_path / "log.jsonl"
    look(open_bundle(quiet_bundle), {"fp32": "onnxruntime"}, [], log, 1)  # the first line
    with log.open("a") as lines:
        for number, windows in enumerate([((0.6, 0.55), (0.4, 0.35), (0.1, 0.0)), ((0.5, 0.52),)]):
            print(bag(*windows, seed=QUIET_SEED + number).to_json(), file=lines)
    options = ("--engine", "onnxruntime", "--threads", 1, "--bags", 1, "--check", 1)
    done = quieted(quiet_bundle, "-o", out, *options, "--log", log, "--json")
    # Chosen on the first: below 0.54 no alarm was seen, and in the second one is lost.
    assert isinstance(done.exception, ConfigError)
    assert "decisions flip" in str(done.exception)
    assert not out.exists()
    done = quieted(quiet_bundle, "-o", out, *options, "--log", log, "--force", "--json")
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert record["sha256"] == open_bundle(out).sha256
    both = record["variants"]["fp32"]["stated"]
    assert [row["quiet"]["keeps"] for row in both] == [0.3, 0.5]
    assert [row["quiet"]["below"] for row in both] == [0.36, 0.54]
    assert [row["chosen_on"]["flips"] for row in both] == [0, 0]
    assert [row["checked_on"]["flips"] for row in both] == [0, 1]
    written, source = open_bundle(out), open_bundle(quiet_bundle)
    assert written.variant().model == source.variant().model
    assert written.variant().quiet == tuple(Quiet(**row["quiet"]) for row in both)
    assert written.measured["quiet"] == record["variants"]
    with xedge.open_detector(written, "onnxruntime", 1) as detector:
        detector.detect_window(np.full((3, 32, 32), 240, np.uint8))
        assert detector.stopped == 1
    # Of a belt without a quiet window nothing is stated.
    whole = log.read_text()
    busy = tmp_path / "busy.jsonl"
    rows = whole.splitlines()
    busy.write_text("\n".join([rows[0], rows[1].replace(", [0.1, 0.0]", ""), rows[2], ""]))
    less = quieted(quiet_bundle, "-o", out, *options, "--log", busy, "--force")
    assert "fp32 keeps 0.3: not written, too few windows stop" in less.stdout
    assert [one.keeps for one in open_bundle(out).variant().quiet] == [0.5]
    # Nor below a first-pass score of nothing; what there is for alarms is stated as ever.
    log.write_text(whole.replace("[0.4, 0.35]", "[0.00008, 0.35]"))
    low = quieted(quiet_bundle, "-o", out, *options, "--log", log, "--force")
    assert low.exit_code == 0, low.output
    assert "fp32 keeps 0.3: not written, too few windows stop" in low.stdout
    assert "none" in low.stdout
    assert [one.keeps for one in open_bundle(out).variant().quiet] == [0.5]
    assert open_bundle(out).measured["quiet"]["fp32"]["stated"][0]["quiet"] is None
    log.write_text(whole)
    # What was measured of another variant stays.
    others = {"quiet": {"int8": {"margin": 0.1}}}
    with_quiet(out, open_bundle(quiet_bundle), {}, others)
    again = quieted(out, "-o", out, *options, "--log", log, "--force")
    assert again.exit_code == 0
    assert set(open_bundle(out).measured["quiet"]) == {"fp32", "int8"}
    table = quieted(quiet_bundle, "-o", out, *options, "--log", log, "--force")
    assert "stops below" in table.stdout


def test_what_cannot_be_is_refused(quiet_bundle: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    done = quieted(quiet_bundle, "-o", tmp_path / "out.onnx")
    assert isinstance(done.exception, ConfigError)
    done = quieted(quiet_bundle, "-o", tmp_path / "out.xedge", "--engine", "openvino-bf16")
    assert isinstance(done.exception, (ConfigError, EngineError))  # the latter where it is missing
    assert not (tmp_path / "out.xedge").exists()
    with pytest.raises(EngineLoadError, match="no first pass"):
        look(open_bundle(tiny_bundle), {"fp32": "onnxruntime"}, [QUIET_SEED], None, 1)
