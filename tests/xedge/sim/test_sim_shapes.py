"""Projected solids against their volumes, which projection keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.sim.parts import Part, project
from xedge.sim.shapes import Patch, Pose, Prism, Rod, Turned, ellipse, rectangle, smooth

angles = st.floats(0, 2 * np.pi)
places = st.floats(-20, 20)


def volume(patch: Patch, pose: Pose) -> float:
    return float(patch.mm.sum(dtype=np.float64)) / pose.scale**2


@given(x=places, y=places, angle=angles, tilt=st.floats(0, 0.9), flip=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_prism_keeps_its_volume_in_every_pose(
    x: float, y: float, angle: float, tilt: float, flip: bool
) -> None:
    pose = Pose(x, y, angle, tilt, 1 / 0.62, flip)
    patch = Prism(rectangle(80, 30), 5.0).render(pose)
    # fillPoly colours every cell it touches: up to one cell of half a pixel along the border.
    border = 2 * (80 + 30) * 0.31 * 5.0 / np.cos(tilt)
    assert 0 <= volume(patch, pose) - 80 * 30 * 5.0 + 0.1 * border <= 1.1 * border


@given(angle=angles, tilt=st.floats(0, 0.9))
@settings(max_examples=40, deadline=None)
def test_a_cylinder_keeps_its_volume(angle: float, tilt: float) -> None:
    pose = Pose(3.3, -7.1, angle, tilt)
    patch = Turned(np.array([[-40.0, 15.0], [40.0, 15.0]])).render(pose)
    # Sampled at pixel centres: the ends may be off by half a pixel each.
    length = 80 * np.cos(tilt) / 0.62
    assert volume(patch, pose) == pytest.approx(np.pi * 15**2 * 80, rel=1 / length + 0.01)


@given(level=st.floats(-1, 1))
@settings(max_examples=30, deadline=None)
def test_liquid_fills_as_much_as_its_level_says(level: float) -> None:
    pose = Pose(0, 0, 0.3)
    radius = 20.0
    patch = Turned(np.array([[-50.0, radius], [50.0, radius]]), level=level).render(pose)
    # Segment of a circle from its lowest point up to `level` radii from the middle.
    segment = radius**2 * (np.pi / 2 + np.arcsin(level) + level * np.sqrt(1 - level**2))
    assert volume(patch, pose) == pytest.approx(
        segment * 100, rel=0.02, abs=0.02 * np.pi * radius**2 * 100
    )


def test_a_wall_is_thickest_at_its_edge() -> None:
    profile = np.array([[-50.0, 20.0], [50.0, 20.0]])
    wall = Turned(profile, profile - (0.0, 2.0)).render(Pose(0, 0, 0.0))
    across = wall.mm.mean(axis=1)
    assert across.max() > 2.5 * wall.mm[wall.mm.shape[0] // 2].mean()


@given(radius=st.floats(0.2, 8.0), angle=angles)
@settings(max_examples=40, deadline=None)
def test_a_rod_keeps_its_volume_even_thinner_than_a_pixel(radius: float, angle: float) -> None:
    pose = Pose(0, 0, angle)
    patch = Rod(np.array([[-60.0, 0.0], [60.0, 0.0]]), radius).render(pose)
    true = np.pi * radius**2 * 120 + 4 / 3 * np.pi * radius**3
    # Drawn on cells of 0.31 mm whose centre line is a cell wide: coarse for the thinnest.
    assert volume(patch, pose) == pytest.approx(true, rel=0.12 if radius > 1 else 0.45)


def test_a_rounded_prism_is_lower_at_its_edge_and_full_in_the_middle() -> None:
    patch = Prism(rectangle(60, 40), 8.0, 5.0).render(Pose(0, 0, 0.0))
    h, w = patch.mm.shape
    assert patch.mm[h // 2, w // 2] == pytest.approx(8.0, rel=1e-5)
    inner = patch.mm[h // 2, 2:5]
    assert (np.diff(inner) > 0).all()
    assert inner[0] < 6.0


def test_holes_are_empty() -> None:
    hole = ellipse(8, 8)
    patch = Prism(rectangle(60, 40), 3.0, 0.0, (hole,)).render(Pose(0, 0, 0.0))
    assert patch.mm[patch.mm.shape[0] // 2, patch.mm.shape[1] // 2] == 0


def test_a_smooth_curve_passes_through_its_points() -> None:
    points = np.array([[0, 0], [10, 5], [20, -5], [40, 0]], float)
    curve = smooth(points, per_span=8)
    assert np.allclose(curve[::8], points)
    assert len(smooth(points, closed=True, per_span=4)) == 16


@given(x=st.floats(-60, 60), y=st.floats(-60, 60))
@settings(max_examples=40, deadline=None)
def test_what_sticks_out_of_the_image_is_cut_and_the_rest_stays(x: float, y: float) -> None:
    drawn = project([Part("steel", Prism(rectangle(30, 20), 2.0))], Pose(x, y, 0.4))
    canvas = np.zeros((3, 40, 50), np.float32)
    drawn.add_to(canvas)
    large = np.zeros((3, 400, 400), np.float32)
    moved = type(drawn)(drawn.x0 + 150, drawn.y0 + 150, drawn.basis_cm)
    moved.add_to(large)
    assert np.array_equal(canvas, large[:, 150:190, 150:200])
