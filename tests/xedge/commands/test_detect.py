"""`xedge detect` as a person and as a script use it."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from xedge import engines
from xedge.cli import main
from xedge.preprocess import pseudo_colour
from xedge.types import AIR_COUNTS


@pytest.fixture(autouse=True)
def _engine_is_there() -> None:
    if not (there := engines.available()["onnxruntime"]).usable:
        pytest.skip(str(there))


def run(*arguments: object):
    return CliRunner().invoke(main, ["detect", *map(str, arguments)])


@pytest.fixture
def detect(tiny_bundle):
    def call(*arguments: object):
        return run("--bundle", tiny_bundle, "--engine", "onnxruntime", "--threads", 1, *arguments)

    return call


@pytest.fixture
def scan(tmp_path) -> Path:
    """A dual-energy file of 60 x 64 with one dark spot, in the tiny model's window."""
    low, high = (np.full((60, 64), AIR_COUNTS, np.uint16) for _ in range(2))
    low[20:24, 30:34], high[20:24, 30:34] = 5_000, 15_000
    np.savez(tmp_path / "scan.npz", low=low, high=high)
    return tmp_path / "scan.npz"


@pytest.fixture
def picture(tmp_path, scan) -> Path:
    """The same as a colour picture."""
    with np.load(scan) as arrays:
        rgb = pseudo_colour(arrays["low"], arrays["high"])
    cv2.imwrite(str(tmp_path / "a <b> #1 & ü.png"), rgb[..., ::-1])
    return tmp_path / "a <b> #1 & ü.png"


def test_json_has_boxes_in_the_files_pixels_names_and_scores(detect, scan) -> None:
    result = detect("--json", scan)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert {k: found[k] for k in ("image", "kind", "width", "height")} == {
        "image": str(scan),
        "kind": "dual-energy",
        "width": 64,
        "height": 60,
    }
    best = found["detections"][0]
    # The darkest pixel of the planes (15, 10), 6 x 6 pixels of it, two lines or elements each.
    assert best["box"] == [30, 20, 42, 32]
    assert best["label"] == "odd"
    assert best["score"] == pytest.approx(1 - (5_000 // 256) / 255, abs=1e-6)
    assert [d["score"] for d in found["detections"]] == sorted(
        (d["score"] for d in found["detections"]), reverse=True
    )


def test_several_files_come_in_their_order_and_a_pair_comes_once(detect, scan, tmp_path) -> None:
    with np.load(scan) as arrays:
        for name in ("low", "high"):
            cv2.imwrite(str(tmp_path / f"pair_{name}.png"), arrays[name])
    result = detect("--json", tmp_path / "pair_high.png", scan, tmp_path / "pair_low.png")
    first, second = json.loads(result.stdout)
    assert Path(first["image"]).stem in {"pair_low", "pair_high"}
    assert second["image"] == str(scan)
    assert first["detections"] == second["detections"]


def test_a_table_for_people(detect, scan) -> None:
    result = detect(scan)
    assert result.exit_code == 0, result.output
    assert re.search(r"scan\.npz.*odd.*0\.9\d.*30 20 42 32", result.output)
    empty = detect("--threshold", 1, scan)
    assert "nothing" in empty.output


def test_drawings_and_their_page(detect, scan, picture, tmp_path) -> None:
    folder = tmp_path / "new" / "page"
    result = detect("--draw", folder, "--pixel-mm", 0.62, scan, picture)
    assert result.exit_code == 0, result.output
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "a &lt;b&gt; #1 &amp; ü.png" in page
    assert "<b> #1" not in page
    assert "guess" in page
    assert "0.62 mm" in page
    assert "http" not in page  # nothing is fetched from anywhere
    sources = re.findall(r'<img src="([^"]+)"', page)
    assert len(sources) == 2
    from html import unescape
    from urllib.parse import unquote

    for source in sources:
        drawn = cv2.imread(str(folder / unquote(unescape(source))))
        assert drawn.shape == (60, 64, 3)


def test_the_page_says_when_the_scale_was_assumed(detect, scan, picture, tmp_path) -> None:
    # 64 pixels over half a metre are 7.8 mm each: wider than the tiny model's window of 40 mm.
    result = detect("--draw", tmp_path / "page", picture)
    assert result.exit_code == 1
    assert "--pixel-mm" in result.stderr
    assert detect("--draw", tmp_path / "page", scan).exit_code == 0
    assert "guess" not in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.png"], r"absent\.png does not exist"),
        (["text.png"], "cannot be read as a picture"),
        (["grey.png"], "8-bit colour picture"),
        (["wide.npz"], r"lines of 2 to 64 elements, found \[4, 100\]"),
        (["--bundle", "absent.xedge", "scan.npz"], r"absent\.xedge cannot be read"),
        (["--bundle", "text.png", "scan.npz"], "no sound zip"),
        (["--engine", "tensorflow", "scan.npz"], "there is no engine 'tensorflow'.*openvino"),
        (["--draw", "text.png", "scan.npz"], "cannot be written"),
    ],
)
def test_bad_input_gets_one_line(detect, scan, tmp_path, monkeypatch, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.png").write_text("no picture")
    cv2.imwrite("grey.png", np.zeros((9, 9), np.uint8))
    wide = np.full((4, 100), AIR_COUNTS, np.uint16)
    np.savez("wide.npz", low=wide, high=wide)
    result = detect(*arguments)
    assert result.exit_code == 1
    assert re.search(message, result.stderr)
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.output


def test_one_bad_file_does_not_cost_the_others(detect, scan, tmp_path) -> None:
    bad = tmp_path / "text.png"
    bad.write_text("no picture")
    result = detect("--json", bad, scan, "--draw", tmp_path / "page")
    assert result.exit_code == 1
    assert result.stderr == ""
    refused, found = json.loads(result.stdout)
    assert set(refused) == {"image", "error"}
    assert refused["image"] == str(bad)
    assert "cannot be read as a picture" in refused["error"]
    assert found["detections"]
    assert len(list((tmp_path / "page").glob("*.png"))) == 1
    people = detect(bad, scan)
    assert people.exit_code == 1
    assert "scan.npz" in people.stdout
    assert len(people.stderr.strip().splitlines()) == 1
    assert "text.png" in people.stderr


def test_an_engine_that_is_not_installed_names_its_extra(detect, scan, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    result = detect("--engine", "openvino", scan)
    assert result.exit_code == 1
    assert "pip install 'xedge[openvino]'" in result.stderr


def test_options_out_of_range_and_no_image_are_usage_errors() -> None:
    for arguments in (["--threshold", "2", "a.png"], ["--air", "3", "a.png"], []):
        assert run(*arguments).exit_code == 2
