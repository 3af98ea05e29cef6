"""From candidates to detections."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.boxes import area, iou
from xedge.errors import EngineRunError
from xedge.postprocess import MOST_DETECTIONS, candidates, detections
from xedge.spec import Channels, ModelSpec

SPEC = ModelSpec(
    name="test",
    classes=("a", "b"),
    height=100,
    width=120,
    channels=Channels.DUAL_ENERGY,
    binning=1,
    pixel_mm=1.0,
    candidates=5,
    nms_iou=0.5,
)


def outputs(*rows) -> dict[str, np.ndarray]:
    table = np.array(rows, np.float64).reshape(1, -1, 6)
    return {
        "boxes": table[..., :4].astype(np.float32),
        "scores": table[..., 4].astype(np.float32),
        "labels": table[..., 5].astype(np.int32),
    }


def test_threshold_clip_and_suppression() -> None:
    found = detections(
        outputs(
            (-5, 10, 20, 30, 0.9, 0),  # cut off at the left
            (0, 10, 20, 30, 0.8, 0),  # the same object again
            (0, 10, 20, 30, 0.7, 1),  # another class: stays
            (50, 50, 50, 60, 0.6, 0),  # no width
            (60, 60, 70, 70, 0.1, 0),  # below the threshold
        ),
        SPEC,
        100,
        120,
        0.2,
    )
    assert found.boxes.tolist() == [[0, 10, 20, 30], [0, 10, 20, 30]]
    assert found.scores.tolist() == [np.float32(0.9), np.float32(0.7)]
    assert found.labels.tolist() == [0, 1]


def test_an_object_cut_by_the_window_is_kept_however_little_is_seen() -> None:
    # Nothing of the window is padding: half a box outside it is an object cut by its edge.
    found = detections(outputs((-90, 10, 10, 30, 0.9, 0)), SPEC, 100, 120, 0.2)
    assert found.boxes.tolist() == [[0, 10, 10, 30]]


def test_no_candidates_give_no_detections() -> None:
    assert len(detections(outputs(), SPEC, 100, 120, 0.0)) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["boxes", "scores"])
def test_what_is_not_finite_is_an_error_even_below_the_threshold(where, value) -> None:
    bad = outputs((0, 0, 5, 5, 0.01, 0), (0, 0, 5, 5, 0.0, 0))
    bad[where].reshape(-1)[-1] = value
    with pytest.raises(EngineRunError, match=r"not finite.*found 1 of 4"):
        detections(bad, SPEC, 100, 120, 0.5)


@pytest.mark.parametrize("score", [-0.1, 1.1])
def test_scores_out_of_range_are_an_error(score) -> None:
    with pytest.raises(EngineRunError, match="out of range"):
        candidates(outputs((0, 0, 5, 5, score, 0)), SPEC)


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_that_are_no_class_are_an_error(label) -> None:
    with pytest.raises(EngineRunError, match=r"no class.*0\.\.1"):
        candidates(outputs((0, 0, 5, 5, 0.5, label)), SPEC)


number = st.floats(-50, 200, width=32)
row = st.tuples(number, number, number, number, st.floats(0, 1, width=32), st.integers(0, 1))


@given(st.lists(row, max_size=150), st.integers(1, 100), st.integers(1, 120), st.floats(0, 1))
def test_what_comes_out_is_in_order_inside_solid_and_apart(rows, height, width, threshold) -> None:
    found = detections(outputs(*rows), SPEC, height, width, threshold)
    assert len(found) <= MOST_DETECTIONS
    assert (np.diff(found.scores) <= 0).all()
    assert (found.scores >= np.float32(threshold)).all()
    assert (area(found.boxes) > 0).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes[:, 2] <= width).all()
    assert (found.boxes[:, 3] <= height).all()
    for label in (0, 1):
        same = found.boxes[found.labels == label]
        overlap = iou(same, same) - np.eye(len(same), dtype=np.float32)
        assert (overlap <= SPEC.nms_iou + 1e-6).all()
