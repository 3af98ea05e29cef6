"""`xedge evaluate`: a tiny model through real engines, and the fake on simulated bags."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from xedge.bundle import Variant, open_bundle, write_bundle
from xedge.cli import main
from xedge.commands.evaluated import annotated, finder, simulated, truth_of
from xedge.engines.base import TensorSpec
from xedge.errors import ConfigError, DataError
from xedge.sim import CLASSES
from xedge.sim.bags import generate_bag
from xedge.spec import Channels, Kind

KEYS = {"ap50", "map", "recall_at_fpr", "by_class", "by_occlusion", "images"}


def evaluated(*arguments: object):
    return CliRunner().invoke(main, ["evaluate", *(str(a) for a in arguments)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three pictures of 30 x 30 pixels in COCO's format: a dark square, two, none."""
    squares = [[(4, 6)], [(4, 6), (20, 9)], []]
    annotations = []
    for k, corners in enumerate(squares):
        picture = np.full((30, 30, 3), 255, np.uint8)
        for x, y in corners:
            picture[y : y + 6, x : x + 6] = 0
            box = {"image_id": k, "category_id": x % 2, "bbox": [x, y, 6, 6], "iscrowd": 0}
            annotations.append(box | {"id": len(annotations)})
        assert cv2.imwrite(str(tmp_path / f"{k}.png"), picture)
    images = [{"id": k, "file_name": f"{k}.png", "height": 30, "width": 30} for k in range(3)]
    names = [{"id": 0, "name": "Even"}, {"id": 1, "name": "odd"}]
    content = {"images": images, "annotations": annotations, "categories": names}
    (tmp_path / "set.json").write_text(json.dumps(content))
    return tmp_path


def test_a_data_set_goes_through_an_engine(tiny_bundle: Path, data: Path) -> None:
    done = evaluated(
        "--bundle", tiny_bundle, "--engine", "onnxruntime", "--data", data, "--format", "coco",
        "--pixel-mm", 1.24, "--json", "--against", "onnxruntime:fp32", "--resamples", 100,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert set(record) >= KEYS
    assert record["images"] == 3
    assert (record["engine"], record["precision"]) == ("onnxruntime", "fp32")
    # The darkest pixel of a square is its first, from which the model's box of 6 x 6 hangs. The
    # second square of the same picture has to share the eight candidates and is not reached.
    assert record["by_class"]["even"]["objects"] == 3
    assert record["by_class"]["even"]["recall_at_fpr"]["count"] == 2
    assert record["by_class"]["odd"] == {
        "ap50": None, "ap": None, "objects": 0,
        "recall_at_fpr": {"value": None, "low": 0.0, "high": 1.0, "count": 0, "of": 0},
    }  # fmt: skip
    assert record["ap50"] == record["by_class"]["even"]["ap50"] > 0
    assert record["recall_at_fpr"]["fpr"] == 0.05
    assert record["alarms"]["with_objects"] == [2, 2]
    assert record["alarms"]["clean"][1] == 1
    (other,) = record["against"]
    assert other["ap50"] == record["ap50"]
    assert other["difference"]["ap50"] == {"value": 0, "low": 0, "high": 0}
    assert other["difference"]["flips_per_1000"]["count"] == 0
    assert other["difference"]["by_class"]["odd"]["ap50"] is None


def test_simulated_bags_and_a_table(stand_in_bundle: Path) -> None:
    done = evaluated("--bundle", stand_in_bundle, "--engine", "fake", "--bags", 2,
                     "--against", "fake:fp32", "--resamples", 100)  # fmt: skip
    assert done.exit_code == 0, done.output
    for words in ("AP50 utility knife", "less fp32 on fake", "alarms, with objects", "flips per",
                  "stand-in on 2 simulated bags"):  # fmt: skip
        assert words in done.stdout


def test_the_truth_of_a_bag_is_in_the_models_classes() -> None:
    bag = next(b for b in map(generate_bag, range(3_000_000, 3_000_020)) if len(b.truth) > 1)
    whole = truth_of(bag)
    assert [CLASSES[k] for k in whole.labels] == [t.label for t in bag.truth]
    assert np.allclose(whole.boxes, [t.box for t in bag.truth])
    assert whole.levels is not None
    assert whole.levels.tolist() == [t.occlusion for t in bag.truth]
    kept = bag.truth[0].label
    some = truth_of(bag, ("nothing", kept))
    assert set(some.labels.tolist()) == {1}
    assert len(some.labels) == sum(t.label == kept for t in bag.truth)
    with pytest.raises(ConfigError, match="no class of the model"):
        simulated(("even", "odd"), 3)


@dataclasses.dataclass
class Counting:
    """A classifier's engine: class k has the share of its plane that is dark; maps of zeros."""

    spec: tuple[int, int] = (32, 32)
    seen: int = 0

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec("planes", np.dtype(np.uint8), (1, 3, *self.spec)),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        kind = np.dtype(np.float32)
        return TensorSpec("scores", kind, (1, 2)), TensorSpec("maps", kind, (1, 2, 2, 2))

    def run(self, feeds):
        self.seen += 1
        dark = (feeds["planes"][0, :2] < 128).mean(axis=(1, 2)).astype(np.float32)
        return {"scores": dark[None], "maps": np.zeros((1, 2, 2, 2), np.float32)}

    def close(self) -> None:
        pass


def test_a_classifier_is_judged_by_images(
    tiny_parts, tiny_spec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = dataclasses.replace(
        tiny_spec, kind=Kind.CLASSIFIER, candidates=0, channels=Channels.PSEUDO_COLOUR
    )
    golden = {"scores": np.zeros((1, 2), np.float32), "maps": np.zeros((1, 2, 2, 2), np.float32)}
    path = tmp_path / "c.xedge"
    write_bundle(path, **{**tiny_parts, "spec": spec, "variants": {"fp32": Variant(b"", golden)}})
    engine = Counting()
    monkeypatch.setattr("xedge.engines.load", lambda *_: engine)
    done = evaluated("--bundle", path, "--engine", "fake", "--data", data, "--format", "coco",
                     "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert engine.seen == 3
    assert record["ap50"] is None
    assert record["map"] == 1.0  # both pictures with a square rank above the one without
    assert record["by_class"]["even"]["objects"] == 2  # pictures, not squares
    assert "ap50" not in record["by_class"]["even"]
    bag = "--bundle", path, "--engine", "fake", "--bags", 1
    assert "no class of the model" in evaluated(*bag).output


def test_a_classifier_of_counts_sees_every_window(
    tiny_parts, tiny_spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = dataclasses.replace(tiny_spec, kind=Kind.CLASSIFIER, candidates=0)
    golden = {"scores": np.zeros((1, 2), np.float32), "maps": np.zeros((1, 2, 2, 2), np.float32)}
    path = tmp_path / "c.xedge"
    write_bundle(path, **{**tiny_parts, "spec": spec, "variants": {"fp32": Variant(b"", golden)}})
    engine = Counting()
    monkeypatch.setattr("xedge.engines.load", lambda *_: engine)
    low = np.full((150, 90), 60_000, np.uint16)  # 75 rows of pixels: three windows of 32
    low[-20:] = 0  # only the last one sees this
    np.savez(tmp_path / "bag.npz", low=low, high=low)
    (tmp_path / "set.json").write_text(json.dumps(
        {"images": [{"id": 0, "file_name": "bag.npz", "height": 150, "width": 90}],
         "annotations": [], "categories": [{"id": 0, "name": "even"}, {"id": 1, "name": "odd"}]}
    ))  # fmt: skip
    subjects = annotated(tmp_path, "coco", spec.classes)
    with finder(open_bundle(path), "fake") as (find, _):
        found, truth = find(next(subjects.items()))
    assert engine.seen > 2
    np.testing.assert_allclose(found.scores, 10 / 32)
    assert truth.labels.size == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "coco"], "--format has no effect here"),
        (["--pixel-mm", "1"], "--pixel-mm has no effect here"),
        (["--data", ".", "--bags", "3"], "--bags has no effect here"),
        (["--data", "."], "--format F"),
        (["--data", ".", "--format", "voc"], "no such format"),
        (["--data", "none", "--format", "coco"], "is no data set of format coco"),
        (["--against", "onnxruntime"], "ENGINE:PRECISION"),
        (["--precision", "int4"], "no variant 'int4'"),
        (["--engine", "tpu", "--bags", "1"], "there is no engine 'tpu'"),
    ],
)
def test_wrong_usage_is_explained(
    arguments: list[str], message: str, stand_in_bundle: Path, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = evaluated("--bundle", stand_in_bundle, *arguments)
    assert done.exit_code == 1
    assert message in done.output


def test_classes_that_the_model_lacks_are_refused_or_ignored(data: Path) -> None:
    with pytest.raises(DataError, match="not asked for"):
        annotated(data, "coco", ("odd",))
    some = annotated(data, "coco", ("odd",), ignore=["even"], limit=2)
    assert some.count == len(list(some.items())) == 2
