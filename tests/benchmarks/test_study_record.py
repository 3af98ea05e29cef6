from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from xedge_benchmarks.studies import Arm, Run, run_of
from xedge_benchmarks.study_record import (
    FOLDER,
    OTHER_PARENT,
    OTHER_TEXT,
    Kept,
    keep,
    must_start_over,
    recipe_today,
    records_in,
    sees_pictures,
    stale_among,
)

from xedge.errors import ConfigError
from xedge.train.checkpoint import Checkpoint
from xedge.train.recipe import load_recipe, recipe_sha256

PLAIN = Arm("atss-tiny", "plain", "sixray-three")
RUN = Run(PLAIN, 1)
MOVED = run_of(
    Arm("atss-tiny", "moved", "sixray-three", init="atss-tiny on simulated-for-sixray"), 1
)
START = MOVED.parents["init"]


def write(results: Path, machine: str, name: str, content: object) -> Path:
    path = results / machine / FOLDER / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def record(run: Run, **more: object) -> Kept:
    recipe = {"recipe": {"sha256": recipe_today(run)}, "parents": {"data": "d"}}
    return Kept(recipe | {"checkpoint_sha256": f"of {run.name}"} | more, "z80")


def test_a_record_that_no_commit_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be traced"):
        keep({"commit": "0123456789ab+"}, RUN, tmp_path, scratch=False)
    assert keep({"commit": "0123456789ab+"}, RUN, tmp_path, scratch=True).parts[-3] == "scratch"
    path = keep({"commit": "0123456789ab 89abcdef0123"}, RUN, tmp_path, scratch=False)
    assert json.loads(path.read_text())["commit"] == "0123456789ab 89abcdef0123"
    assert set(records_in(tmp_path)) == {RUN.name}


def test_scratch_records_are_read_only_when_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "z80", "a", 1)
    write(tmp_path, "scratch", "a", 2)
    write(tmp_path, "scratch", "b", 3)
    assert records_in(tmp_path) == {"a": Kept(1, "z80")}
    both = records_in(tmp_path, scratch=True)
    assert both == {"a": Kept(2, "scratch"), "b": Kept(3, "scratch")}


def test_a_run_with_records_of_two_machines_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "6502", "a", 1)
    write(tmp_path, "z80", "a", 2)
    with pytest.raises(ConfigError, match=r"run a has two records.*6502, z80"):
        records_in(tmp_path)


def test_a_record_takes_the_place_of_another_machines(tmp_path: Path) -> None:
    old = write(tmp_path, "z80", RUN.name, 1)
    scratch = write(tmp_path, "scratch", RUN.name, 2)
    keep({"commit": "0123456789ab+"}, RUN, tmp_path, scratch=True)
    assert old.exists()
    keep({"commit": "0123456789ab"}, RUN, tmp_path, scratch=False)
    assert not old.exists()
    assert scratch.exists()
    assert records_in(tmp_path)[RUN.name].content == {"commit": "0123456789ab"}


def test_a_run_on_simulated_bags_alone_sees_no_pictures() -> None:
    found = {
        on: sees_pictures(Run(Arm("atss-tiny", "plain", on), 1))
        for on in ("sixray-three", "simulated-for-sixray", "simulated-three")
    }
    assert found == {
        "sixray-three": True,
        "simulated-for-sixray": True,
        "simulated-three": False,
    }


def test_a_record_of_another_text_of_the_recipe_is_stale() -> None:
    _, text = load_recipe(Path("atss-tiny"), ["seed=1"], on="sixray-three")
    assert recipe_today(RUN) == recipe_sha256(text)
    assert stale_among([RUN], {RUN.name: record(RUN)}) == {}
    # As a record that was made with `out` in the text of its recipe.
    _, other = load_recipe(Path("atss-tiny"), ["out=runs", "seed=1"], on="sixray-three")
    kept = record(RUN, recipe={"sha256": recipe_sha256(other)})
    assert stale_among([RUN], {RUN.name: kept}) == {RUN.name: OTHER_TEXT}
    assert stale_among([RUN], {}) == {}


def test_a_record_that_started_from_another_run_than_the_recorded_one_is_stale() -> None:
    runs = [START, MOVED]
    good = {
        START.name: record(START),
        MOVED.name: record(MOVED, parents={"init": f"of {START.name}"}),
    }
    assert stale_among(runs, good) == {}
    again = good | {START.name: record(START, checkpoint_sha256="another")}
    assert stale_among(runs, again) == {MOVED.name: OTHER_PARENT}
    old = good | {START.name: record(START, recipe={"sha256": "old"})}
    assert stale_among(runs, old) == {START.name: OTHER_TEXT, MOVED.name: OTHER_PARENT}
    assert stale_among(runs, {MOVED.name: good[MOVED.name]}) == {MOVED.name: OTHER_PARENT}


def test_a_folder_with_a_run_of_another_recipe_or_start_is_begun_anew(tmp_path: Path) -> None:
    folder = tmp_path / RUN.name
    folder.mkdir()
    assert not must_start_over(folder, RUN, {})
    _, text = load_recipe(Path("atss-tiny"), ["seed=1"], on="sixray-three")
    begun = Checkpoint(recipe_text=text, weights={}, measured={}, commit="0123456789ab")
    begun.save(folder / "last.ckpt")
    assert not must_start_over(folder, RUN, {})
    assert must_start_over(folder, RUN, {"init": folder / "last.ckpt"})
    dataclasses.replace(begun, recipe_text=f"{text}\n").save(folder / "last.ckpt")
    assert must_start_over(folder, RUN, {})
