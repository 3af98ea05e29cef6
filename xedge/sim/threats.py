"""The eleven kinds of labelled objects: parametric families of parts, in millimetres.

Each builder draws one object in its own frame, lying on its side and centred near the origin,
with sizes of its own every time. Dimensions are those of everyday examples; they were drawn
from general knowledge of the objects, not from any data set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xedge.sim import containers, firearms, tools
from xedge.sim.parts import Part

Builder = Callable[[np.random.Generator], tuple[Part, ...]]


BUILDERS: dict[str, Builder] = {
    "gun": firearms.gun,
    "knife": tools.knife,
    "scissors": tools.scissors,
    "wrench": tools.wrench,
    "pliers": tools.pliers,
    "utility_knife": tools.utility_knife,
    "plastic_bottle": containers.plastic_bottle,
    "glass_bottle": containers.glass_bottle,
    "can": containers.can,
    "lighter": containers.lighter,
    "battery_pack": containers.battery_pack,
}
"""How to draw each labelled class; its keys are `xedge.sim.CLASSES`."""


@dataclass(frozen=True, eq=False)
class Threat:
    """One labelled object in its own frame."""

    label: str
    parts: tuple[Part, ...]


def make_threat(label: str, rng: np.random.Generator, polymers: float = firearms.POLYMER) -> Threat:
    """A new object of a class, with sizes drawn from its family.

    Args:
        label: A class.
        rng: Draws the object.
        polymers: Share of pistols with a frame of polymer.
    """
    if label == "gun":
        return Threat(label, firearms.gun(rng, polymers))
    return Threat(label, BUILDERS[label](rng))
