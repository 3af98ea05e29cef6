"""Labelled objects: every class draws, in every pose, with a tight box and its own materials."""

import numpy as np
import pytest

from xedge.sim import CLASSES
from xedge.sim.clutter import BUILDERS as CLUTTER
from xedge.sim.materials import grey, tables
from xedge.sim.occlusion import VISIBLE, covered_share, level, tight_box
from xedge.sim.parts import Projection, project
from xedge.sim.physics import ScannerModel
from xedge.sim.shapes import Pose
from xedge.sim.threats import BUILDERS, make_threat

METALS = {"steel", "stainless", "zinc", "brass", "copper", "aluminium", "magnesium"}
MUST_HAVE = {
    "gun": "steel",
    "knife": "stainless",
    "scissors": "stainless",
    "wrench": "steel",
    "pliers": "steel",
    "utility_knife": "steel",
    "glass_bottle": "glass",
    "lighter": "steel",
    "battery_pack": "cell",
}


def drawn(label: str, seed: int) -> Projection:
    rng = np.random.default_rng(seed)
    pose = Pose(
        0, 0, float(rng.uniform(0, 6.28)), float(rng.uniform(0, 0.6)), 1 / 0.62, seed % 2 == 1
    )
    return project(make_threat(label, rng).parts, pose)


def test_the_builders_are_the_classes() -> None:
    assert tuple(BUILDERS) == CLASSES
    assert not set(CLUTTER) & set(CLASSES)


@pytest.mark.parametrize("label", CLASSES)
def test_the_box_is_tight_in_the_picture(label: str) -> None:
    """Checked on what the detector would see, not on the map the box was made from."""
    scanner = ScannerModel()
    for seed in range(6):
        one = drawn(label, seed)
        box = tight_box(grey(one.basis_cm), one.x0, one.y0)
        assert box is not None
        x1, y1, x2, y2 = (int(v) for v in box)
        line = -np.log(np.maximum(scanner.transmission(one.basis_cm)[0], 1e-12))
        columns = line.max(axis=0)
        rows = line.max(axis=1)
        # The low channel sees between 1 and 4 times the attenuation at 80 keV.
        assert min(columns[x1 - one.x0], columns[x2 - 1 - one.x0]) > VISIBLE
        assert min(rows[y1 - one.y0], rows[y2 - 1 - one.y0]) > VISIBLE
        outside = line.copy()
        outside[y1 - one.y0 : y2 - one.y0, x1 - one.x0 : x2 - one.x0] = 0
        assert outside.max() < 4 * VISIBLE
        assert 15 < max(x2 - x1, y2 - y1) < 800


@pytest.mark.parametrize("label", CLASSES)
def test_objects_vary_and_repeat_by_seed(label: str) -> None:
    shapes = [drawn(label, seed).basis_cm for seed in (0, 0, 2)]
    assert np.array_equal(shapes[0], shapes[1])
    assert shapes[0].shape != shapes[2].shape or not np.array_equal(shapes[0], shapes[2])


@pytest.mark.parametrize("label", CLASSES)
def test_objects_are_of_the_right_materials(label: str) -> None:
    for seed in range(10):
        names = {part.material for part in make_threat(label, np.random.default_rng(seed)).parts}
        assert names <= set(tables().names)
        if label in MUST_HAVE:
            assert MUST_HAVE[label] in names
        if label == "can":
            assert names & {"steel", "aluminium"}
        if label == "plastic_bottle":
            assert not names & METALS
            assert names & {"water", "juice", "spirit", "cream"}


def test_attenuation_is_never_negative() -> None:
    for label in CLASSES:
        assert grey(drawn(label, 4).basis_cm).min() > -1e-4
    for name, (build, _) in CLUTTER.items():
        parts = build(np.random.default_rng(1))
        assert grey(project(parts, Pose(0, 0, 0.5)).basis_cm).min() > -1e-4, name


def test_nothing_in_air_has_a_box() -> None:
    assert tight_box(np.full((4, 4), VISIBLE / 2, np.float32), 0, 0) is None


def test_the_occlusion_rule() -> None:
    own = np.zeros((10, 10), np.float32)
    own[2:8, 2:8] = 1.0
    other = np.zeros_like(own)
    assert covered_share(own, other) == 0
    other[2:8, 2:5] = 0.7
    assert covered_share(own, other) == pytest.approx(0.5)
    # Cloth that would cover a knife does not cover an object three times as dense as itself.
    assert covered_share(own * 3, other) == 0
    # Matter beside the object does not count.
    assert covered_share(own, np.where(own > 0, 0, 5).astype(np.float32)) == 0
    assert [level(share) for share in (0.0, 0.24, 0.25, 0.59, 0.6, 1.0)] == [1, 1, 2, 2, 3, 3]


def test_frames_of_pistols_are_of_polymer_as_often_as_asked() -> None:
    def polymer_frames(share: float) -> int:
        made = [make_threat("gun", np.random.default_rng(seed), share) for seed in range(60)]
        return sum("nylon" in {part.material for part in one.parts} for one in made)

    assert polymer_frames(0.0) == 0
    # Seven in ten are pistols: Binomial(60, 0.7) has a deviation of 3.5.
    assert 42 - 4 * 3.5 < polymer_frames(1.0) < 42 + 4 * 3.5
    assert polymer_frames(0.5) < polymer_frames(1.0)
