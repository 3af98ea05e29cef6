"""`xedge data` as a person and as a script use it."""

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from xedge.cli import main
from xedge.data import FORMATS


def run(*arguments: object):
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path):
    """A COCO folder of three images; the third has no box."""
    rng = np.random.default_rng(0)
    for name in ("a", "b", "ü"):
        picture = rng.integers(0, 256, (50, 80, 3)).astype(np.uint8)
        (tmp_path / f"{name}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    content = {
        "images": [{"id": k, "file_name": f"{name}.png"} for k, name in enumerate("abü")],
        "annotations": [
            {"image_id": 0, "category_id": 1, "bbox": [10, 10, 20, 30]},
            {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 30], "iscrowd": 1},
        ],
        "categories": [{"id": 1, "name": "gun"}],
    }
    (tmp_path / "set.json").write_text(json.dumps(content))
    return tmp_path


def test_formats_are_listed_with_their_layouts() -> None:
    people = run("formats")
    assert people.exit_code == 0
    rows = json.loads(run("formats", "--json").stdout)
    assert [row["name"] for row in rows] == list(FORMATS)
    for row in rows:
        assert row["name"] in people.stdout
        assert all(line in people.stdout for line in row["layout"])


def test_a_sound_set_passes(folder) -> None:
    people = run("verify", folder, "--format", "coco")
    assert people.exit_code == 0, people.output
    assert "3 images, 2 objects, 3 files read: nothing wrong" in people.stdout
    report = json.loads(run("verify", folder, "--format", "coco", "--json").stdout)
    assert report["sound"] is True
    assert report["findings"] == []


def test_what_is_wrong_is_shown_and_exits_with_1(folder) -> None:
    (folder / "b.png").write_bytes(b"nothing")
    people = run("verify", folder, "--format", "coco")
    assert people.exit_code == 1
    assert "b.png" in people.stdout
    assert "1 does not decode" in people.stdout
    script = run("verify", folder, "--format", "coco", "--json")
    assert script.exit_code == 1
    (finding,) = json.loads(script.stdout)["findings"]
    assert (finding["kind"], finding["file"]) == ("does not decode", "b.png")


def test_a_long_list_is_cut_for_people_only(folder) -> None:
    content = json.loads((folder / "set.json").read_text())
    content["images"] += [{"id": k, "file_name": f"no{k}.png"} for k in range(10, 40)]
    (folder / "set.json").write_text(json.dumps(content))
    people = run("verify", folder, "--format", "coco").stdout
    assert "... and 18 more" in people
    assert "30 missing file" in people
    script = run("verify", folder, "--format", "coco", "--json").stdout
    assert len(json.loads(script)["findings"]) == 30


def test_a_page_has_a_tile_for_each_picture(folder, tmp_path) -> None:
    page = tmp_path / "new" / "page.png"
    result = run("show", folder, "--format", "coco", "-o", page)
    assert result.exit_code == 0, result.output
    assert "3 of 3 images" in result.stdout
    picture = cv2.imread(str(page))
    assert picture.shape == (360, 3 * 360, 3)
    # The box of the first: 10..30 x 10..40 of 80 pixels, 4.5 times as large; its left side.
    assert picture[100, 45].tolist() == [60, 0, 200]
    names = json.loads(run("show", folder, "--format", "coco", "-o", page, "--count", 2,
                           "--json").stdout)  # fmt: skip
    assert names == ["a", "ü"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", ".", "--format", "sixray"], "no data set of format sixray"),
        (["verify", "absent", "--format", "coco"], "found no such folder"),
        (["show", ".", "--format", "coco", "-o", "page.gif"], "expected a .jpg or .png"),
        (["show", ".", "--format", "coco", "-o", "set.json/page.jpg"], "cannot be written"),
        (["show", ".", "--format", "coco", "--part", "x", "-o", "p.jpg"], "has no part 'x'"),
    ],
)
def test_what_cannot_be_done_is_one_line(folder, monkeypatch, arguments, message) -> None:
    monkeypatch.chdir(folder)
    result = run(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert run("verify", ".", "--format", "voc").exit_code == 2
