"""Batches read from a data set by worker processes, with the items that cannot be read named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from xedge.errors import DataError, InputError, XedgeError
from xedge.train.batch import Batch, Item, collate
from xedge.train.data import Items

Answer = tuple[Item | None, dict[str, str]] | XedgeError
"""An item, and the ones before it that could not be read: name to what is wrong. Or an error that
is none of theirs."""


Read = tuple[Batch | None, dict[str, str]] | XedgeError
"""A batch of the items that could be read, None when none could, and the others; or likewise."""


class Reader(Dataset[Answer]):
    """Items of a data set, or what is wrong with them.

    An error that a worker process raises arrives as a traceback in a message; an answer arrives
    as it is.

    Args:
        items: The data set.
        part: What its items are called.
        replace: Answer with the next item that can be read instead.
    """

    def __init__(self, items: Items, part: str, *, replace: bool) -> None:
        self.items, self.part, self.replace = items, part, replace

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Answer:
        bad: dict[str, str] = {}
        for further in range(len(self) if self.replace else 1):
            at = (index + further) % len(self)
            try:
                return self.items[at], bad
            except InputError as error:
                bad[f"{self.part} item {at}"] = str(error)
            except XedgeError as error:
                return error
        return None, bad


@dataclass(frozen=True, eq=False)
class Batches:
    """Batches of a data set, read anew each time that one goes through them.

    Attributes:
        items: The data set.
        chosen: Indices of the items of each batch.
        part: What the items are called in messages: ``training``, or something else.
        workers: Processes that read.
        skip_bad: Do without items that cannot be read: another one takes the place of one to
            train on, and nothing that of one to be measured by.
        bad: Where those are noted: name to what is wrong.
    """

    items: Items
    chosen: Sequence[list[int]]
    part: str
    workers: int
    skip_bad: bool
    bad: dict[str, str]

    def __len__(self) -> int:
        return len(self.chosen)

    def __iter__(self) -> Iterator[Batch]:
        """The batches that hold an item.

        Raises:
            DataError: At the first item that cannot be read, unless those are skipped; at a batch
                to train on in whose place nothing can be read.
            XedgeError: Another one, as it was raised where the items are read.
        """
        if not self.chosen:
            return
        train = self.part == "training"
        loader: DataLoader[Read] = DataLoader(
            Reader(self.items, self.part, replace=train and self.skip_bad),  # type: ignore[arg-type]  # _collate makes a Read
            batch_sampler=self.chosen,
            num_workers=self.workers,
            collate_fn=_collate,
            worker_init_fn=_one_thread,
        )
        for answer in loader:
            if isinstance(answer, XedgeError):
                raise answer
            batch, bad = answer
            self.bad.update(bad)
            if bad and (not self.skip_bad or (train and batch is None)):
                name, why = next(iter(bad.items()))
                raise DataError(
                    f"{name} cannot be read",
                    found=why.rstrip("."),
                    remedy="Mend the file, or leave such items out with --skip-bad",
                )
            if batch is not None:
                yield batch


def _collate(answers: list[Answer]) -> Read:
    items: list[Item] = []
    bad: dict[str, str] = {}
    for answer in answers:
        if isinstance(answer, XedgeError):
            return answer
        item, found = answer
        bad |= found
        if item is not None:
            items.append(item)
    return collate(items) if items else None, bad


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
