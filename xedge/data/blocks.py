"""Blocks of neighbouring scans: which images may show the same bag, and splits that respect it."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xedge.errors import ConfigError, DataError

LARGEST_GAP = 3
"""Numbers that may be missing between two scans of one run: published sets leave images out."""

LONGEST_RUN = 64
"""Images of a run: a set numbered without a gap is one run otherwise, and cannot be split."""

DRAWS = 64


def neighbours(names: Sequence[str]) -> dict[str, str]:
    """The group of each name: the first name of its run of consecutive numbers.

    No public set says which scans show the same bag, but all number their scans in order. Names
    that differ only in their trailing number are in one run while the numbers follow each other
    with at most `LARGEST_GAP` steps, up to `LONGEST_RUN` images. A name without a number is a
    group of its own.

    >>> neighbours(["P00072", "P00074", "P00240", "N3"])
    {'N3': 'N3', 'P00072': 'P00072', 'P00074': 'P00072', 'P00240': 'P00240'}
    """
    groups: dict[str, str] = {}
    first, length, before = "", 0, ("", -1 - LARGEST_GAP)
    for name in sorted(set(names), key=_order):
        stem, number = _order(name)
        near = before[0] == stem and 0 <= number - before[1] <= LARGEST_GAP and number >= 0
        if not near or length >= LONGEST_RUN:
            first, length = name, 0
        groups[name] = first
        length, before = length + 1, (stem, number)
    return groups


def _order(name: str) -> tuple[str, int]:
    """What comes before the trailing number, and the number; -1 where there is none."""
    match = re.fullmatch(r"(.*?)(\d+)", name, re.DOTALL)
    return (match[1], int(match[2])) if match else (name, -1)


def twins(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Pairs of indices of files with the same bytes; each file is in at most one, with the first.

    Published sets hold some pictures twice under distant names. Only files of one size are read;
    those that are absent have no twin.
    """
    by_size: dict[int, list[int]] = defaultdict(list)
    for k, path in enumerate(paths):
        if path.is_file():
            by_size[path.stat().st_size].append(k)
    first: dict[bytes, int] = {}
    pairs = []
    for same in by_size.values():
        for k in same if len(same) > 1 else ():
            before = first.setdefault(hashlib.sha256(paths[k].read_bytes()).digest(), k)
            if before != k:
                pairs.append((before, k))
    return pairs


def choose_blocks(
    groups: Sequence[str],
    weights: npt.NDArray[np.float64],
    share: float,
    seed: int,
    blocks: int,
    *,
    of: str,
    twins: Iterable[tuple[str, str]] = (),
) -> frozenset[str]:
    """The groups to hold out.

    Args:
        groups: The group of each image.
        weights: What to divide evenly, float64 ``[images, quantities]``: counts by class.
        share: Share of each quantity to hold out.
        seed: Of the draws.
        blocks: How many runs of neighbouring groups to cut the set into.
        of: Name of the set, for the message.
        twins: Pairs of groups that share a picture: they go to the same side.

    Raises:
        DataError: When there are fewer than two groups.
        ConfigError: When the share or the number of blocks cannot be used.
    """
    if not 0 < share < 1 or blocks < 2:
        raise ConfigError(
            "a split cannot be made",
            expected="a share between 0 and 1 and at least 2 blocks",
            found=f"share {share}, {blocks} blocks",
        )
    ordered = sorted(set(groups), key=_order)
    if len(ordered) < 2:
        raise DataError(
            f"{of} cannot be split",
            expected="at least two groups of neighbouring scans",
            found=f"{len(groups)} images in {len(ordered)} group(s)",
            remedy="Give two parts of the set instead",
        )
    place = {group: k for k, group in enumerate(ordered)}
    by_group = np.zeros((len(ordered), weights.shape[1]))
    np.add.at(by_group, [place[group] for group in groups], weights)
    # The last quantity counts images: blocks hold about as many each.
    middle = np.cumsum(by_group[:, -1]) - by_group[:, -1] / 2
    block = np.minimum(middle / by_group[:, -1].sum() * blocks, blocks - 1).astype(np.intp)
    _, block = np.unique(block, return_inverse=True)
    if block.max() == 0:  # one group holds nearly all: cut between groups instead
        block = np.arange(len(ordered))
    for a, b in twins:
        block[block == block[place[a]]] = block[place[b]]
    _, block = np.unique(block, return_inverse=True)
    if block.max() == 0:
        raise DataError(
            f"{of} cannot be split",
            expected="two blocks without a picture in common",
            found=f"{len(ordered)} groups that share pictures",
            remedy="Ask for more blocks, or give two parts of the set",
        )
    totals = np.zeros((block.max() + 1, weights.shape[1]))
    np.add.at(totals, block, by_group)
    held = _even_draw(totals, share, np.random.default_rng(seed))
    return frozenset(group for group, b in zip(ordered, block, strict=True) if held[b])


def _even_draw(
    totals: npt.NDArray[np.float64], share: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Of `DRAWS` random choices of blocks, the one that divides every quantity most evenly."""
    n = len(totals)
    whole = np.maximum(totals.sum(axis=0), 1)
    best, least = np.zeros(n, np.bool_), np.inf
    for _ in range(DRAWS):
        order = rng.permutation(n)
        images = np.cumsum(totals[order, -1]) / whole[-1]
        count = int(np.clip(np.argmin(np.abs(images - share)) + 1, 1, n - 1))
        held = np.zeros(n, np.bool_)
        held[order[:count]] = True
        error = float(np.abs(totals[held].sum(axis=0) / whole - share).sum())
        if error < least:
            best, least = held, error
    return best
