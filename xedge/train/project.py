"""Objects of annotated pictures, projected into others as they are drawn to train on (TIP)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from xedge.data.image_set import ImageSet
from xedge.data.tip import cut_out, insert
from xedge.encode import AIR
from xedge.errors import DataError
from xedge.spec import Channels
from xedge.train.sample import Sample

LEAST_CUT: Final = 6
"""Pixels: an object narrower than this is nothing to project into another picture."""

MIDDLES: Final = (0.1, 0.9)
"""Where the middle of a projected object may lie, as shares of the picture's sides."""


@dataclass(frozen=True, eq=False)
class Donors:
    """Pictures whose objects are cut out.

    Attributes:
        load: The picture at an index, fitted to the size of those that it gives objects to.
        images: The set that they are of.
        indices: Those that have an object which is not difficult.
        channels: What the planes are.
    """

    load: Callable[[int], Sample]
    images: ImageSet
    indices: tuple[int, ...]
    channels: Channels

    @staticmethod
    def of(images: ImageSet, load: Callable[[int], Sample], channels: Channels) -> Donors:
        """Those of a set."""
        records = enumerate(images.records)
        indices = tuple(k for k, record in records if not record.difficult.all())
        return Donors(load, images, indices, channels)

    def project(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with an object of one of the pictures projected into it.

        It comes back as it was where the object that was drawn cannot be cut out.

        Args:
            sample: Of the same size and classes as the pictures.
            rng: Draws picture, object, place, angle and size.
        """
        try:
            donor = self.load(self.indices[int(rng.integers(len(self.indices)))]).taught()
        except DataError:  # that picture is told of in its own turn: this one is sound
            return sample
        which = int(rng.integers(len(donor.labels))) if len(donor.labels) else -1
        if which < 0 or (donor.boxes[which, 2:] - donor.boxes[which, :2]).min() < LEAST_CUT:
            return sample
        air = AIR[self.channels]
        try:
            cutout = cut_out(donor.planes, donor.boxes[which], air, self.channels)
        except DataError:  # nothing stands out from its surroundings in that box
            return sample
        height, width = sample.inside or sample.planes.shape[1:]
        x, y = (float(rng.uniform(*MIDDLES)) * side for side in (width, height))
        planes = sample.planes.copy()
        planes[:, :height, :width], box = insert(planes[:, :height, :width], cutout, x, y, rng, air)
        if (box[2:] - box[:2]).min() < LEAST_CUT:
            return sample
        return replace(
            sample,
            planes=planes,
            boxes=np.concatenate([sample.boxes, box[None].astype(np.float32)]),
            labels=np.append(sample.labels, donor.labels[which]).astype(np.int32),
            levels=np.append(sample.levels, 0).astype(np.int32),
        )
