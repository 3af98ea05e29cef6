"""`xedge inspect` on the shipped bundle and on small ones."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from xedge.bundle import Bundle, Variant, open_bundle, write_bundle
from xedge.cli import main
from xedge.commands.inspect import describe, golden_detections
from xedge.spec import Kind


def inspected(*arguments: object):
    return CliRunner().invoke(main, ["inspect", *(str(a) for a in arguments)])


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return open_bundle()


@pytest.fixture
def classifier(tiny_parts, tiny_onnx: bytes, tmp_path: Path) -> Path:
    spec = dataclasses.replace(tiny_parts["spec"], kind=Kind.CLASSIFIER, candidates=0)
    golden = {
        "scores": np.array([[0.9, 0.2]], np.float32), "maps": np.ones((1, 2, 3, 3), np.float32),
    }  # fmt: skip
    path = tmp_path / "classifier.xedge"
    variants = {"fp32": Variant(tiny_onnx, golden)}
    write_bundle(path, **{**tiny_parts, "spec": spec, "variants": variants})
    return path


class Balanced(HTMLParser):
    """A parser that insists on closed elements."""

    VOID = frozenset({"meta", "img", "rect", "br", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def text_of(page: Path) -> str:
    parser = Balanced()
    parser.feed(page.read_text(encoding="utf-8"))
    assert parser.open == []
    return " ".join(" ".join(parser.words).split())


def test_json_says_what_is_in_the_shipped_bundle(shipped: Bundle) -> None:
    done = inspected("--json")
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert record == json.loads(json.dumps(describe(shipped)))
    assert (record["name"], record["kind"]) == (shipped.spec.name, "detector")
    assert record["sha256"] == shipped.sha256
    assert record["signature"] == "none"
    assert record["parents"] == shipped.spec.parents
    (variant,) = record["variants"]
    assert variant["bytes"] == len(shipped.model())
    assert sum(m["nodes"] for m in variant["modules"]) == variant["nodes"]
    assert variant["label_aware_steps"] == ["P3/label_aware", "P4/label_aware", "P5/label_aware"]


def test_golden_detections_lie_in_the_counts(shipped: Bundle) -> None:
    found = golden_detections(shipped)
    lines, elements = shipped.golden_low.shape
    assert len(found) >= 2
    assert (found.scores >= shipped.spec.alarm_threshold).all()
    assert found.boxes.min() >= 0
    assert (found.boxes[:, 2:] <= [elements, lines]).all()
    assert found.boxes.max() > shipped.spec.width  # and are no longer in pixels of the planes


def test_the_table_names_everything(tiny_bundle: Path) -> None:
    done = inspected(tiny_bundle)
    assert done.exit_code == 0, done.output
    for words in ("darkest-pixels, a detector", "even, odd", "Apache-2.0", "32 x 32 pixels",
                  "4 Unsqueeze", open_bundle(tiny_bundle).sha256, "fp32"):  # fmt: skip
        assert words in done.stdout


def test_the_page_stands_alone(shipped: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("jinja2", reason="the extra `report`")
    page = tmp_path / "page.html"
    done = inspected("--page", page)
    assert done.exit_code == 0, done.output
    content, words = page.read_text(encoding="utf-8"), text_of(page)
    assert (
        "http"
        not in content.replace("http://www.apache.org", "")
        .replace("https://www.apache.org", "")
        .split("<details>")[0]
    )
    assert content.count('src="data:image/jpeg;base64,') == 1
    assert content.count('<g class="mark found"><title>') == len(golden_detections(shipped))
    for part in (shipped.spec.name, "pyramid/backbone", "Recipe of the training", shipped.sha256):
        assert part in words


def test_a_classifier_shows_its_scores(classifier: Path, tmp_path: Path) -> None:
    record = json.loads(inspected(classifier, "--json").stdout)
    assert record["golden"]["answer"] == [
        {"label": "even", "score": 0.9}, {"label": "odd", "score": 0.2},
    ]  # fmt: skip
    pytest.importorskip("jinja2", reason="the extra `report`")
    done = inspected(classifier, "--page", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    assert "even 0.900" in text_of(tmp_path / "page.html")


def test_what_cannot_be_inspected(tiny_parts, tmp_path: Path) -> None:
    path = tmp_path / "m.xedge"
    right = tiny_parts["variants"]["fp32"]
    variants = {"fp32": right, "int8": Variant(b"no graph", right.golden)}
    write_bundle(path, **{**tiny_parts, "variants": variants})
    done = inspected(path)
    assert done.exit_code == 1
    assert "the variant int8: the model cannot be read" in done.output
    content = path.read_bytes()
    for wrong, message in (
        (content[:-60], "no sound zip"),
        (content.replace(b"no graph", b"a graph!"), "no sound zip"),
        (right.model, "found an ONNX graph"),
        (b"name = 1", "no sound zip"),
    ):
        path.write_bytes(wrong)
        done = inspected(path)
        assert done.exit_code == 1
        assert message in done.output
        assert str(path) in done.output
    assert "Name another file with --page" in inspected("--page", tmp_path / "no" / "p").output
