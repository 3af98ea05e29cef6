"""The report: complete, self-contained, readable without colours and scripts."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.bundle import open_bundle
from xedge.commands.belt_demo import DemoResult, DemoSettings, run_demo
from xedge.commands.gallery import BagPicture
from xedge.commands.judge import JudgedBag, Report, Thing
from xedge.commands.report import (
    MOST_BINS,
    histogram,
    make_card,
    measured_figures,
    report_writer,
    ticks,
)
from xedge.types import Decision, Verdict


@pytest.fixture(scope="module")
def result(stand_in_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    pytest.importorskip("jinja2", reason="jinja2 (extra `report`) makes the report")
    folder = tmp_path_factory.mktemp("report")
    settings = DemoSettings(bags=3, seed=4, engine="fake", threads=1)
    made = run_demo(settings, open_bundle(stand_in_bundle), folder)
    assert report_writer()(made, folder) == folder / "report.html"
    return made


@pytest.fixture(scope="module")
def folder(result: DemoResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return max(tmp_path_factory.getbasetemp().glob("report*"))


@pytest.fixture(scope="module")
def page(folder: Path, read_page: type) -> Any:
    return read_page((folder / "report.html").read_text(encoding="utf-8"))


def test_nothing_comes_from_elsewhere(page, folder: Path) -> None:
    assert page.named("script") == page.named("link") == page.named("iframe") == []
    text = (folder / "report.html").read_text()
    assert not re.search(r"https?://", text)
    assert "@import" not in text
    assert "url(" not in text
    sources = [image["src"] for image in page.named("img")]
    assert len(sources) == 6  # a thumbnail and a picture a bag
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    for link in (attributes["href"] for attributes in page.named("a")):
        if link.startswith("#"):
            assert link[1:] in {a.get("id") for _, a in page.found}
        else:
            assert link == "demo.json" or (folder / link).is_file()


def test_every_bag_has_a_card_with_its_verdict_in_words(page, result: DemoResult) -> None:
    cards = page.named("article")
    assert [card["id"] for card in cards] == ["bag-1", "bag-2", "bag-3"]
    for card, bag in zip(cards, result.bags, strict=True):
        assert card["class"].split()[1] == bag.decision.verdict.name.lower()
    assert page.text.count("ALARM") >= 3
    identifiers = Counter(a["id"] for _, a in page.found if "id" in a)
    assert max(identifiers.values()) == 1


def test_missed_and_false_are_said_in_words(page, result: DemoResult) -> None:
    false = sum(len(bag.false) for bag in result.bags)
    missed = sum(len(bag.missed) for bag in result.bags)
    assert false  # the fake engine boxes the whole bag
    assert missed
    items = [a for a in page.named("li") if a.get("class") in {"missed", "false"}]
    assert len(items) == false + missed
    for bag in result.bags:
        for thing in bag.missed:
            assert f"MISSED {thing.label.replace('_', ' ')}" in page.text
    assert "FALSE gun" in page.text


def test_images_and_charts_have_words(page) -> None:
    assert all(image["alt"] for image in page.named("img"))
    charts = [svg for svg in page.named("svg") if svg.get("role") == "img"]
    assert len(charts) == 4  # the histogram and a drawing a bag
    assert all(chart["aria-label"] for chart in charts)


def test_the_page_says_what_it_is_and_what_made_it(page, result: DemoResult) -> None:
    for words in (
        "3 bags in, 3 decisions out, none late",
        "trained on simulated bags alone",
        result.bundle.sha256,
        "stand-in",
        "The ledger balances",
        f"{result.lane.ledger.lines_in:,}",
        "0.00025",  # |w|, as the bundle says
        "compressed time",
    ):
        assert words in page.text, words


def test_text_from_a_bundle_is_escaped(result: DemoResult, tmp_path: Path) -> None:
    import dataclasses

    spec = dataclasses.replace(result.bundle.spec, name="<b>bold & bad</b>")
    bundle = dataclasses.replace(result.bundle, spec=spec)
    report_writer()(dataclasses.replace(result, bundle=bundle), tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "<b>bold" not in text
    assert "&lt;b&gt;bold &amp; bad" in text


def test_a_run_without_bags_makes_a_report_too(
    result: DemoResult, tmp_path: Path, read_page: type
) -> None:
    import dataclasses

    lane = dataclasses.replace(result.lane, decisions=())
    empty = dataclasses.replace(result, lane=lane, bags=(), pictures={})
    report_writer()(empty, tmp_path)
    read_page((tmp_path / "report.html").read_text())


def card(reports, missed, width: int = 600, lines: int = 900):
    bag = JudgedBag(
        Decision(1, Verdict.ALARM),
        tuple(Report("battery_pack", 0.5, box, True) for box in reports),
        tuple(Thing("scissors", box, 3, False, 0.0, "") for box in missed),
    )
    return make_card(bag, BagPicture("bag-001.png", 100, width, lines, "", "", 1))


corners = st.tuples(
    st.integers(100, 650), st.integers(0, 850), st.integers(5, 50), st.integers(5, 50)
)
some = st.lists(
    corners.map(lambda c: (float(c[0]), float(c[1]), float(c[0] + c[2]), float(c[1] + c[3]))),
    max_size=5,
)


@given(some, some)
def test_labels_stay_in_the_picture(reports, missed) -> None:
    made = card(reports, missed)
    assert len(made.marks) == len(reports) + len(missed)
    for mark in made.marks:
        x, y, width, height = mark.label
        assert 100 <= x <= x + width <= 700 + 1e-6
        assert 0 <= y <= y + height <= 900 + 1e-6


def test_labels_of_neighbours_do_not_hide_each_other() -> None:
    boxes = [
        (200.0, 300.0, 260.0, 340.0),
        (205.0, 305.0, 265.0, 345.0),
        (210.0, 300.0, 260.0, 350.0),
    ]
    plates = [mark.label for mark in card(boxes, boxes).marks]
    for i, (ax, ay, aw, ah) in enumerate(plates):
        for bx, by, bw, bh in plates[:i]:
            apart = ax + aw <= bx or bx + bw <= ax or ay + ah <= by or by + bh <= ay
            assert apart


def test_an_overloaded_bag_has_no_picture() -> None:
    assert make_card(JudgedBag(Decision(1), (), ()), None).marks == ()


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_a_histogram_loses_no_value(values) -> None:
    bins = histogram(values)
    assert sum(one.bags for one in bins) == len(values)
    assert 1 <= len(bins) <= MOST_BINS
    # Edges are rounded to nanoseconds' millionths: compare with that much room.
    for one in bins:
        inside = sum(one.start - 1e-6 <= v < one.end + 1e-6 for v in values)
        assert one.bags <= inside
    marks = ticks(bins[-1].end, 8)
    assert marks[0] == 0
    assert 1 <= len(marks) <= 8
    assert np.all(np.diff(marks) > 0)
    assert marks[-1] <= bins[-1].end + 1e-6


def test_figures_of_a_bundle_are_named_for_people() -> None:
    figures, rest = measured_figures(
        {"ap50": 0.8, "ap": 0.5, "la_off_ap50": 0.7, "ap50_gun": 0.9, "ap50_OL2": 0.6,
         "la_w_mean": 2.5e-4}
    )  # fmt: skip
    assert [(f.name, f.value, f.without) for f in figures] == [
        ("AP50", 0.8, 0.7),
        ("AP, IoU 0.50 to 0.95", 0.5, None),
        ("AP50 gun", 0.9, None),
        ("AP50, occlusion level 2", 0.6, None),
    ]
    assert rest == {"la_w_mean": "0.00025"}
