"""The page: complete, in words, and true to its maps."""

from __future__ import annotations

import dataclasses
import json
import re

import cv2
import numpy as np
import pytest

from xedge.metrics import Truth
from xedge.train.explain.curves import ClassCurve, class_curves
from xedge.train.explain.findings import explain
from xedge.train.explain.page import MAP_SHARE, colour_table, paint, pale, write_explanation
from xedge.train.explain.record import Explanation, map_file, to_record, value_range

pytest.importorskip("jinja2", reason="jinja2 (extra `report`) makes the page")


@pytest.fixture
def explanation(recipe, build, spec, subject) -> Explanation:
    model = build(recipe("[model.doam]\n", label_aware=True))
    truth = Truth(np.float32([[60, 60, 80, 80]]), np.int32([2]), np.int32([3]))
    known = dataclasses.replace(subject, name="bag <1>", truth=truth)
    findings = (explain(model, spec, known), explain(model, spec, subject))
    return Explanation("some.ckpt", spec, "atss", True, findings)


def test_the_page_names_every_map_with_its_range(explanation, tmp_path, read_page) -> None:
    path = write_explanation(explanation, tmp_path)
    text = path.read_text(encoding="utf-8")
    page = read_page(text)
    assert page.named("script") == page.named("link") == []
    assert not re.search(r"https?://", text)
    assert not re.search(r"url\((?!data:)", text)
    assert "bag <1>" not in text
    assert "bag &lt;1&gt;" in text
    images = {image["alt"] for image in page.named("img")}
    for number, finding in enumerate(explanation.findings, 1):
        for one in finding.maps:
            assert one.title.replace("_", " ") in page.text
            low, high = value_range(one.values, one.signed)
            words = f"{one.title.replace('_', ' ')}, {low:.3g} to {high:.3g}"
            assert words in images
            assert map_file(number, one) in [a.get("href") for a in page.named("a")]
            assert (tmp_path / map_file(number, one)).is_file()
    assert "MISSED utility knife" in page.text
    assert page.text.count("FALSE") > 1
    assert spec_digest(explanation) in page.text


def spec_digest(explanation: Explanation) -> str:
    return explanation.spec.parents["checkpoint"]


def test_the_record_has_the_numbers_of_the_maps(explanation, tmp_path) -> None:
    write_explanation(explanation, tmp_path)
    record = json.loads((tmp_path / "explain.json").read_text())
    assert record == json.loads(json.dumps(to_record(explanation)))
    first, second = record["pictures"]
    assert first["truth"] == [
        {"label": "utility_knife", "box": [60, 60, 80, 80], "missed": True}
    ]  # fmt: skip
    assert second["truth"] is None
    finding = explanation.findings[0]
    assert len(first["detections"]) == len(finding.found)
    for row, one in zip(first["maps"], finding.maps, strict=True):
        assert (row["height"], row["width"]) == one.values.shape
        assert row["high"] == pytest.approx(float(one.values.max()))
        x, y = row["peak"]
        h, w = one.values.shape
        cell = one.values[int(y * h / 96), int(x * w / 128)]
        assert cell == one.values.max()


def test_a_map_is_laid_over_the_pale_picture(explanation, tmp_path) -> None:
    write_explanation(explanation, tmp_path)
    finding = explanation.findings[0]
    one = finding.maps[-1]
    drawn = cv2.imread(str(tmp_path / map_file(1, one)))[..., ::-1].astype(float)
    map_, below = paint(one.values, 96, 128, signed=one.signed), pale(finding.subject.rgb)
    expected = MAP_SHARE * map_ + (1 - MAP_SHARE) * below
    assert np.abs(drawn - expected).max() <= 0.5 + 1e-4


def test_a_classifier_s_page_shows_scores_and_curves(
    classifier, spec, subject, tmp_path, read_page
) -> None:
    there = np.int8([-1, 1, -1])
    truth = Truth(np.float32([[10, 10, 40, 40]]), np.int32([1]))
    known = dataclasses.replace(subject, truth=truth, presence=there)
    finding = explain(classifier, spec, known)
    import torch

    from xedge.train.batch import Batch

    planes = torch.from_numpy(np.stack([subject.planes, 255 - subject.planes]))
    none = [torch.zeros(0)] * 2
    presence = torch.tensor([[-1, 1, -1], [1, -1, -1]], dtype=torch.int8)
    curves = class_curves(
        classifier, spec, [Batch(["", ""], planes, none, none, none, presence)]
    )  # fmt: skip
    whole = Explanation("c.ckpt", spec, "chr", False, (finding,), tuple(curves), 2)
    page = read_page(write_explanation(whole, tmp_path).read_text(encoding="utf-8"))
    meters = [float(meter["value"]) for meter in page.named("meter")]
    assert meters == [pytest.approx(s, abs=6e-4) for s in sorted(finding.scores.values())[::-1]]
    assert "knife, is there" in page.text
    assert "No object to find of: utility knife." in page.text
    labels = [svg.get("aria-label", "") for svg in page.named("svg")]
    assert sum(label.startswith("Precision and recall of") for label in labels) == 2
    record = json.loads((tmp_path / "explain.json").read_text())
    assert [c["average_precision"] for c in record["curves"]][2] is None
    assert record["measured_pictures"] == 2
    assert record["pictures"][0]["scores"].keys() == finding.scores.keys()


def test_the_page_speaks_only_of_what_is_there(
    classifier, build, recipe, spec, subject, tmp_path, read_page
) -> None:
    def text_of(name: str, model, detector: bool, **changes: object) -> str:
        finding = explain(model, spec, dataclasses.replace(subject, **changes))
        whole = Explanation("runs/c.ckpt", spec, name, detector, (finding,))
        (tmp_path / name).mkdir()
        page = write_explanation(whole, tmp_path / name)
        return read_page(page.read_text(encoding="utf-8")).text

    of_classes = text_of("chr", classifier, False)
    assert "CAM: Zhou et al." in of_classes
    for absent in ("HiResCAM", "DOAM", "LA:", "SXMNet", "with a sign", "really", "a guess at"):
        assert absent not in of_classes
    bare = text_of("atss", build(recipe()), True, guessed=True)
    assert "HiResCAM: Draelos" in bare
    assert "trust this map, not Grad-CAM" in bare
    assert bare.count("through a guess at what the scanner measured: expect less of it") == 1
    for absent in ("DOAM", "LA:", "Zhou", "MISSED", "really"):
        assert absent not in bare
    la = text_of("la", build(recipe("[model.doam]\n", label_aware=True)), True)
    assert la.count("LA: Zhao et al.") == la.count("DOAM: Wei et al.") == 1
    assert "with a sign" in la


def test_a_curve_without_reports_is_drawn_too(explanation, tmp_path, read_page) -> None:
    from xedge.metrics import Curve

    none = np.zeros(0)
    bare = ClassCurve("gun", Curve(none.astype(np.float32), none, none, 4), 0.0)
    whole = dataclasses.replace(explanation, curves=(bare,), measured=9, findings=())
    page = read_page(write_explanation(whole, tmp_path).read_text(encoding="utf-8"))
    assert "nothing reported at the threshold" in page.text


def test_colours_change_evenly() -> None:
    """Perceived steps along a map's colours differ by less than threefold (CIE 1976)."""
    for signed in (False, True):
        table = colour_table(signed)
        assert table.shape == (256, 3)
        lab = cv2.cvtColor(table[None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[0]
        # Sixteen at a time: single ones are rounded to whole 8-bit values.
        steps = np.linalg.norm(np.diff(lab[::17], axis=0), axis=1)
        assert steps.max() < 3 * steps.min()
    middle = colour_table(True)[127:129].astype(int)
    assert np.ptp(middle) < 12  # grey, nearly white
    assert middle.min() > 230


def test_values_take_their_colours() -> None:
    values = np.float32([[0, 1], [2, 4]])
    large = paint(values, 2, 2, signed=False)
    np.testing.assert_array_equal(large[0, 0], colour_table(False)[0])
    np.testing.assert_array_equal(large[1, 1], colour_table(False)[255])
    np.testing.assert_array_equal(large[1, 0], colour_table(False)[128])  # rint(127.5) is even
    signed = paint(np.float32([[-1, 2]]), 1, 2, signed=True)
    np.testing.assert_array_equal(signed[0, 1], colour_table(True)[255])
    np.testing.assert_array_equal(signed[0, 0], colour_table(True)[64])  # (-1 + 2) / 4 of 255
    flat = paint(np.full((2, 2), 7.0, np.float32), 2, 2, signed=False)
    np.testing.assert_array_equal(flat[0, 0], colour_table(False)[0])
