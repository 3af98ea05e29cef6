"""One training run, from a recipe to a checkpoint, on Lightning Fabric (AMP, many processes)."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, Sampler

from xedge.errors import ConfigError
from xedge.models.base import Classifier, Detector
from xedge.provenance import code_version
from xedge.train.batch import Batch, collate
from xedge.train.checkpoint import Checkpoint, Progress, load_checkpoint
from xedge.train.config import OptimConfig
from xedge.train.criterion import Criterion, Moment, Setting
from xedge.train.data import Items, open_data
from xedge.train.evaluate import measure
from xedge.train.progress import Meter
from xedge.train.recipe import Recipe
from xedge.train.systems import SYSTEMS


def code_mark() -> str:
    """The commit of the code in 12 digits, ``+`` behind it when files differ from it."""
    code = code_version()
    return f"{code.commit[:12]}{'+' if code.dirty else ''}"


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weights that decay, and biases, norms and scales that do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def learning_rate(step: int, steps: int, optim: OptimConfig) -> float:
    """Linear warm-up, then a cosine to zero at the last step."""
    if step < optim.warmup_steps:
        return optim.lr * (step + 1) / optim.warmup_steps
    share = (step - optim.warmup_steps) / max(steps - optim.warmup_steps, 1)
    return optim.lr * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


@dataclass
class Run:
    """The moving parts of a run; `train` owns the only one."""

    recipe: Recipe
    recipe_text: str
    fabric: Fabric
    model: Detector | Classifier
    criterion: Criterion
    averaged: AveragedModel
    wrapped: nn.Module
    optimizer: torch.optim.Optimizer
    commit: str
    epoch: int = 0
    step: int = 0

    @property
    def averaged_model(self) -> Detector | Classifier:
        """The averaged weights as a model."""
        module = self.averaged.module
        assert isinstance(module, (Detector, Classifier))
        return module

    def checkpoint(self, measured: dict[str, float], *, finished: bool) -> Checkpoint:
        """The run as it stands."""
        progress = Progress(
            self.epoch,
            self.step,
            self.optimizer.state_dict(),
            self.model.state_dict(),
            int(self.averaged.n_averaged),
        )
        weights = self.averaged_model.state_dict()
        return Checkpoint(
            self.recipe_text, weights, measured, self.commit, None if finished else progress
        )

    def resume(self, path: Path) -> None:
        """Take up the run where the checkpoint left it.

        Raises:
            ConfigError: When the recipe is another one by now: the result would be neither's.
        """
        checkpoint = load_checkpoint(path)[0]
        progress = checkpoint.progress
        if progress is None:
            return
        if checkpoint.recipe_text != self.recipe_text:
            raise ConfigError(
                f"the run in {path.parent} was begun with another recipe",
                remedy="Give the recipe another name, restore it, or start over with --fresh",
            )
        if checkpoint.commit not in self.commit.split(" "):
            self.commit = f"{checkpoint.commit} {self.commit}"
        self.model.load_state_dict(progress.model)
        self.averaged_model.load_state_dict(checkpoint.weights)
        self.averaged.n_averaged.fill_(progress.averaged)
        self.optimizer.load_state_dict(progress.optimizer)
        self.epoch, self.step = progress.epoch, progress.step


def start_run(recipe: Recipe, recipe_text: str, devices: int) -> Run:
    """A run at its first step, weights drawn from the recipe's seed."""
    fabric = Fabric(
        accelerator="auto",
        devices=devices,
        precision=recipe.optim.precision,
        strategy="ddp" if devices > 1 else "auto",
    )
    fabric.launch()
    torch.manual_seed(recipe.seed)
    system = SYSTEMS[recipe.system]
    model = system.build(recipe.model).to(fabric.device).to(memory_format=torch.channels_last)
    setting = Setting(recipe.model, recipe.optim, recipe.data.height, recipe.data.width)
    average = get_ema_multi_avg_fn(recipe.optim.ema)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    optimizer = torch.optim.AdamW(
        parameter_groups(model, recipe.optim.weight_decay), lr=recipe.optim.lr
    )
    wrapped, prepared = fabric.setup(model, optimizer)
    return Run(
        recipe,
        recipe_text,
        fabric,
        model,
        system.criterion(setting),
        averaged,
        wrapped,
        prepared,
        code_mark(),
    )


def loader(run: Run, windows: Items, *, train: bool) -> DataLoader[Batch]:
    """Batches of windows; in training shuffled anew each epoch and shared among processes."""
    optim = run.recipe.optim
    sampler: Sampler[int] | None = None
    if train and run.fabric.world_size > 1:
        sampler = DistributedSampler(windows, seed=run.recipe.seed)
        sampler.set_epoch(run.epoch)
    elif train:
        generator = torch.Generator().manual_seed(run.recipe.seed * 1000 + run.epoch)
        sampler = RandomSampler(windows, generator=generator)
    batches: DataLoader[Batch] = DataLoader(
        windows,  # type: ignore[arg-type]  # collate turns items into a batch
        optim.batch,
        sampler=sampler,
        num_workers=optim.workers,
        collate_fn=collate,
        drop_last=train,
        worker_init_fn=_one_thread,
    )
    return batches


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def one_epoch(run: Run, windows: Items, steps: int) -> Iterator[dict[str, float]]:
    """Train one epoch; each step's losses come back as it is done."""
    optim = run.recipe.optim
    windows.epoch = run.epoch
    run.wrapped.train()
    for batch in loader(run, windows, train=True):
        rate = learning_rate(run.step, steps, optim)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        moment = Moment("main", run.epoch, run.step / steps)
        loss, parts = run.criterion(run.wrapped, batch.to(run.fabric.device), moment)
        run.optimizer.zero_grad(set_to_none=True)
        run.fabric.backward(loss)
        run.fabric.clip_gradients(run.wrapped, run.optimizer, max_norm=optim.clip)
        run.optimizer.step()
        run.averaged.update_parameters(run.model)
        run.step += 1
        figures = {name: float(value) for name, value in parts.items()}
        yield figures | {"loss": float(loss.detach()), "lr": rate}
    run.epoch += 1


def validate(run: Run, held_out: Items, meter: Meter) -> dict[str, float]:
    """Figures of the averaged weights on the held-out items."""
    model = run.averaged_model.eval()
    spec = Checkpoint(run.recipe_text, {}, {}, "").spec("")
    batches = loader(run, held_out, train=False)
    with meter.task("held out", len(batches)) as advance:
        assert isinstance(model, Detector)
        return measure(model, spec, batches, advance)


def train(
    recipe: Recipe,
    recipe_text: str,
    *,
    devices: int,
    fresh: bool,
    meter: Meter,
    root: Path | None = None,
) -> Path | None:
    """Path of the finished checkpoint of a recipe; an interrupted run is taken up again.

    None comes back in the further processes of a run on several devices: one speaks for all.

    Args:
        recipe: The recipe, as parsed from ``recipe_text``.
        recipe_text: Its text, which goes into the checkpoint.
        devices: Processes (and GPUs where there are any).
        fresh: Forget an interrupted run.
        meter: Where progress is shown.
        root: Where the data set of a recipe on pictures lies.
    """
    folder = recipe.folder
    folder.mkdir(parents=True, exist_ok=True)
    run = start_run(recipe, recipe_text, devices)
    windows, held_out = (open_data(recipe, root, train=part) for part in (True, False))
    if run.fabric.is_global_zero:
        with meter.task("simulating bags", len(windows) + len(held_out)) as advance:
            for part in (held_out, windows):
                part.prepare(torch.get_num_threads(), advance)
    run.fabric.barrier()
    last, final, log = folder / "last.ckpt", folder / "final.ckpt", folder / "log.jsonl"
    if fresh:
        last.unlink(missing_ok=True)
    elif last.exists():
        run.resume(last)
    per_epoch = len(windows) // run.fabric.world_size // recipe.optim.batch
    steps = per_epoch * recipe.optim.epochs
    measured: dict[str, float] = {}
    while run.epoch < recipe.optim.epochs:
        begun = time.monotonic()
        sums: dict[str, float] = {}
        with meter.task(f"epoch {run.epoch + 1} of {recipe.optim.epochs}", per_epoch) as advance:
            for parts in one_epoch(run, windows, steps):
                for name, value in parts.items():
                    sums[name] = sums.get(name, 0.0) + value / per_epoch
                advance()
        if run.fabric.is_global_zero:
            # Before the held-out bags are looked at, which takes a while as well.
            run.checkpoint(measured, finished=False).save(last)
            measured = validate(run, held_out, meter)
            seconds = round(time.monotonic() - begun, 1)
            means = {name: round(value, 5) for name, value in sums.items()}
            record = {"epoch": run.epoch, "seconds": seconds} | means | measured
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            meter.say(record)
        run.fabric.barrier()
    if not run.fabric.is_global_zero:
        return None
    measured = measured or validate(run, held_out, meter)
    run.checkpoint(measured, finished=True).save(final)
    return final
