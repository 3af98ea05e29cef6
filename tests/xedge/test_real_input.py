"""A laboratory's scans, streamed line by line through a lane, as docs/real_input.py does it."""

import importlib.util
from pathlib import Path

import pytest

from xedge.detector import Detector
from xedge.engines.fake import FakeEngine
from xedge.sim import CLASSES
from xedge.spec import Channels, ModelSpec


@pytest.fixture(scope="module")
def script(repository: Path):
    pytest.importorskip("scipy", reason="scipy reads the laboratory's files")
    spec = importlib.util.spec_from_file_location(
        "real_input", repository / "docs" / "real_input.py"
    )
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by its name.
    __import__("sys").modules["real_input"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def detector() -> Detector:
    spec = ModelSpec(
        name="stand-in", classes=CLASSES, height=416, width=416, channels=Channels.DUAL_ENERGY,
        binning=2, pixel_mm=1.24, candidates=200,
    )  # fmt: skip
    return Detector(FakeEngine(), spec)


def test_the_lab_part_prints_what_the_correction_found_and_draws_the_scan(
    script, detector: Detector, real_data: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    """One of the three scans; what a lane makes of all of them is tested with the lane."""
    every = script.lab_scans(real_data)
    assert set(every) == {"apple", "apple_polyethyleno", "chiken"}
    monkeypatch.setattr(script, "lab_scans", lambda data: {"apple": every["apple"]})
    script.run_lab(real_data, tmp_path, detector)
    said = capsys.readouterr().out
    assert "apple: 512 lines of 512 elements" in said
    assert "element 180 failed during the scan" in said
    assert "no dark and air runs: offset 0" in said
    assert "samples are saturated" in said
    assert "512 lines in" in said
    assert "; balanced" in said
    assert "bag 1: ALARM" in said  # the fake engine sees dense matter
    assert (tmp_path / "lab-apple-1.png").stat().st_size > 1000


def test_reports_are_held_against_the_labels(script) -> None:
    record = {
        "image": "P1.jpg", "width": 100, "height": 100,
        "detections": [
            {"label": "gun", "score": 0.9, "box": [10, 10, 50, 50]},
            {"label": "gun", "score": 0.8, "box": [11, 10, 50, 50]},
            {"label": "can", "score": 0.7, "box": [60, 60, 90, 90]},
        ],
    }  # fmt: skip
    loaded = script.judge(record, [script.Truth("gun", (10, 10, 50, 50)),
                                   script.Truth("knife", (60, 60, 90, 90))])  # fmt: skip
    clean = script.judge(record | {"detections": []}, [])
    lines = script.figures([loaded, clean])
    assert lines[0] == "1 of 2 labelled objects found, 1 missed"
    assert "gun: 1 of 1 found" in lines
    assert "knife: 0 of 1 found" in lines
    assert "0 of 1 pictures without a labelled object raise an alarm" in lines
    assert "1 false reports of classes that SIXray labels" in lines
    assert "1 reports of other classes, which nobody has labelled: not judged" in lines


def test_labels_are_read_with_their_fractions(script, tmp_path: Path) -> None:
    path = tmp_path / "P1.xml"
    path.write_text(
        "<annotation><object><name>Knife</name><bndbox><xmin>17.318</xmin><ymin>144.239</ymin>"
        "<xmax>355.424</xmax><ymax>302.372</ymax></bndbox></object></annotation>"
    )
    (thing,) = script.voc_objects(path)
    assert (thing.label, thing.box) == ("knife", (17.318, 144.239, 355.424, 302.372))
    assert script.voc_objects(tmp_path / "N1.xml") == []
