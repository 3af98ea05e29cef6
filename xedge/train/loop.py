"""One training run, from a recipe to a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import torch
import torch.distributed

from xedge.errors import ConfigError
from xedge.train.checkpoint import Checkpoint, load_checkpoint
from xedge.train.criterion import Moment
from xedge.train.data import Items, data_digest, open_data
from xedge.train.evaluate import measure
from xedge.train.journal import EVENTS, LOG, Journal
from xedge.train.options import RunOptions
from xedge.train.progress import Meter
from xedge.train.reading import Batches
from xedge.train.recipe import Recipe
from xedge.train.record import RESULT, write_result
from xedge.train.run import Run, launch, start_run
from xedge.train.sampling import epoch_batches, make_pool, pool_key
from xedge.train.schedule import learning_rate

LAST, FINAL = "last.ckpt", "final.ckpt"
DEFAULTS = RunOptions()


def one_epoch(
    run: Run, items: Items, steps: int, *, skip_bad: bool
) -> Iterator[tuple[dict[str, float], bool]]:
    """Train the rest of an epoch; each step's figures come back as it is done.

    With them comes whether the step belongs to the schedule: a batch that is trained once more
    keeps the rate of the epoch's last step and is no part of the epoch's means.

    Args:
        run: The run.
        items: What it trains on.
        steps: Steps of the schedule in an epoch.
        skip_bad: Replace items that cannot be read.
    """
    done, optim, seed = run.standing, run.optim, run.recipe.seed
    items.epoch = done.epochs
    run.wrapped.train()
    batches = _batches(run, items)
    pool = make_pool(optim, done.pool)
    total = steps * optim.epochs

    def read(chosen: list[list[int]]) -> Batches:
        return Batches(items, chosen, "training", optim.workers, skip_bad, done.bad)

    for batch in read(batches[done.at :]):
        moment = Moment(done.stage, done.epoch, done.step / total)
        number = done.at
        figures = run.learn(batch, moment, learning_rate(done.step, total, optim))
        done.step += 1
        if pool is not None:
            # One batch is what all processes saw together: they must agree on which were hard.
            loss = float(run.fabric.all_reduce(torch.tensor(figures["loss"])))
            pool.offer(number, pool_key(optim, loss, seed=seed, epoch=done.epochs, batch=number))
            done.pool = pool.held
        yield figures, True
    again = [batches[number] for number in done.pool]
    for batch in read(again[max(done.at - len(batches), 0) :]):
        moment = Moment(done.stage, done.epoch, done.step / total)
        figures = run.learn(batch, moment, learning_rate(done.step - 1, total, optim))
        done.retrained += 1
        yield figures, False


def validate(
    run: Run, held_out: Items, meter: Meter, *, skip_bad: bool = False
) -> dict[str, float]:
    """Figures of the averaged weights on the held-out items."""
    model, optim = run.averaged_model.eval(), run.optim
    spec = Checkpoint(run.recipe_text, {}, {}, "").spec("")
    order = list(range(len(held_out)))
    chosen = [order[start : start + optim.batch] for start in range(0, len(order), optim.batch)]
    bad = run.standing.bad
    batches = Batches(held_out, chosen, "held-out", optim.workers, skip_bad, bad)
    with meter.task("held out", len(batches)) as advance:
        return measure(model, spec, batches, advance)


def train(
    recipe: Recipe, recipe_text: str, *, meter: Meter, options: RunOptions = DEFAULTS
) -> Path | None:
    """Path of the finished checkpoint of a recipe; an interrupted run is taken up again.

    None comes back in the further processes of a run on several devices: one speaks for all.

    Args:
        recipe: The recipe, as parsed from ``recipe_text``.
        recipe_text: Its text, which goes into the checkpoint.
        meter: Where progress is shown.
        options: How and where it is run.

    Raises:
        ConfigError: When the options do not fit the recipe, or the run in the folder.
        DataError: When the data set or one of its items cannot be used.
        TrainingError: When the loss is not finite.
    """
    folder = options.folder or recipe.folder
    fabric = launch(recipe, options.devices)
    meter = meter if fabric.is_global_zero else Meter(quiet=True)
    bad: dict[str, str] = {}
    skipped = bad if options.skip_bad else None
    items, held_out = (
        open_data(recipe, options.data, train=part, bad=skipped) for part in (True, False)
    )
    run = start_run(
        fabric,
        recipe,
        recipe_text,
        options,
        data=f"{data_digest(items)} {data_digest(held_out)}",
        sizes={"train": len(items), "held_out": len(held_out)},
    )
    # Not before: a run that cannot start leaves no folder.
    folder.mkdir(parents=True, exist_ok=True)
    last, final = folder / LAST, folder / FINAL
    if options.fresh and fabric.is_global_zero:
        _forget(folder)
    if last.exists() and not options.fresh:
        run.resume(last)
        if run.finished and final.exists():
            return final if fabric.is_global_zero else None
    elif options.init is not None:
        meter.say({"tensors_taken": run.taken, "tensors": len(run.model.state_dict())})
    run.standing.bad.update(bad)
    if fabric.is_global_zero:
        with meter.task("preparing data", len(items) + len(held_out)) as advance:
            for part in (held_out, items):
                part.prepare(torch.get_num_threads(), advance)
    fabric.barrier()
    with ExitStack() as stack:
        journal = None
        if fabric.is_global_zero:
            done = run.standing
            journal = stack.enter_context(
                Journal(
                    folder, epochs=done.epochs, step=done.steps, tensorboard=options.tensorboard
                )
            )
        while not run.finished:
            if run.standing.epoch >= run.optim.epochs:
                run.next_stage()
            _epoch(run, items, held_out, folder, journal, meter, skip_bad=options.skip_bad)
    return _finish(run, folder) if fabric.is_global_zero else None


def _epoch(
    run: Run,
    items: Items,
    held_out: Items,
    folder: Path,
    journal: Journal | None,
    meter: Meter,
    *,
    skip_bad: bool,
) -> None:
    """Train an epoch to its end, look at the held-out items, write down both."""
    done, optim, last = run.standing, run.optim, folder / LAST
    steps = len(_batches(run, items))
    if steps == 0:
        raise ConfigError(
            "there are too few items for one batch",
            expected=f"{optim.batch * run.fabric.world_size} or more",
            found=str(len(items)),
            remedy="Lower optim.batch",
        )
    saved = time.monotonic()
    name = f"epoch {done.epoch + 1} of {optim.epochs}"
    with meter.task(name if done.stage == "main" else f"{done.stage}: {name}", steps) as advance:
        for _ in range(min(done.at, steps)):
            advance()
        for figures, scheduled in one_epoch(run, items, steps, skip_bad=skip_bad):
            if scheduled:
                for part, value in figures.items():
                    done.sums[part] = done.sums.get(part, 0.0) + value
                advance()
            if journal is not None:
                journal.step(done.steps, figures)
                if time.monotonic() - saved >= 60 * optim.save_minutes:
                    run.checkpoint(finished=False).save(last)
                    saved = time.monotonic()
    run.agree()
    _share_bad(run)
    if journal is None:
        _turn_over(run)
        run.fabric.barrier()
        return
    # Before the held-out items are looked at, which takes a while as well.
    run.checkpoint(finished=False).save(last)
    run.measured = validate(run, held_out, meter, skip_bad=skip_bad)
    run.look_at_the_clock()
    record: dict[str, float] = {"epoch": done.epoch + 1, "seconds": round(done.epoch_seconds, 1)}
    record |= {part: round(value / steps, 5) for part, value in done.sums.items()}
    if optim.oversample != "none":
        record["retrained"] = len(done.pool)
    if done.bad:
        record["bad_items"] = len(done.bad)
    extra = {"stage": done.stage} if run.recipe.before is not None else {}
    bad = {"bad": done.bad} if done.bad else {}
    journal.epoch(done.steps, extra | record | bad, run.measured)
    meter.say(record | run.measured)
    _turn_over(run)
    run.checkpoint(finished=False).save(last)
    run.fabric.barrier()


def _forget(folder: Path) -> None:
    """Remove what another run left: were this one killed at once, that would be taken up again."""
    # The one that is resumed first: without it, whatever else is left speaks for no run.
    for name in (LAST, FINAL, RESULT, LOG):
        (folder / name).unlink(missing_ok=True)
    for path in folder.glob(EVENTS):
        path.unlink()


def _turn_over(run: Run) -> None:
    """Begin the next epoch."""
    done = run.standing
    done.epoch, done.epochs, done.at = done.epoch + 1, done.epochs + 1, 0
    done.epoch_seconds, done.pool, done.sums = 0.0, {}, {}


def _finish(run: Run, folder: Path) -> Path:
    """Leave the finished checkpoint, and what it came to."""
    final = folder / FINAL
    run.checkpoint(finished=True).save(final)
    write_result(
        folder,
        run.recipe,
        run.recipe_text,
        run.record(),
        commit=run.commit,
        parameters=sum(p.numel() for p in run.model.parameters()),
        checkpoint_sha256=load_checkpoint(final)[1],
        figures=run.measured,
    )
    return final


def _batches(run: Run, items: Items) -> list[list[int]]:
    """Batches of this process in the epoch that the run is in."""
    return epoch_batches(
        len(items),
        run.optim.batch,
        seed=run.recipe.seed,
        epoch=run.standing.epochs,
        rank=run.fabric.global_rank,
        processes=run.fabric.world_size,
    )


def _share_bad(run: Run) -> None:
    """Tell all processes which items the others could not read."""
    if run.fabric.world_size > 1:
        told: list[dict[str, str]] = [{} for _ in range(run.fabric.world_size)]
        torch.distributed.all_gather_object(told, run.standing.bad)
        for bad in told:
            run.standing.bad.update(bad)
