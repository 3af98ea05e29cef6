"""Which items a step sees: the order of an epoch, and the batches that are trained once more.

All of it follows from the seed and the losses, so that a run that was killed goes on with the
very batches that it would have seen. Over-sampling is DOAM-O's (Tao et al., "Over-sampling
De-occlusion Attention Network for Prohibited Items Detection in Noisy X-ray Images", section IV-B
and algorithm 2) with the rivals that the paper compares it with (section IV-D).
"""

from __future__ import annotations

import math

import numpy as np

from xedge.train.config import OptimConfig


def epoch_batches(
    items: int, batch: int, *, seed: int, epoch: int, rank: int = 0, processes: int = 1
) -> list[list[int]]:
    """Indices of each batch of an epoch that a process trains on.

    All processes together see each item once at most, in the order that one process with a
    batch ``processes`` times as large would see them in; the rest that fills no batch of each is
    left out, another one each epoch.

    Args:
        items: Items of the data set.
        batch: Items a step and process.
        seed: Seed of the run.
        epoch: Epochs finished, all stages together.
        rank: Number of this process.
        processes: How many there are.
    """
    order = np.random.default_rng((seed, epoch)).permutation(items).tolist()
    steps = items // (batch * processes)
    starts = ((step * processes + rank) * batch for step in range(steps))
    return [order[start : start + batch] for start in starts]


def step_seed(seed: int, rank: int, epoch: int, at: int) -> int:
    """Seed of torch's generator for one step: no state of it has to be kept to resume."""
    return int(np.random.SeedSequence((seed, rank, epoch, at)).generate_state(1, np.uint64)[0])


class HardPool:
    """The batches of an epoch that were hardest, S of algorithm 2.

    Args:
        size: Batches that it holds, N_S.
        threshold: L: no batch enters a pool that is not full with a loss up to this.
        held: What was in it when a run was left: number of the batch to its loss.
    """

    def __init__(self, size: int, threshold: float, held: dict[int, float] | None = None) -> None:
        self.size, self.threshold = size, threshold
        self.held: dict[int, float] = dict(held or {})

    def offer(self, batch: int, loss: float) -> None:
        """Take the batch in when it is hard enough (equations 11 and 12)."""
        if len(self.held) < self.size:
            if loss > self.threshold:
                self.held[batch] = loss
            return
        easiest = min(self.held, key=self.held.__getitem__)
        if loss > self.held[easiest]:
            del self.held[easiest]
            self.held[batch] = loss


def make_pool(optim: OptimConfig, held: dict[int, float]) -> HardPool | None:
    """The pool of a recipe; None where no batch is trained twice.

    The easy pool (equations 17 and 18) is the hard one of negative losses, the random one
    (equation 19) that of random numbers: the N_S largest of them are a fair draw.
    """
    threshold = {
        "hard": optim.loss_threshold,
        "easy": -optim.loss_threshold,
        "random": -math.inf,
    }.get(optim.oversample)
    return None if threshold is None else HardPool(optim.pool_batches, threshold, held)


def pool_key(optim: OptimConfig, loss: float, *, seed: int, epoch: int, batch: int) -> float:
    """What a batch is offered to the pool of `make_pool` with: large when it should be kept."""
    if optim.oversample == "easy":
        return -loss
    if optim.oversample == "random":
        return float(np.random.default_rng((seed, epoch, batch)).random())
    return loss
