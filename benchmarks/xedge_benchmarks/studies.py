"""Studies: recipes trained side by side with several seeds, and the record of each run.

A study answers one question about systems (does LA help, does DOAM, in which order do the systems
come). Its runs share data, split, size and epochs, and differ in the recipe and the seed. Each run
is a process of its own with one thread, so that two run side by side without slowing each other's
arithmetic; an interrupted one resumes, and one that has a record, maybe of another study, is not
run again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from xedge.errors import ConfigError, XedgeError
from xedge.machine import read_machine
from xedge_benchmarks.record import COMMIT_DIGITS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Json = dict[str, Any]
FOLDER: Final = "training"
"""Folder of the runs' records inside a machine's results."""


@dataclass(frozen=True)
class Arm:
    """One side of a study: a recipe, and what it starts from.

    Attributes:
        recipe: Name of a shipped recipe.
        label: What it is called in the table.
        on: Data to learn from, as `xedge train --on`.
        teacher: Recipe, trained on the same data with the same seed, that teaches it.
        init: Recipe and data, as ``RECIPE on DATA``, whose weights of the same seed it starts from.
        against: Label of the arm that it is compared with; the study's first without it.
    """

    recipe: str
    label: str
    on: str
    teacher: str = ""
    init: str = ""
    against: str = ""


@dataclass(frozen=True)
class Study:
    """A question and the runs that answer it.

    Attributes:
        name: A word.
        title: The heading of its table.
        arms: Its sides.
        seeds: Seeds of each arm.
        figures: Figure of the runs to heading of its column.
    """

    name: str
    title: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    figures: Mapping[str, str]


@dataclass(frozen=True)
class Run:
    """One run of a study.

    Attributes:
        arm: What runs.
        seed: With which seed.
        needs: Runs that must have finished before it.
    """

    arm: Arm
    seed: int
    needs: tuple[Run, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """Name of the run's folder and record."""
        start = f"-from-{self.arm.init.split()[2]}" if self.arm.init else ""
        return f"{self.arm.recipe}-on-{self.arm.on}{start}-seed{self.seed}"


def load_studies(path: Path) -> tuple[Study, ...]:
    """The studies that a TOML file describes.

    Raises:
        ConfigError: When the file is absent, no TOML, or has other keys.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return tuple(_study(entry) for entry in table["study"])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the studies in {str(path)!r} cannot be used",
            expected="[[study]] tables with name, title, on, seeds, figures and arms",
            found=f"{type(error).__name__}: {error}",
        ) from error


def _study(entry: Json) -> Study:
    entry = dict(entry)
    on = entry.pop("on")
    arms = tuple(Arm(**{"on": on} | arm) for arm in entry.pop("arms"))
    study = Study(arms=arms, seeds=tuple(entry.pop("seeds")), **entry)
    labels = [arm.label for arm in arms]
    wrong = [arm.against for arm in arms if arm.against and arm.against not in labels]
    if wrong or len(set(labels)) < len(labels):
        raise ConfigError(
            f"the arms of study {study.name!r} cannot be told apart or compared",
            expected="labels that differ, and against one of them",
            found=", ".join(wrong or labels),
        )
    return study


def runs_of(study: Study) -> tuple[Run, ...]:
    """The runs of a study, those that others need first, each once."""
    found: dict[str, Run] = {}
    for seed in study.seeds:
        for arm in study.arms:
            needs = []
            for kind, text in (("teacher", arm.teacher), ("init", arm.init)):
                if text:
                    recipe, _, on = text.partition(" on ")
                    other = Arm(recipe, f"{kind} of {arm.label}", on or arm.on)
                    run = Run(other, seed)
                    needs.append(found.setdefault(run.name, run))
            run = Run(arm, seed, tuple(needs))
            # A side may be another's teacher as well: it is run once, under its own label.
            found[run.name] = replace(run, needs=tuple(needs))
    return tuple(sorted(found.values(), key=lambda run: len(run.needs)))


def command_of(run: Run, folder: Path, data: Path | None) -> list[str]:
    """The command that trains a run, its folder under ``folder``."""
    command = [sys.executable, "-m", "xedge.cli", "train", run.arm.recipe, "--on", run.arm.on]
    command += ["--seed", str(run.seed), "--json", "--set", f"out={folder / run.name}"]
    if data is not None:
        command += ["--data", str(data)]
    for kind, text in (("teacher", run.arm.teacher), ("init", run.arm.init)):
        if text:
            recipe, _, on = text.partition(" on ")
            (other,) = (
                r for r in run.needs if (r.arm.recipe, r.arm.on) == (recipe, on or run.arm.on)
            )
            command += [f"--{kind}", str(checkpoint_of(folder, other))]
    return command


def checkpoint_of(folder: Path, run: Run) -> Path:
    """The finished checkpoint of a run.

    Raises:
        ConfigError: When it has none.
    """
    found = sorted((folder / run.name).glob("*/final.ckpt"))
    if len(found) != 1:
        raise ConfigError(f"run {run.name} has no checkpoint", found=f"{len(found)} under {folder}")
    return found[0]


def perform(run: Run, command: Sequence[str], folder: Path) -> Json:
    """The record of a run, which is trained now; its output goes to ``folder/RUN.log``.

    Raises:
        XedgeError: When the training fails; the message holds its last line.
    """
    log = folder / f"{run.name}.log"
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False
        )
    if done.returncode != 0:
        lines = log.read_text(encoding="utf-8").strip().splitlines()
        raise XedgeError(
            f"run {run.name} failed",
            found=lines[-1] if lines else f"exit code {done.returncode}",
            remedy=f"See {log.name} in the folder of the runs",
        )
    (result,) = (folder / run.name).glob("*/result.json")
    record: Json = json.loads(result.read_text(encoding="utf-8"))
    return record


def keep(record: Json, run: Run, results: Path, *, scratch: bool) -> Path:
    """Path of the record of a run, ``results/MACHINE/training/RUN.json``.

    Raises:
        ConfigError: When no commit names the code that trained, unless ``scratch`` says so.
    """
    commits = record["commit"].split()
    traceable = all(len(c) <= COMMIT_DIGITS and c.isalnum() for c in commits)
    if not traceable and not scratch:
        raise ConfigError(
            f"run {run.name} cannot be traced",
            expected="a checkout without changes",
            found=f"commit {record['commit']}",
            remedy="Commit first, or keep it as a scratch record with --scratch",
        )
    machine = "scratch" if scratch else read_machine().slug
    path = results / machine / FOLDER / f"{run.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return path


def records_in(results: Path) -> dict[str, Json]:
    """The records of runs that are kept, by the run's name, of whatever machine."""
    paths = results.glob(f"*/{FOLDER}/*.json")
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(paths)}


def conduct(
    runs: Sequence[Run], train: Callable[[Run], Json], jobs: int
) -> Iterator[tuple[Run, Json | XedgeError]]:
    """Each run with its record or its error, as they end; one that needs a failed one fails too.

    Args:
        runs: What to run, those that others need first.
        train: Trains one run and gives its record.
        jobs: How many run side by side.
    """
    failed: set[str] = set()
    for stage in sorted({len(run.needs) for run in runs}):
        with ThreadPoolExecutor(jobs) as pool:
            waiting = {}
            for run in runs:
                if len(run.needs) != stage:
                    continue
                if blocked := [n.name for n in run.needs if n.name in failed]:
                    failed.add(run.name)
                    yield run, XedgeError(f"run {run.name} needs {blocked[0]}, which failed")
                else:
                    waiting[pool.submit(train, run)] = run
            for future in as_completed(waiting):
                run = waiting[future]
                try:
                    yield run, future.result()
                except XedgeError as error:
                    failed.add(run.name)
                    yield run, error
