from __future__ import annotations

import math

import pytest
import torch

from xedge.models.anchors import grow, rows


def test_rows_go_cell_by_cell_with_each_cells_priors_together() -> None:
    n, priors, per, h, w = 2, 3, 4, 2, 5
    level = torch.arange(n * priors * per * h * w, dtype=torch.float16).reshape(n, -1, h, w)
    made = rows(level, per)
    assert made.dtype == torch.float32
    assert made.shape == (n, h * w * priors, per)
    for prior, y, x in ((0, 0, 0), (2, 0, 1), (1, 1, 3), (2, 1, 4)):
        expected = level[1, prior * per : (prior + 1) * per, y, x].float()
        assert torch.equal(made[1, (y * w + x) * priors + prior], expected)


def test_growth_is_the_exponential_up_to_a_bound() -> None:
    sizes = torch.tensor([10.0, 10.0, 10.0])
    grown = grow(sizes, torch.tensor([0.0, math.log(3), 50.0]))
    # float32: a few units in the last place of exp.
    assert grown.tolist() == pytest.approx([10.0, 30.0, 625.0], rel=1e-6)
