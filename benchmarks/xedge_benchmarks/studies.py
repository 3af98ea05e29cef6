"""Studies: recipes trained side by side with several seeds.

A study answers one question about systems (does LA help, does DOAM, in which order do the systems
come). Arms that name no other data learn from the same split of the same data and are measured on
the same held-out items, at one size and for as many epochs in the main stage; they differ in the
recipe. An arm on other data, or from a start on it, has that data's sizes and epochs as well.
The cost is not the same: a system that is taught in two stages has the first one's epochs on top,
and a teacher's or a start's own run comes before that of the arm. What each run took is in its
record (`study_record`).

Each run is a process of its own with one thread, so that two run side by side without slowing each
other's arithmetic; an interrupted one resumes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from xedge.errors import ConfigError, XedgeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Json = dict[str, Any]


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

    def __post_init__(self) -> None:
        recipe, _, on = self.init.partition(" on ")
        if self.init and not (recipe and on):
            raise ConfigError(
                f"the init of a study's arm {self.label!r} cannot be used",
                expected="RECIPE on DATA",
                found=repr(self.init),
            )


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
        parents: Runs that must have finished before it, as its ``teacher`` and its ``init``.
    """

    arm: Arm
    seed: int
    parents: Mapping[str, Run] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        """Name of the run's folder and record."""
        start = f"-from-{self.arm.init.partition(' on ')[2]}" if self.arm.init else ""
        return f"{self.arm.recipe}-on-{self.arm.on}{start}-seed{self.seed}"

    @property
    def made_of(self) -> tuple[str, ...]:
        """Recipe, data and parents in words; of runs with one name all must be the same."""
        return (
            self.arm.recipe,
            f"on {self.arm.on}",
            *(f"{kind} {run.name}" for kind, run in self.parents.items()),
        )


def load_studies(path: Path) -> tuple[Study, ...]:
    """The studies that a TOML file describes.

    Raises:
        ConfigError: When the file is absent, no TOML, has other keys, or runs of one name that
            need different ones.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        studies = tuple(_study(entry) for entry in table["study"])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the studies in {str(path)!r} cannot be used",
            expected="[[study]] tables with name, title, on, seeds, figures and arms",
            found=f"{type(error).__name__}: {error}",
        ) from error
    _by_name(run for study in studies for run in runs_of(study))
    return studies


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


def run_of(arm: Arm, seed: int) -> Run:
    """The run of an arm with a seed, with those that it needs."""
    parents = {}
    for kind, text in (("teacher", arm.teacher), ("init", arm.init)):
        if text:
            recipe, _, on = text.partition(" on ")
            parents[kind] = Run(Arm(recipe, f"{kind} of {arm.label}", on or arm.on), seed)
    return Run(arm, seed, parents)


def runs_of(study: Study) -> tuple[Run, ...]:
    """The runs of a study, those that others need first, each once.

    Raises:
        ConfigError: When runs of one name need different ones.
    """
    runs = [run_of(arm, seed) for seed in study.seeds for arm in study.arms]
    return tuple(_by_name(one for run in runs for one in (*run.parents.values(), run)).values())


def _by_name(runs: Iterable[Run]) -> dict[str, Run]:
    found: dict[str, Run] = {}
    for run in runs:
        first = found.setdefault(run.name, run)
        if first.made_of != run.made_of:
            raise ConfigError(
                f"two runs of the studies would both be {run.name}",
                expected="the same recipe, data, teacher and start",
                found=" and ".join(", ".join(one.made_of) for one in (first, run)),
                remedy="Write the other one as a recipe of its own name",
            )
    return found


def command_of(run: Run, folder: Path, data: Path | None, *, fresh: bool = False) -> list[str]:
    """The command that trains a run in ``folder/RUN``.

    Args:
        run: The run.
        folder: Folder of the runs' folders.
        data: Folder of the data set.
        fresh: Start over instead of resuming.

    Raises:
        ConfigError: When a run that it needs has no finished checkpoint.
    """
    command = [sys.executable, "-m", "xedge.cli", "train", run.arm.recipe, "--on", run.arm.on]
    command += ["--seed", str(run.seed), "--json", "--out", str(folder / run.name)]
    if data is not None:
        command += ["--data", str(data)]
    for kind, parent in run.parents.items():
        command += [f"--{kind}", str(checkpoint_of(folder, parent))]
    return [*command, "--fresh"] if fresh else command


def checkpoint_of(folder: Path, run: Run) -> Path:
    """The finished checkpoint of a run.

    Raises:
        ConfigError: When it has none.
    """
    path = folder / run.name / "final.ckpt"
    if not path.exists():
        raise ConfigError(f"run {run.name} has no checkpoint", found=f"none under {folder}")
    return path


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
    result = folder / run.name / "result.json"
    record: Json = json.loads(result.read_text(encoding="utf-8"))
    return record


def conduct(
    runs: Sequence[Run], train: Callable[[Run], Json], jobs: int
) -> Iterator[tuple[Run, Json | XedgeError]]:
    """Each run with its record or its error, as they end; one that needs a failed one fails too.

    Args:
        runs: What to run, in any order; what they need and is not among them is there already.
        train: Trains one run and gives its record.
        jobs: How many run side by side.
    """
    here = {run.name: run for run in runs}
    needs = {name: [need.name for need in run.parents.values()] for name, run in here.items()}
    order = TopologicalSorter({n: [need for need in needs[n] if need in here] for n in here})
    order.prepare()
    failed: set[str] = set()
    waiting: dict[Future[Json], Run] = {}
    with ThreadPoolExecutor(jobs) as pool:
        while order.is_active():
            for name in order.get_ready():
                if blocked := [need for need in needs[name] if need in failed]:
                    failed.add(name)
                    order.done(name)
                    error = XedgeError(f"run {name} needs {blocked[0]}, which failed")
                    yield here[name], error
                else:
                    waiting[pool.submit(train, here[name])] = here[name]
            # None waits when all that were ready are blocked: they made others ready by now.
            ended = wait(waiting, return_when=FIRST_COMPLETED).done if waiting else set()
            for future in ended:
                run = waiting.pop(future)
                try:
                    yield run, future.result()
                except XedgeError as error:
                    failed.add(run.name)
                    yield run, error
                order.done(run.name)
