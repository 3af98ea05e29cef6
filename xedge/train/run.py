"""The moving parts of one run on Lightning Fabric: made, left in a checkpoint, taken up again."""

from __future__ import annotations

import datetime
import math
import os
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from xedge.errors import ConfigError, TrainingError
from xedge.machine import Machine, read_machine
from xedge.models.base import Classifier, Detector
from xedge.provenance import code_version, installed_versions
from xedge.train.batch import Batch
from xedge.train.checkpoint import Checkpoint, Progress, Standing, load_checkpoint
from xedge.train.config import OptimConfig
from xedge.train.criterion import Criterion, Moment, Setting
from xedge.train.options import RunOptions
from xedge.train.recipe import Recipe
from xedge.train.record import PACKAGES, RunRecord
from xedge.train.sampling import step_seed
from xedge.train.schedule import make_optimizer, set_rate
from xedge.train.systems import SYSTEMS
from xedge.train.tables import differences

PATIENCE = datetime.timedelta(hours=6)
"""How long processes wait for one that simulates bags or looks at the held-out items."""


def code_mark() -> str:
    """The commit of the code in 12 digits, ``+`` behind it when files differ from it.

    Outside a checkout, the package's version. One word, since a run may have several.
    """
    code = code_version()
    return f"{code.commit.replace(' ', '-')[:12]}{'+' if code.dirty else ''}"


def launch(recipe: Recipe, devices: int) -> Fabric:
    """The processes of a run, this one among them: started here, or by torchrun before."""
    nodes = 1
    if TorchElasticEnvironment.detect():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    # A stage in front of the main one may teach a part of the model only.
    shared = DDPStrategy(timeout=PATIENCE, find_unused_parameters=recipe.before is not None)
    fabric = Fabric(
        accelerator="auto",
        devices=devices,
        num_nodes=nodes,
        precision=recipe.optim.precision,
        strategy=shared if devices * nodes > 1 else "auto",
    )
    fabric.launch()
    return fabric


@dataclass
class Run:
    """The moving parts of a run; `train` owns the only one.

    Attributes:
        recipe: The recipe.
        recipe_text: Its whole text.
        fabric: The processes.
        model: The model.
        wrapped: The model as its processes share it; what the criterion calls.
        criterion: What teaches it.
        parents: What the run came from (`RunRecord.parents`).
        taken: Tensors taken over from another checkpoint.
        sizes: Items to train on and to be watched by.
        optimizer: Optimiser of the stage.
        averaged: Averaged weights of the stage.
        standing: Where the run stands.
        measured: What the held-out items said last.
        commit: Commits of the code that ran it.
    """

    recipe: Recipe
    recipe_text: str
    fabric: Fabric
    model: Detector | Classifier
    wrapped: nn.Module
    criterion: Criterion
    parents: dict[str, str]
    taken: int
    sizes: dict[str, int]
    optimizer: torch.optim.Optimizer
    averaged: AveragedModel
    standing: Standing
    measured: dict[str, float] = field(default_factory=dict)
    commit: str = field(default_factory=code_mark)
    looked: float = field(default_factory=time.monotonic)

    @property
    def averaged_model(self) -> Detector | Classifier:
        """The averaged weights as a model."""
        module = self.averaged.module
        assert isinstance(module, (Detector, Classifier))
        return module

    @property
    def optim(self) -> OptimConfig:
        """How the weights are found in the stage that the run is in."""
        return self.recipe.stages[self.standing.stage]

    @property
    def finished(self) -> bool:
        """True when no epoch of any stage is left."""
        last = list(self.recipe.stages)[-1]
        return self.standing.stage == last and self.standing.epoch >= self.optim.epochs

    @cached_property
    def _machine(self) -> Machine:
        return read_machine()

    @cached_property
    def _versions(self) -> dict[str, str]:
        return installed_versions(PACKAGES)

    def next_stage(self) -> None:
        """Go on to the stage after this one: its optimiser and its averaged weights are new."""
        names = list(self.recipe.stages)
        done = self.standing
        done.stage = names[names.index(done.stage) + 1]
        done.epoch = done.step = done.at = 0
        self.optimizer, self.averaged = _begin(self.fabric, self.model, self.optim)

    def look_at_the_clock(self) -> None:
        """Add the time since the last look to what the run took."""
        now = time.monotonic()
        self.standing.seconds += now - self.looked
        self.standing.epoch_seconds += now - self.looked
        self.looked = now

    def record(self) -> RunRecord:
        """What the run is made of, and how far it is."""
        done = self.standing
        return RunRecord(
            seed=self.recipe.seed,
            processes=self.fabric.world_size,
            machine=self._machine,
            versions=self._versions,
            parents=self.parents,
            taken=self.taken,
            sizes=self.sizes,
            epochs=done.epochs,
            steps=done.steps,
            retrained=done.retrained,
            items_seen=done.items_seen,
            seconds=round(done.seconds, 1),
            bad_items=dict(done.bad),
        )

    def checkpoint(self, *, finished: bool) -> Checkpoint:
        """The run as it stands."""
        self.look_at_the_clock()
        progress = Progress(
            self.standing,
            self.optimizer.state_dict(),
            self.model.state_dict(),
            int(self.averaged.n_averaged),
            self.fabric.strategy.precision.state_dict(),
        )
        return Checkpoint(
            self.recipe_text,
            self.averaged_model.state_dict(),
            self.measured,
            self.commit,
            None if finished else progress,
            self.record(),
        )

    def resume(self, path: Path) -> None:
        """Take up the run where the checkpoint left it.

        Raises:
            ConfigError: When its recipe, data, teacher or start are others by now: the result
                would be neither's.
        """
        checkpoint = load_checkpoint(path)[0]
        progress, record = checkpoint.progress, checkpoint.record
        if progress is None or record is None:
            raise ConfigError(f"{str(path)!r} is finished, or was never a run: nothing resumes it")
        if checkpoint.recipe_text != self.recipe_text:
            raise ConfigError(
                f"the run in {path.parent} was begun with another recipe",
                found="; ".join(differences(checkpoint.recipe_text, self.recipe_text))
                or "other words or another order that mean the same",
                remedy="Give the recipe another name, restore it, or start over with --fresh",
            )
        if (record.parents, record.processes) != (self.parents, self.fabric.world_size):
            raise ConfigError(
                f"the run in {path.parent} was begun from something else",
                expected=f"{record.parents} in {record.processes} processes",
                found=f"{self.parents} in {self.fabric.world_size}",
                remedy="Give the same --data, --teacher, --init and --devices, "
                "or start over with --fresh",
            )
        self.commit = " ".join(dict.fromkeys([*checkpoint.commit.split(), self.commit]))
        while self.standing.stage != progress.standing.stage:
            self.next_stage()
        self.model.load_state_dict(progress.model)
        self.averaged_model.load_state_dict(checkpoint.weights)
        self.averaged.n_averaged.fill_(progress.averaged)
        self.optimizer.load_state_dict(progress.optimizer)
        self.fabric.strategy.precision.load_state_dict(progress.scaler)
        self.standing, self.measured = progress.standing, checkpoint.measured
        self.taken = record.taken

    def learn(self, batch: Batch, moment: Moment, rate: float) -> dict[str, float]:
        """One step on a batch: its losses and the rate.

        Raises:
            TrainingError: When the loss or its gradient is not finite; nothing has been learned
                from it then.
        """
        done = self.standing
        set_rate(self.optimizer, rate)
        torch.manual_seed(
            step_seed(self.recipe.seed, self.fabric.global_rank, done.epochs, done.at)
        )
        loss, parts = self.criterion(self.wrapped, batch.to(self.fabric.device), moment)
        figures = {name: float(value) for name, value in parts.items()}
        figures |= {"loss": float(loss.detach()), "lr": rate}
        if not math.isfinite(figures["loss"]):
            raise self._not_a_number("loss", batch, figures)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.wrapped, self.optimizer, max_norm=self.optim.clip, error_if_nonfinite=False
        )
        # A loss scaler skips such a step by itself and goes on with a smaller scale.
        lost = norm is not None and not math.isfinite(float(norm))
        if lost and not self.fabric.strategy.precision.state_dict():
            raise self._not_a_number("gradient", batch, figures)
        self.optimizer.step()
        self.averaged.update_parameters(self.model)
        done.at, done.steps = done.at + 1, done.steps + 1
        done.items_seen += len(batch.names) * self.fabric.world_size
        return figures

    def _not_a_number(self, what: str, batch: Batch, figures: dict[str, float]) -> TrainingError:
        done = self.standing
        values = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        return TrainingError(
            f"the {what} of step {done.steps + 1} (epoch {done.epoch + 1} of stage "
            f"{done.stage!r}) is not finite",
            expected="a number",
            found=f"{values} on the batch {', '.join(batch.names)}",
            remedy="Look at these items, lower optim.lr or optim.clip, warm up for longer, or "
            'train with precision = "32-true"; last.ckpt holds the run from before',
        )

    def agree(self) -> None:
        """Check that all processes have the same weights.

        Raises:
            TrainingError: When they do not.
        """
        total = torch.stack([p.detach().double().sum() for p in self.model.parameters()]).sum()
        sums = torch.as_tensor(self.fabric.all_gather(total)).flatten()
        if bool((sums != sums[0]).any()):
            raise TrainingError(
                "the processes of the run have drifted apart",
                expected="the same weights in each",
                found=f"sums {sums.tolist()}",
            )


def _begin(
    fabric: Fabric, model: nn.Module, optim: OptimConfig
) -> tuple[torch.optim.Optimizer, AveragedModel]:
    average = get_ema_multi_avg_fn(optim.ema)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    return fabric.setup_optimizers(make_optimizer(model, optim)), averaged


def load_teacher(path: Path) -> tuple[Classifier, str]:
    """The trained classifier of a checkpoint, its weights fixed, and the file's sha256.

    Raises:
        ConfigError: When it is no checkpoint, or of a detector.
    """
    checkpoint, digest = load_checkpoint(path)
    model = checkpoint.model()
    if not isinstance(model, Classifier):
        raise ConfigError(
            f"{str(path)!r} cannot teach",
            expected="the checkpoint of a classifier",
            found=f"one of {checkpoint.recipe.system!r}",
        )
    return model.requires_grad_(False), digest


def start_run(
    fabric: Fabric,
    recipe: Recipe,
    recipe_text: str,
    options: RunOptions,
    *,
    data: str,
    sizes: dict[str, int],
) -> Run:
    """A run at its first step, weights drawn from the recipe's seed.

    Args:
        fabric: The processes.
        recipe: The recipe.
        recipe_text: Its whole text.
        options: What it starts from.
        data: Digest of the data set.
        sizes: Items to train on and to be watched by.
    """
    torch.manual_seed(recipe.seed)
    system, parents, taken, teacher = SYSTEMS[recipe.system], {"data": data}, 0, None
    model = system.build(recipe.model)
    if options.teacher is not None:
        if not recipe.model.learns_from_teacher:
            raise ConfigError(
                f"nothing in the recipe {recipe.name!r} learns from a teacher",
                expected='a system with model.fusion.kind = "mf-n"',
                found=f"system {recipe.system!r} without it",
                remedy="Leave out --teacher, or take a recipe like sxmnet-tiny",
            )
        teacher, parents["teacher"] = load_teacher(options.teacher)
        teacher = teacher.to(fabric.device)
    if options.init is not None:
        start, parents["init"] = load_checkpoint(options.init)
        taken = start.give_weights(model, recipe.system)
    model = model.to(fabric.device).to(memory_format=torch.channels_last)
    setting = Setting(recipe.model, recipe.optim, recipe.data.height, recipe.data.width, teacher)
    wrapped = fabric.setup_module(model)
    first, optim = next(iter(recipe.stages.items()))
    optimizer, averaged = _begin(fabric, model, optim)
    return Run(
        recipe,
        recipe_text,
        fabric,
        model,
        wrapped,
        system.criterion(setting),
        parents,
        taken,
        sizes,
        optimizer,
        averaged,
        Standing(stage=first),
    )
