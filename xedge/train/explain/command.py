"""`xedge explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xedge.errors import ConfigError
from xedge.types import AIR_COUNTS

if TYPE_CHECKING:
    from xedge.models.base import Classifier, Detector
    from xedge.spec import ModelSpec
    from xedge.train.checkpoint import Checkpoint
    from xedge.train.data import Items
    from xedge.train.explain.curves import ClassCurve
    from xedge.train.progress import Meter

BATCH = 8


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("explain"),
    show_default=True,
    help="Folder of the page.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the data set, for a recipe that learned from one.",
)
@click.option(
    "--count",
    type=click.IntRange(1),
    default=6,
    show_default=True,
    help="Held-out pictures to show, evenly spread.",
)
@click.option(
    "--curves",
    type=click.IntRange(0),
    default=200,
    show_default=True,
    help="Held-out pictures to draw curves from, evenly spread; 0 for no curves.",
)
@click.option(
    "--pixel-mm",
    type=click.FloatRange(0.01, 10),
    help="Size of a colour picture's pixel, mm, before a model of counts.",
)
@click.option(
    "--air",
    type=click.IntRange(256, 65535),
    default=AIR_COUNTS,
    show_default=True,
    help="What unattenuated air reads in 16-bit files.",
)
@click.option("--json", "as_json", is_flag=True, help="Print explain.json too, no bars.")
def explain(
    checkpoint: Path,
    images: tuple[Path, ...],
    out: Path,
    data: Path | None,
    count: int,
    curves: int,
    pixel_mm: float | None,
    air: int,
    as_json: bool,
) -> None:
    """Draw where the trained model of CHECKPOINT looks, on a page.

    CHECKPOINT is a file that `xedge train` wrote, or a run's folder: its final.ckpt.

    Shows its answer to each picture with every map that the model has: DOAM's attention, LA's
    weights, CAM, Grad-CAM; and precision and recall of each class where the truth is known.

    IMAGES are those that `xedge detect` takes. Without any, held-out pictures of the recipe's own
    data are shown: simulated bags, or a data set that --data names.

    \b
    Examples:
      xedge explain runs/atss-lacls-tiny/final.ckpt -o page
      xedge explain runs/chr-tiny/final.ckpt --data SIXray --count 12
      xedge explain model.ckpt bag.png scans/*.npz --json
    """  # noqa: D301  # click wants the character, not a backslash
    from xedge.train.checkpoint import load_checkpoint
    from xedge.train.explain.findings import explain as explain_subject
    from xedge.train.explain.folder import claim
    from xedge.train.explain.page import write_explanation
    from xedge.train.explain.record import Explanation, to_record
    from xedge.train.explain.subjects import open_subjects, spread, to_subject
    from xedge.train.progress import Meter

    checkpoint = _checkpoint_of(checkpoint)
    loaded, digest = load_checkpoint(checkpoint)
    model, spec, meter = loaded.model(), loaded.spec(digest), Meter(quiet=as_json)
    items = None if images and data is None else _held_out(loaded, data)
    if images:
        recipe = loaded.recipe
        subjects = [s for path in images for s in open_subjects(path, recipe, spec, air, pixel_mm)]
    else:
        assert items is not None
        subjects = [to_subject(items[k], spec.channels) for k in spread(len(items), count)]
    claim(out)
    findings = []
    with meter.task("explaining", len(subjects)) as advance:
        for subject in subjects:
            findings.append(explain_subject(model, spec, subject))
            advance()
    measured = 0 if items is None else min(curves, len(items))
    drawn = _curves(model, spec, items, measured, meter) if items is not None and measured else []
    whole = Explanation(
        f"{checkpoint.parent.resolve().name}/{checkpoint.name}",
        spec,
        loaded.recipe.system,
        _is_detector(model),
        tuple(findings),
        tuple(drawn),
        measured,
    )
    page = write_explanation(whole, out)
    click.echo(json.dumps(to_record(whole)) if as_json else f"Page: {page}")


def _checkpoint_of(path: Path) -> Path:
    """The checkpoint that is meant: a file itself, of a run's folder the finished one."""
    from xedge.train.loop import FINAL, LAST

    if not path.is_dir():
        return path
    if (path / FINAL).is_file():
        return path / FINAL
    unfinished = (path / LAST).is_file()
    raise ConfigError(
        f"the folder {path} holds no finished checkpoint",
        expected=FINAL,
        found=f"the {LAST} of a run that has not ended" if unfinished else "",
        remedy=f"Give {path / LAST} itself" if unfinished else "Give a checkpoint's file",
    )


def _held_out(loaded: Checkpoint, data: Path | None) -> Items:
    """The items that the recipe's run was watched by."""
    from xedge.train.data import open_data

    return open_data(loaded.recipe, data, train=False)


def _curves(
    model: Detector | Classifier, spec: ModelSpec, items: Items, measured: int, meter: Meter
) -> list[ClassCurve]:
    """Curves over so many of the items, evenly spread."""
    from xedge.train.batch import collate
    from xedge.train.explain.curves import class_curves
    from xedge.train.explain.subjects import spread

    places = spread(len(items), measured)
    groups = [places[k : k + BATCH] for k in range(0, len(places), BATCH)]
    batches = (collate([items[k] for k in group]) for group in groups)
    with meter.task("measuring", len(groups)) as advance:
        return class_curves(model, spec, batches, advance)


def _is_detector(model: Detector | Classifier) -> bool:
    from xedge.models.base import Detector as Boxes

    return isinstance(model, Boxes)
