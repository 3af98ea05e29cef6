"""A model's description, as JSON and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.errors import BundleError
from xedge.spec import SCHEMA, Channels, Kind, ModelSpec

FIELDS = {
    "name": "model",
    "classes": ("gun", "knife"),
    "height": 416,
    "width": 416,
    "channels": Channels.DUAL_ENERGY,
    "binning": 2,
    "pixel_mm": 1.24,
    "candidates": 200,
}

specs = st.builds(
    ModelSpec,
    name=st.text(min_size=1, max_size=9),
    classes=st.lists(st.text(min_size=1), min_size=1, max_size=5, unique=True).map(tuple),
    height=st.integers(1, 8192),
    width=st.integers(1, 8192),
    channels=st.sampled_from(Channels),
    binning=st.integers(1, 8),
    pixel_mm=st.floats(0.001, 1000),
    candidates=st.integers(1, 1000),
    score_threshold=st.floats(0, 0.5),
    alarm_threshold=st.floats(0.5, 1),
    mean=st.tuples(*[st.floats(-255, 255)] * 3),
    parents=st.dictionaries(st.text(), st.text(), max_size=3),
    measured=st.dictionaries(st.text(), st.floats(allow_nan=False), max_size=3),
)


@given(specs)
def test_there_and_back(spec) -> None:
    text = spec.to_json()
    assert "\n" not in text
    assert json.loads(text)["schema"] == SCHEMA
    assert ModelSpec.from_json(text) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ()},
        {"classes": ("a", "a")},
        {"classes": ("a", "")},
        {"classes": ("a", 1)},
        {"name": ""},
        {"height": 0},
        {"height": 4.0},
        {"width": True},
        {"binning": 9},
        {"candidates": 0},
        {"candidates": 1001},
        {"kind": Kind.CLASSIFIER},
        {"pixel_mm": 0.0},
        {"pixel_mm": float("nan")},
        {"nms_iou": 1.5},
        {"alarm_threshold": 0.1, "score_threshold": 0.2},
        {"mean": (0.0, 0.0)},
        {"scale": (1.0, 1.0, "1")},
        {"parents": {"checkpoint": 5}},
        {"measured": {"ap50": "good"}},
    ],
    ids=str,
)
def test_a_description_that_cannot_be_is_refused(change) -> None:
    with pytest.raises(BundleError):
        ModelSpec(**{**FIELDS, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": SCHEMA + 1}, f"expected schema {SCHEMA}, found schema {SCHEMA + 1}"),
        ({"schema": None}, "another version"),
        ({"colour": "red"}, "unknown keys: found colour"),
        ({"channels": "x-ray"}, "not complete.*x-ray"),
    ],
)
def test_json_that_is_not_of_this_version_is_refused(change, message) -> None:
    record = json.loads(ModelSpec(**FIELDS).to_json()) | change
    with pytest.raises(BundleError, match=message):
        ModelSpec.from_json(json.dumps(record))


@pytest.mark.parametrize("missing", sorted(FIELDS))
def test_json_without_a_field_is_refused(missing) -> None:
    record = json.loads(ModelSpec(**FIELDS).to_json())
    del record[missing]
    with pytest.raises(BundleError, match="not complete"):
        ModelSpec.from_json(json.dumps(record))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "[" * 200_000], ids=lambda t: t[:4])
def test_what_is_no_json_object_is_refused(text) -> None:
    with pytest.raises(BundleError):
        ModelSpec.from_json(text)


def test_a_classifier_has_no_candidates_and_says_what_it_is() -> None:
    spec = ModelSpec(**FIELDS | {"kind": Kind.CLASSIFIER, "candidates": 0})
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_a_description_from_before_there_were_classifiers_is_a_detectors() -> None:
    record = json.loads(ModelSpec(**FIELDS).to_json())
    del record["kind"]
    assert ModelSpec.from_json(json.dumps(record)).kind is Kind.DETECTOR
    record["kind"] = "oracle"
    with pytest.raises(BundleError, match=r"not complete.*oracle"):
        ModelSpec.from_json(json.dumps(record))
