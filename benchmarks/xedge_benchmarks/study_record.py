"""Records of a study's runs: where they are kept, and whether they still say what is asked today.

A record is ``results/MACHINE/training/RUN.json``: the ``result.json`` of a run. It is stale when
the recipe has another text by now, or when the run that taught it or that it started from is not
the one that has a record. That data changed is not seen from here; `xedge train` refuses to go on
with a run of other data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xedge.errors import ConfigError
from xedge.machine import read_machine
from xedge_benchmarks.record import COMMIT_DIGITS
from xedge_benchmarks.studies import Json, Run

FOLDER: Final = "training"
"""Folder of the runs' records inside a machine's results."""
SCRATCH: Final = "scratch"
"""Folder, in the place of a machine's, of records of code that no commit names."""
OTHER_TEXT: Final = "another text of the recipe than today's"
OTHER_PARENT: Final = "another teacher or start than the one recorded today"


@dataclass(frozen=True)
class Kept:
    """A record as it lies among the results.

    Attributes:
        content: What `xedge train` wrote.
        folder: The folder of its machine, or `SCRATCH`.
    """

    content: Json
    folder: str


def keep(record: Json, run: Run, results: Path, *, scratch: bool) -> Path:
    """Path of the record of a run, which takes the place of an older one of whatever machine.

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
    machine = SCRATCH if scratch else read_machine().slug
    path = results / machine / FOLDER / f"{run.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if not scratch:
        for other in results.glob(f"*/{FOLDER}/{path.name}"):
            if other.parts[-3] not in {machine, SCRATCH}:
                other.unlink()
    return path


def records_in(results: Path, *, scratch: bool = False) -> dict[str, Kept]:
    """The records that are kept, by the run's name, of whatever machine.

    Args:
        results: Folder of the results.
        scratch: Read those of code that no commit names as well; they win.

    Raises:
        ConfigError: When two machines have a record of the same run.
    """
    found: dict[str, Kept] = {}
    paths = sorted(results.glob(f"*/{FOLDER}/*.json"))
    for path in sorted(paths, key=lambda path: path.parts[-3] == SCRATCH):
        machine, name = path.parts[-3], path.stem
        if machine == SCRATCH and not scratch:
            continue
        if machine != SCRATCH and name in found:
            raise ConfigError(
                f"run {name} has two records",
                expected="one, of one machine",
                found=f"{found[name].folder}, {machine}",
                remedy="Remove the one that shall not count",
            )
        found[name] = Kept(json.loads(path.read_text(encoding="utf-8")), machine)
    return found


def sees_pictures(run: Run) -> bool:
    """Whether a run needs the folder of a data set: `xedge train` refuses one without use.

    Raises:
        ConfigError: When there is no such recipe.
    """
    from xedge.train.recipe import load_recipe  # not before: it needs torch

    return load_recipe(Path(run.arm.recipe), on=run.arm.on)[0].sees_pictures


def recipe_today(run: Run) -> str:
    """The sha256 of the recipe's text that `xedge train` would give the run today.

    Raises:
        ConfigError: When there is no such recipe.
    """
    from xedge.train.recipe import load_recipe, recipe_sha256  # not before: it needs torch

    return recipe_sha256(load_recipe(Path(run.arm.recipe), [f"seed={run.seed}"], run.arm.on)[1])


def stale_among(runs: Sequence[Run], records: Mapping[str, Kept]) -> dict[str, str]:
    """Names of the runs whose records are stale, with `OTHER_TEXT` or `OTHER_PARENT`.

    Args:
        runs: The runs, those that others need first.
        records: Records by the run's name.
    """
    stale: dict[str, str] = {}
    for run in runs:
        if run.name not in records:
            continue
        record = records[run.name].content
        if record["recipe"]["sha256"] != recipe_today(run):
            stale[run.name] = OTHER_TEXT
        elif any(
            need.name in stale
            or need.name not in records
            or record["parents"].get(kind) != records[need.name].content["checkpoint_sha256"]
            for kind, need in run.parents.items()
        ):
            stale[run.name] = OTHER_PARENT
    return stale


def must_start_over(folder: Path, run: Run, parents: Mapping[str, Path]) -> bool:
    """Whether the run that a folder holds was begun with another recipe, teacher or start.

    Args:
        folder: The run's folder.
        run: What shall be trained in it.
        parents: Checkpoint of each run that it needs, by `Run.parents`' names.
    """
    last = folder / "last.ckpt"
    if not last.exists():
        return False
    from xedge.train.checkpoint import load_checkpoint
    from xedge.train.recipe import recipe_sha256

    begun = load_checkpoint(last)[0]
    made_of = begun.record.parents if begun.record is not None else {}
    return recipe_sha256(begun.recipe_text) != recipe_today(run) or any(
        made_of.get(kind) != load_checkpoint(path)[1] for kind, path in parents.items()
    )
