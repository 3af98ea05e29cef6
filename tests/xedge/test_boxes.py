"""Box arithmetic: invariants, and suppression against a naive one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xedge.boxes import area, clip, intersection, iou, nms

coordinate = st.integers(-20, 20)
box = st.tuples(coordinate, coordinate, coordinate, coordinate)
many = st.lists(box, max_size=8).map(lambda b: np.array(b, np.float32).reshape(-1, 4))
proper = st.tuples(coordinate, coordinate, st.integers(1, 15), st.integers(1, 15)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
proper_many = st.lists(proper, max_size=8).map(lambda b: np.array(b, np.float32).reshape(-1, 4))


def test_worked_by_hand() -> None:
    a = np.array([[0, 0, 4, 2]], np.float32)
    b = np.array([[2, 1, 6, 3], [4, 0, 8, 2], [0, 0, 4, 2]], np.float32)
    assert area(b).tolist() == [8, 8, 8]
    assert intersection(a, b).tolist() == [[2, 0, 8]]
    np.testing.assert_allclose(iou(a, b), [[2 / 14, 0, 1]], rtol=1e-6)


def test_an_inverted_box_has_no_area_and_overlaps_nothing() -> None:
    inverted = np.array([[5, 5, 1, 1]], np.float32)
    assert area(inverted).tolist() == [0]
    assert iou(inverted, inverted).tolist() == [[0]]
    assert iou(inverted, np.array([[0, 0, 9, 9]], np.float32)).tolist() == [[0]]


@given(many, many)
def test_overlap_is_symmetric_and_within_bounds(a, b) -> None:
    overlap = iou(a, b)
    assert overlap.shape == (len(a), len(b))
    np.testing.assert_array_equal(overlap, iou(b, a).T)
    assert ((overlap >= 0) & (overlap <= 1)).all()
    assert (intersection(a, b) <= np.minimum(area(a)[:, None], area(b)[None, :])).all()


@given(proper_many, st.floats(-50, 50, width=16), st.floats(-50, 50, width=16))
def test_overlap_does_not_move_with_the_boxes(boxes, dx, dy) -> None:
    moved = boxes + np.array([dx, dy, dx, dy], np.float32)
    np.testing.assert_allclose(iou(moved, moved), iou(boxes, boxes), atol=1e-4)


@given(many)
def test_clipped_boxes_lie_inside_and_stay_there(boxes) -> None:
    inside = clip(boxes, 7, 9)
    assert (inside >= 0).all()
    assert (inside[:, 0::2] <= 9).all()
    assert (inside[:, 1::2] <= 7).all()
    np.testing.assert_array_equal(clip(inside, 7, 9), inside)


def naive(boxes, scores, labels, threshold, limit) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        rivals = [j for j in kept if labels[j] == labels[i]]
        if all(iou(boxes[[i]], boxes[[j]])[0, 0] <= threshold for j in rivals):
            kept.append(i)
    return kept[:limit]


@given(
    st.lists(st.tuples(proper, st.integers(0, 5), st.integers(0, 2)), max_size=12),
    st.sampled_from([0.0, 0.3, 0.5, 0.9]),
    st.integers(1, 5),
)
def test_suppression_agrees_with_the_naive_one(rows, threshold, limit) -> None:
    boxes = np.array([r[0] for r in rows], np.float32).reshape(-1, 4)
    scores = np.array([r[1] / 5 for r in rows], np.float32)
    labels = np.array([r[2] for r in rows], np.int32)
    kept = nms(boxes, scores, labels, threshold, limit)
    assert kept.tolist() == naive(boxes, scores, labels, threshold, limit)
    again = nms(boxes[kept], scores[kept], labels[kept], threshold, limit)
    assert again.tolist() == list(range(len(kept)))
