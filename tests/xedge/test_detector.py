"""The detector: padding, windows, pictures, and what a broken engine gets."""

from pathlib import Path

import numpy as np
import pytest

import xedge
from xedge import engines
from xedge.bundle import open_bundle
from xedge.detector import Detector, open_detector
from xedge.encode import AIR_PLANES, dual_energy_planes
from xedge.engines.fake import FakeEngine
from xedge.errors import (
    BundleError,
    ConfigError,
    EngineLoadError,
    EngineNotInstalled,
    EngineRunError,
    ImageError,
    LineError,
)
from xedge.pictures import ColourPicture, DualEnergyPicture
from xedge.preprocess import pseudo_colour
from xedge.spec import Channels, ModelSpec
from xedge.types import AIR_COUNTS, Detections


def spec(**changes) -> ModelSpec:
    fields = {
        "name": "test",
        "classes": ("dense", "other"),
        "height": 416,
        "width": 416,
        "channels": Channels.DUAL_ENERGY,
        "binning": 2,
        "pixel_mm": 1.24,
        "candidates": 200,
    }
    return ModelSpec(**{**fields, **changes})


def air(lines: int, elements: int) -> np.ndarray:
    return np.full((lines, elements), AIR_COUNTS, np.uint16)


def scan_with_block(lines, elements, box) -> tuple[np.ndarray, np.ndarray]:
    low, high = air(lines, elements), air(lines, elements)
    x1, y1, x2, y2 = box
    low[y1:y2, x1:x2], high[y1:y2, x1:x2] = 6_000, 15_000
    return low, high


def answering(*rows: tuple[float, float, float, float, float, int]) -> FakeEngine:
    table = np.array(rows, np.float64).reshape(-1, 6)
    found = Detections(
        table[:, :4].astype(np.float32),
        table[:, 4].astype(np.float32),
        table[:, 5].astype(np.int32),
    )
    return FakeEngine(lambda _: found)


class Recorder(FakeEngine):
    """A fake that keeps the planes it was given."""

    seen: np.ndarray

    def run(self, feeds):
        self.seen = feeds["planes"]
        return super().run(feeds)


def test_a_small_window_is_padded_with_air_at_the_right_and_the_bottom() -> None:
    engine = Recorder()
    planes = np.full((3, 10, 400), 9, np.uint8)
    Detector(engine, spec()).detect_window(planes)
    assert engine.seen.shape == (1, 3, 416, 416)
    assert (engine.seen[0, :, :10, :400] == 9).all()
    for plane, value in zip(engine.seen[0], AIR_PLANES, strict=True):
        assert (plane[10:] == value).all()
        assert (plane[:, 400:] == value).all()


def test_boxes_in_the_padding_go_and_boxes_across_its_edge_are_cut_off() -> None:
    engine = answering(
        (390, 10, 410, 20, 0.9, 0),  # half on real pixels: stays, cut off at 400
        (395, 10, 415, 20, 0.8, 1),  # a quarter: goes
        (402, 0, 410, 8, 0.7, 0),  # none: goes
        (5, 5, 20, 20, 0.6, 0),
    )
    found = Detector(engine, spec()).detect_window(np.zeros((3, 416, 400), np.uint8))
    assert found.boxes.tolist() == [[390, 10, 400, 20], [5, 5, 20, 20]]


def test_the_threshold_is_the_models_unless_another_is_given() -> None:
    window = np.zeros((3, 416, 400), np.uint8)
    rows = ((0, 0, 9, 9, 0.5, 0), (50, 50, 60, 60, 0.04, 0))
    assert len(Detector(answering(*rows), spec()).detect_window(window)) == 1
    assert len(Detector(answering(*rows), spec(), 0.0).detect_window(window)) == 2
    assert len(Detector(answering(*rows), spec(), 0.6).detect_window(window)) == 0
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match=r"0\.\.1"):
            Detector(answering(), spec(), threshold)


@pytest.mark.parametrize("lines", [40, 832, 833, 1500])
def test_a_scan_gives_boxes_in_elements_and_lines(lines) -> None:
    box = (100, lines - 38, 180, lines - 2)
    low, high = scan_with_block(lines, 800, box)
    found = Detector(FakeEngine(), spec()).detect_scan(low, high)
    assert found.labels.tolist() == [0]
    # One pixel is two lines: each edge is within one pixel, and the odd last line is not seen.
    np.testing.assert_allclose(found.boxes[0], box, atol=2)


def test_an_object_in_the_overlap_of_two_windows_is_found_once() -> None:
    low, high = scan_with_block(1500, 800, (300, 720, 400, 800))
    found = Detector(FakeEngine(), spec()).detect_scan(low, high)
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes[0], (300, 720, 400, 800), atol=2)


@pytest.mark.parametrize("shape", [(0, 800), (100, 0), (100, 1), (100, 833), (100,)])
def test_lines_that_do_not_fit_the_window_are_refused(shape) -> None:
    counts = np.full(shape, AIR_COUNTS, np.uint16)
    with pytest.raises(LineError, match="2 to 832 elements"):
        Detector(FakeEngine(), spec()).detect_scan(counts, counts)


@pytest.mark.parametrize(
    "planes",
    [
        np.zeros((3, 417, 10), np.uint8),
        np.zeros((3, 10, 417), np.uint8),
        np.zeros((3, 0, 10), np.uint8),
        np.zeros((4, 10, 10), np.uint8),
        np.zeros((3, 10, 10), np.uint16),
        np.zeros((10, 10), np.uint8),
    ],
)
def test_a_window_that_does_not_fit_is_refused(planes) -> None:
    engine = FakeEngine()
    with pytest.raises(ImageError, match=r"uint8 \[3, 1\.\.416, 1\.\.416\]"):
        Detector(engine, spec()).detect_window(planes)
    assert engine.runs == 0


def test_a_failing_engine_and_one_that_answers_nan_are_errors() -> None:
    window = np.zeros((3, 416, 400), np.uint8)
    with Detector(FakeEngine(fail_at={0}, nan_at={1}), spec()) as detector:
        with pytest.raises(EngineRunError, match="as the fake engine was told to"):
            detector.detect_window(window)
        with pytest.raises(EngineRunError, match="not finite"):
            detector.detect_window(window)
        assert len(detector.detect_window(window)) == 1
    with pytest.raises(EngineRunError, match="closed"):
        detector.detect_window(window)


@pytest.mark.parametrize("change", [{"height": 320}, {"candidates": 100}])
def test_an_engine_of_another_model_is_refused(change) -> None:
    with pytest.raises(EngineLoadError, match=r"not the one.*expected.*found"):
        Detector(FakeEngine(), spec(**change))


class TestPictures:
    def test_a_colour_picture_gives_boxes_in_its_pixels(self) -> None:
        # Twice the planes' scale: 800 px of 0.62 mm are 400 pixels of 1.24 mm.
        low, high = scan_with_block(600, 800, (200, 100, 400, 300))
        rgb = pseudo_colour(low, high)
        with Detector(FakeEngine(), spec()) as detector:
            found = detector.detect_image(rgb, pixel_mm=0.62)
            same = detector.detect_image(ColourPicture(rgb), pixel_mm=0.62)
        np.testing.assert_array_equal(found.boxes, same.boxes)
        np.testing.assert_allclose(found.boxes[0], (200, 100, 400, 300), atol=2)

    def test_without_a_scale_the_longer_side_is_half_a_metre(self) -> None:
        low, high = scan_with_block(100, 200, (20, 10, 60, 50))
        rgb = pseudo_colour(low, high)
        engine = Recorder()
        found = Detector(engine, spec()).detect_image(rgb)
        np.testing.assert_allclose(found.boxes[0], (20, 10, 60, 50), atol=1)
        matter = np.flatnonzero((engine.seen[0, 1] != AIR_PLANES[1]).any(axis=0))
        # 40 of 200 px are 100 mm, so 81 pixels of 1.24 mm; resizing blurs a pixel each side.
        assert matter[-1] - matter[0] + 1 == pytest.approx(100 / 1.24, abs=4)

    def test_a_long_picture_is_cut_into_windows(self) -> None:
        low, high = scan_with_block(3000, 400, (100, 2800, 200, 2900))
        found = Detector(FakeEngine(), spec()).detect_image(pseudo_colour(low, high), pixel_mm=1.24)
        np.testing.assert_allclose(found.boxes[0], (100, 2800, 200, 2900), atol=1)

    def test_a_wide_picture_is_screened_on_its_side(self) -> None:
        low, high = scan_with_block(400, 1000, (800, 100, 900, 180))
        found = Detector(FakeEngine(), spec()).detect_image(pseudo_colour(low, high), pixel_mm=1.24)
        np.testing.assert_allclose(found.boxes[0], (800, 100, 900, 180), atol=1)

    def test_a_picture_larger_than_a_belt_both_ways_is_refused(self) -> None:
        picture = np.full((1000, 1000, 3), 255, np.uint8)
        with pytest.raises(ImageError, match=r"at most 516 mm.*1240 x 1240 mm.*--pixel-mm"):
            Detector(FakeEngine(), spec()).detect_image(picture, pixel_mm=1.24)

    @pytest.mark.parametrize("pixel_mm", [0.0, -1.0, float("nan"), 50.0])
    def test_a_senseless_scale_is_refused(self, pixel_mm) -> None:
        with pytest.raises(ImageError, match=r"0\.01\.\.10 mm"):
            Detector(FakeEngine(), spec()).detect_image(
                np.zeros((9, 9, 3), np.uint8), pixel_mm=pixel_mm
            )

    def test_a_dual_energy_picture_is_a_scan(self) -> None:
        low, high = scan_with_block(300, 800, (200, 100, 400, 200))
        with Detector(FakeEngine(), spec()) as detector:
            found = detector.detect_image(DualEnergyPicture(low, high))
            scan = detector.detect_scan(low, high)
        np.testing.assert_array_equal(found.boxes, scan.boxes)

    def test_a_file_is_read(self, tmp_path) -> None:
        low, high = scan_with_block(300, 800, (200, 100, 400, 200))
        np.savez(tmp_path / "scan.npz", low=low // 2, high=high // 2)
        found = Detector(FakeEngine(), spec()).detect_image(
            str(tmp_path / "scan.npz"), air_counts=AIR_COUNTS // 2
        )
        np.testing.assert_allclose(found.boxes[0], (200, 100, 400, 200), atol=2)

    def test_a_model_of_pictures_gets_the_whole_picture_in_its_window(self) -> None:
        picture = np.full((100, 300, 3), 255, np.uint8)
        picture[20:40, 30:90] = (200, 60, 10)
        engine = Recorder()
        with Detector(engine, spec(channels=Channels.PSEUDO_COLOUR)) as detector:
            found = detector.detect_image(picture)
            np.testing.assert_allclose(found.boxes[0], (30, 20, 90, 40), atol=1)
            # 416 of 416 columns, and 139 rows in the middle; red first.
            assert engine.seen[0, :, 180, 83].tolist() != [255, 255, 255]
            assert (engine.seen[0, :, :138] == 255).all()
            assert engine.seen[0, 0, 180, 83] > engine.seen[0, 2, 180, 83]
            with pytest.raises(ConfigError, match="does not take counts"):
                detector.detect_scan(air(10, 10), air(10, 10))


class TestOpen:
    def test_a_bundle_and_an_engine_by_name(self, tiny_bundle, tiny_answer) -> None:
        if not (there := engines.available()["onnxruntime"]).usable:
            pytest.skip(str(there))
        opened = open_bundle(tiny_bundle)
        low, high = opened.golden_low, opened.golden_high
        with open_detector(tiny_bundle, "onnxruntime", threads=1) as detector:
            found = detector.detect_scan(low, high)
        planes = np.empty((3, 32, 32), np.uint8)
        planes[...] = AIR_PLANES[:, None, None]
        planes[:, :, :30] = dual_energy_planes(low, high, 2)
        expected = tiny_answer(planes)
        assert found.scores[0] == pytest.approx(expected.scores[0], abs=2**-23)
        assert len(found) >= 1

    def test_an_engine_that_is_loaded(self, tiny_bundle, tiny_engine) -> None:
        with open_detector(open_bundle(tiny_bundle), tiny_engine, score_threshold=0.9) as detector:
            assert detector.engine is tiny_engine
            assert detector.spec.name == "darkest-pixels"

    def test_an_engine_that_does_not_fit_is_closed_again(self, tiny_bundle) -> None:
        engine = FakeEngine()
        with pytest.raises(EngineLoadError):
            open_detector(tiny_bundle, engine)
        with pytest.raises(EngineRunError, match="closed"):
            engine.run({"planes": np.zeros((1, 3, 416, 416), np.uint8)})

    def test_what_is_missing_is_named(self, tiny_bundle, tmp_path, monkeypatch) -> None:
        with pytest.raises(BundleError, match="cannot be read"):
            open_detector(tmp_path / "absent.xedge")
        with pytest.raises(BundleError, match="no variant 'int8'"):
            open_detector(tiny_bundle, variant="int8")
        monkeypatch.setitem(__import__("sys").modules, "openvino", None)
        with pytest.raises(EngineNotInstalled, match=r"xedge\[openvino\]"):
            xedge.open_detector(tiny_bundle, "openvino")


def test_quiet_windows_stop_and_are_counted(quiet_bundle: Path) -> None:
    """At the model's own threshold of 0.3 they stop below 0.15, for alarms at 0.5 below 0.2."""
    pytest.importorskip("onnxruntime")
    # x = 105 / 255 and a logit of 8 x - 5: a first-pass score of 0.154.
    between = np.full((3, 32, 32), 150, np.uint8)
    with xedge.open_detector(quiet_bundle, "onnxruntime", 1, score_threshold=0.0) as whole:
        assert len(whole.detect_window(between))
    for least, stopped in ((None, 0), (0.5, 1)):
        with xedge.open_detector(quiet_bundle, "onnxruntime", 1, least=least) as detector:
            detector.detect_window(between)
            assert detector.stopped == stopped
            detector.detect_window(np.full((3, 32, 32), 240, np.uint8))
            assert detector.stopped == stopped + 1
            assert len(detector.detect_window(np.zeros((3, 32, 32), np.uint8)))
            assert detector.stopped == stopped + 1
    with xedge.open_detector(quiet_bundle, "onnxruntime", 1, least=0.5, refine_all=True) as all_:
        all_.detect_window(between)
        assert all_.stopped == 0
