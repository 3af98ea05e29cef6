"""Answers kept in blocks: what is taken from the folder, and what is done anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import xedge
from xedge.commands import answers
from xedge.commands.answers import BLOCK, Answers, Contender, answers_of, code_sha256
from xedge.commands.evaluated import Subject, Subjects
from xedge.errors import ConfigError, EngineRunError
from xedge.metrics import Truth
from xedge.pictures import DualEnergyPicture
from xedge.types import Detections

IMAGES = 2 * BLOCK + 30


def subjects(count: int = IMAGES, origin: str = "bags") -> Subjects:
    """Pictures of one pixel that holds its number; every third one's truth says less."""

    def made(places: range) -> Iterator[Subject]:
        for k in places:
            pixel = np.array([[k]], np.uint16)
            labels = np.arange(k % 4, dtype=np.int32)
            boxes = np.full((labels.size, 4), k, np.float32)
            rest = (None, None) if k % 3 == 0 else (labels, labels == 1)
            yield Subject(DualEnergyPicture(pixel, pixel), Truth(boxes, labels, *rest))

    return Subjects(f"{count} {origin}", count, origin, made)


class Asked:
    """A contender that finds as many objects as the number's last digit, and counts."""

    def __init__(self, name: str = "a", score: float = 0.5, stops: int = 10**9) -> None:
        self.seen: list[int] = []
        self.contender = Contender(name, self._find)
        self._score, self._stops = score, stops

    def _find(self, subject: Subject) -> tuple[Detections, Truth]:
        number = int(subject.picture.low[0, 0])
        if number >= self._stops:
            raise EngineRunError("the engine is gone")
        self.seen.append(number)
        scores = np.full(number % 10, self._score, np.float32)
        boxes = np.full((scores.size, 4), number, np.float32)
        return Detections(boxes, scores, np.zeros(scores.size, np.int32)), subject.truth


def equal(one: Answers, other: Answers) -> bool:
    def parts(rows: Answers) -> list[object]:
        return [
            None if value is None else value.tolist()
            for found, truth in rows
            for value in (found.boxes, found.scores, found.labels, truth.boxes, truth.labels,
                          truth.levels, truth.difficult)
        ]  # fmt: skip

    return parts(one) == parts(other)


def test_without_a_folder_everything_is_asked() -> None:
    asked = Asked()
    [rows] = answers_of([asked.contender], subjects())
    assert asked.seen == list(range(IMAGES))
    assert len(rows) == IMAGES


def test_what_was_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    [plain] = answers_of([Asked().contender], subjects())
    [first] = answers_of([Asked().contender], subjects(), tmp_path)
    again, steps = Asked(), []
    [second] = answers_of([again.contender], subjects(), tmp_path, lambda: steps.append(1))
    assert equal(first, plain)
    assert equal(second, plain)
    assert again.seen == [0, BLOCK, 2 * BLOCK]  # the first image of each block
    assert len(steps) == IMAGES


def test_an_interrupted_comparison_goes_on(tmp_path: Path) -> None:
    with pytest.raises(EngineRunError):
        answers_of([Asked(stops=BLOCK + 7).contender], subjects(), tmp_path)
    again = Asked()
    [rows] = answers_of([again.contender], subjects(), tmp_path)
    assert again.seen == [0, *range(BLOCK, IMAGES)]
    assert equal(rows, answers_of([Asked().contender], subjects())[0])


def test_more_images_and_another_contender_take_what_is_there(tmp_path: Path) -> None:
    answers_of([Asked().contender], subjects(2 * BLOCK), tmp_path)
    one, two = Asked(), Asked("b", 0.25)
    rows = answers_of([one.contender, two.contender], subjects(), tmp_path)
    assert one.seen == [0, BLOCK, *range(2 * BLOCK, IMAGES)]
    assert two.seen == list(range(IMAGES))
    assert rows[1][9][0].scores.tolist() == [0.25] * 9


def test_an_answer_that_is_another_now_is_not_taken(tmp_path: Path) -> None:
    # The first images of these blocks have no object; those of images from 1 on do.
    class Later(Asked):
        def _find(self, subject: Subject) -> tuple[Detections, Truth]:
            number = int(subject.picture.low[0, 0])
            pixel = np.array([[number + 1]], np.uint16)
            return super()._find(Subject(DualEnergyPicture(pixel, pixel), subject.truth))

    answers_of([Later().contender], subjects(), tmp_path)
    changed = Later(score=0.75)
    [rows] = answers_of([changed.contender], subjects(), tmp_path)
    assert len(changed.seen) == IMAGES
    assert {s for found, _ in rows for s in found.scores.tolist()} == {0.75}


def test_other_images_are_not_taken(tmp_path: Path) -> None:
    answers_of([Asked().contender], subjects(), tmp_path)
    other = Asked()
    answers_of([other.contender], subjects(origin="others"), tmp_path)
    assert len(other.seen) == IMAGES


def test_answers_of_other_code_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merging that changes no first image of a block changes others."""
    answers_of([Asked().contender], subjects(), tmp_path)
    monkeypatch.setattr(answers, "_this_code", lambda: "other")
    changed = Asked()
    answers_of([changed.contender], subjects(), tmp_path)
    assert changed.seen == list(range(IMAGES))
    again = Asked()
    answers_of([again.contender], subjects(), tmp_path)
    assert again.seen == [0, BLOCK, 2 * BLOCK]


@pytest.mark.parametrize(
    ("name", "counts"),
    [("postprocess.py", True), ("boxes.py", True), ("engines/two_stage.py", True),
     ("sim/faults/kinds.py", True), ("sim/tables.npz", True), ("scanner/windows.py", True),
     ("commands/evaluated.py", True), ("commands/answers.py", False),
     ("lane/core.py", False), ("postprocess.pyc", False)],
)  # fmt: skip
def test_the_digest_is_of_the_code_that_answers(name: str, counts: bool, tmp_path: Path) -> None:
    for part in ("postprocess.py", "scanner/windows.py", "lane/core.py", name):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).write_text("x = 1")
    before = code_sha256(tmp_path)
    assert code_sha256(tmp_path) == before
    (tmp_path / name).write_text("x = 2")
    assert (code_sha256(tmp_path) != before) is counts
    (tmp_path / name).rename((tmp_path / name).with_stem("other"))
    assert (code_sha256(tmp_path) != before) is counts


def test_the_code_that_runs_has_a_digest() -> None:
    package = Path(xedge.__file__).parent
    assert answers._this_code() == code_sha256(package)
    assert all((package / part).is_dir() for part in answers.MAKES_NONE)
    assert (package / "commands" / "evaluated.py").is_file()


@pytest.mark.parametrize("damage", [b"", b"nothing", None])
def test_a_damaged_block_is_done_anew(damage: bytes | None, tmp_path: Path) -> None:
    [plain] = answers_of([Asked().contender], subjects(), tmp_path)
    path = sorted(tmp_path.glob("*.npz"))[1]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage is None else damage)
    again = Asked()
    [rows] = answers_of([again.contender], subjects(), tmp_path)
    assert again.seen == [0, *range(BLOCK, 2 * BLOCK), 2 * BLOCK]
    assert equal(rows, plain)


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be kept there"):
        answers_of([Asked().contender], subjects(), tmp_path / "file")
