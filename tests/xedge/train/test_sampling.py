from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xedge.train.config import OptimConfig
from xedge.train.sampling import HardPool, epoch_batches, make_pool, pool_key, step_seed

LOSSES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 2.0]) | st.floats(0, 4), max_size=30)


def algorithm_2(losses: list[float], threshold: float, size: int) -> list[int]:
    """The paper's lines 2 to 14, word for word; of equal minima the one taken in first goes."""
    s: list[int] = []
    for i in range(len(losses)):
        if len(s) != size:
            if losses[i] > threshold:
                s = [*s, i]
        else:
            m = min(s, key=lambda k: losses[k])
            if losses[i] > losses[m]:
                s = [k for k in s if k != m] + [i]
    return s


def easy_algorithm(losses: list[float], threshold: float, size: int) -> list[int]:
    """Equations 17 and 18."""
    s: list[int] = []
    for i in range(len(losses)):
        if len(s) != size:
            if losses[i] < threshold:
                s = [*s, i]
        else:
            m = max(s, key=lambda k: losses[k])
            if losses[i] < losses[m]:
                s = [k for k in s if k != m] + [i]
    return s


def chosen(optim: OptimConfig, losses: list[float], seed: int = 0, cut: int = 0) -> list[int]:
    """What a run trains once more; ``cut`` is the step after which it was killed and resumed."""
    pool = make_pool(optim, {})
    assert pool is not None
    for i, loss in enumerate(losses):
        if i == cut:
            pool = make_pool(optim, pool.held)
            assert pool is not None
        pool.offer(i, pool_key(optim, loss, seed=seed, epoch=0, batch=i))
    return list(pool.held)


@given(LOSSES, st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 6), st.integers(0, 30))
def test_the_pools_are_those_of_the_paper(
    losses: list[float], threshold: float, size: int, cut: int
) -> None:
    hard = OptimConfig(oversample="hard", pool_batches=size, loss_threshold=threshold)
    easy = OptimConfig(oversample="easy", pool_batches=size, loss_threshold=threshold)
    assert chosen(hard, losses, cut=cut) == algorithm_2(losses, threshold, size)
    assert chosen(easy, losses, cut=cut) == easy_algorithm(losses, threshold, size)


@given(LOSSES, st.integers(1, 6))
def test_a_pool_without_a_threshold_holds_the_largest_losses(
    losses: list[float], size: int
) -> None:
    pool = HardPool(size, -1.0)
    for i, loss in enumerate(losses):
        pool.offer(i, loss)
    assert sorted(pool.held.values()) == sorted(losses)[-size:]


def test_the_random_pool_draws_fairly_and_does_not_look_at_losses() -> None:
    optim = OptimConfig(oversample="random", pool_batches=2)
    draws = [chosen(optim, [float(i) for i in range(10)], seed) for seed in range(500)]
    assert all(len(set(draw)) == 2 for draw in draws)
    counts = [sum(i in draw for draw in draws) for i in range(10)]
    # 500 draws with p = 0.2: mean 100, deviation sqrt(500 * 0.2 * 0.8) = 8.9; five of them.
    assert all(abs(count - 100) < 45 for count in counts)
    assert chosen(optim, [9.0 - i for i in range(10)], 3) == draws[3]


def test_nothing_is_trained_twice_by_default() -> None:
    assert make_pool(OptimConfig(), {}) is None


@given(st.integers(0, 60), st.integers(1, 5), st.integers(1, 3), st.integers(0, 3))
def test_processes_share_an_epoch(items: int, batch: int, processes: int, epoch: int) -> None:
    shares = [
        epoch_batches(items, batch, seed=1, epoch=epoch, rank=rank, processes=processes)
        for rank in range(processes)
    ]
    whole = epoch_batches(items, batch * processes, seed=1, epoch=epoch)
    assert {len(share) for share in shares} == {items // (batch * processes)}
    # Step by step, what they see together is what one process with a larger batch would see.
    for step, together in enumerate(whole):
        assert [i for share in shares for i in share[step]] == together
    seen = [i for share in shares for b in share for i in b]
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(items))


def test_epochs_and_seeds_differ_in_order() -> None:
    orders = {str(epoch_batches(20, 4, seed=s, epoch=e)) for s in range(3) for e in range(3)}
    assert len(orders) == 9
    seeds = {step_seed(s, r, e, a) for s in (0, 1) for r in (0, 1) for e in (0, 1) for a in (0, 1)}
    assert len(seeds) == 16
    assert max(seeds) < 2**64
