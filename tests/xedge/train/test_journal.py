from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from xedge.train.journal import Journal


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def write(folder: Path, first: int, epochs: int, *, tensorboard: bool = True) -> None:
    """Epochs of two steps; the loss of step s is s."""
    with Journal(folder, epochs=first, step=2 * first, tensorboard=tensorboard) as journal:
        for epoch in range(first, epochs):
            for step in (2 * epoch + 1, 2 * epoch + 2):
                journal.step(step, {"loss": float(step)})
            journal.epoch(2 * epoch + 2, {"epoch": epoch + 1}, {"ap50": 0.25 * epoch})


def test_curves_and_lines_can_be_read_back(tmp_path: Path) -> None:
    write(tmp_path, 0, 2)
    assert curves(tmp_path) == {
        "train/loss": [(s, float(s)) for s in (1, 2, 3, 4)],
        "held out/ap50": [(2, 0.0), (4, 0.25)],
    }
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [{"epoch": 1, "ap50": 0.0}, {"epoch": 2, "ap50": 0.25}]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_what_is_done_again_is_written_once(tmp_path: Path, first: int) -> None:
    write(tmp_path, 0, 3)
    write(tmp_path, first, 3)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [step for step, _ in curves(tmp_path)["train/loss"]] == [1, 2, 3, 4, 5, 6]


def test_without_tensorboard_there_are_lines_only(tmp_path: Path) -> None:
    write(tmp_path, 0, 1, tensorboard=False)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
