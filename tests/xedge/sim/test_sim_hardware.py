"""Odds and ends of metal: each draws, of known materials, and most of what it shows is metal."""

import numpy as np
import pytest

from xedge.sim import CLASSES
from xedge.sim.clutter import BUILDERS as CLUTTER
from xedge.sim.hardware import BUILDERS
from xedge.sim.materials import grey, tables
from xedge.sim.parts import project
from xedge.sim.shapes import Pose

METALS = {"steel", "stainless", "zinc", "brass", "copper", "aluminium"}


def test_none_is_a_labelled_class_or_an_everyday_thing() -> None:
    assert not set(BUILDERS) & (set(CLASSES) | set(CLUTTER))


@pytest.mark.parametrize("name", BUILDERS)
def test_each_draws_with_metal_of_a_hand_luggage_size(name: str) -> None:
    build, weight = BUILDERS[name]
    assert weight > 0
    for seed in range(8):
        parts = build(np.random.default_rng(seed))
        used = {part.material for part in parts}
        assert used <= set(tables().names)
        assert used & METALS
        drawn = project(parts, Pose(0, 0, 0.4 * seed, 0.0, 0.5))
        seen = grey(drawn.basis_cm)
        assert np.isfinite(seen).all()
        assert seen.max() > 0.1
        # Half a pixel a millimetre: 420 mm, which a bag of 450 mm has room for.
        assert max(seen.shape) < 210
