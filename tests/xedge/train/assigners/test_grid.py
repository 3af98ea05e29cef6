from __future__ import annotations

import pytest
import torch

from xedge.errors import ConfigError
from xedge.train.assigners.grid import make_grid

GRID = make_grid(96, 128, (8, 16, 32), 8)


def test_locations_are_those_of_all_levels() -> None:
    assert GRID.sizes == ((12, 16), (6, 8), (3, 4))
    assert len(GRID.points) == 12 * 16 + 6 * 8 + 3 * 4
    sides = GRID.boxes[:, 2:] - GRID.boxes[:, :2]
    assert torch.equal(sides, GRID.point_strides[:, None].expand(-1, 2) * 8)
    assert GRID.point_strides.unique_consecutive().tolist() == [8.0, 16.0, 32.0]


def test_distances_are_left_top_right_bottom_and_negative_outside() -> None:
    boxes = torch.tensor([1.0, 2.0, 10.0, 3.0]).expand(len(GRID.points), 4)
    assert GRID.distances(boxes)[0].tolist() == [3.0, 2.0, 6.0, -1.0]


def test_maps_put_rows_where_their_points_are() -> None:
    x, y = GRID.maps(GRID.points[None])[1][0]
    assert x[0].tolist() == [8.0 + 16 * k for k in range(8)]
    assert y[:, 0].tolist() == [8.0 + 16 * k for k in range(6)]


@pytest.mark.parametrize(("height", "width"), [(96, 112), (80, 128)])
def test_an_image_of_broken_cells_is_refused(height: int, width: int) -> None:
    with pytest.raises(ConfigError, match=f"multiples of 32.*found {height} x {width}"):
        make_grid(height, width, (8, 16, 32), 8)
