"""`xedge record` and `xedge run` as a person and as a script use them."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from xedge.bundle import open_bundle
from xedge.cli import main
from xedge.commands.belt_demo import DemoSettings, run_demo
from xedge.commands.strips import screen_file
from xedge.lane import read_journal
from xedge.scanner.stripfile import StripFileHeader, StripReader, StripWriter
from xedge.types import Strip

BAGS, SEED = 2, 5


def call(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def belt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded belt of two bags."""
    path = tmp_path_factory.mktemp("belt") / "belt.xstrip"
    result = call("record", "--out", path, "--bags", BAGS, "--seed", SEED, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["path"] == str(path)
    assert record["bytes"] == path.stat().st_size
    assert record["bags"] == BAGS
    return path


@pytest.fixture
def run(stand_in_bundle: Path):
    def screen(*arguments: object):
        return call("run", "--bundle", stand_in_bundle, "--engine", "fake", *arguments)

    return screen


def decisions(result) -> list[dict]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def one_error(result, code: int) -> str:
    """The one line on standard error of a command that ended with ``code``."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    return line


def test_a_recording_is_complete(belt: Path) -> None:
    with StripReader(belt) as reader:
        assert (reader.header.elements, reader.header.metadata["seed"]) == (800, SEED)
        assert reader.flat_field().elements == 800
        lines = sum(len(strip) for strip in reader)
    truth = json.loads(belt.with_suffix(".truth.json").read_text())["bags"]
    assert [bag["bag"] for bag in truth] == [1, 2]
    assert 0 < truth[0]["first_line"] < truth[0]["last_line"] < truth[1]["first_line"] < lines


def test_json_is_one_decision_a_line_and_nothing_else(run, belt: Path, tmp_path: Path) -> None:
    result = run("--source", belt, "--json", "--journal", tmp_path / "journal")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    found = decisions(result)
    truth = json.loads(belt.with_suffix(".truth.json").read_text())["bags"]
    assert [one["bag"] for one in found] == [1, 2]
    for one, bag in zip(found, truth, strict=True):
        assert set(one) >= {
            "bag", "verdict", "reason", "encoder_head", "encoder_tail", "detections",
            "latency_ms", "late",
        }  # fmt: skip
        assert (one["verdict"], one["reason"], one["late"]) == ("ALARM", "NONE", False)
        assert bag["first_line"] <= one["encoder_head"] < one["encoder_tail"] <= bag["last_line"]
        assert one["latency_ms"] > 24 * 0.62 / 0.2  # the air that ends a bag
        (box,) = one["detections"]
        assert box["label"] == "gun"  # the fake engine's only word
        assert box["score"] == pytest.approx(0.9)
        x1, y1, x2, y2 = box["box"]
        assert 0 <= x1 < x2 <= 800
        assert 0 <= y1 < y2 <= bag["last_line"] - bag["first_line"] + 1
    records = read_journal(tmp_path / "journal")
    kept = [record for record in records if record["kind"] == "decision"]
    assert [one["encoder_tail"] for one in kept] == [one["encoder_tail"] for one in found]


def test_a_recording_is_screened_as_the_belt_itself(
    belt: Path, stand_in_bundle: Path, tmp_path: Path
) -> None:
    bundle = open_bundle(stand_in_bundle)
    replayed = screen_file(belt, bundle, engine="fake")
    live = run_demo(DemoSettings(bags=BAGS, seed=SEED, engine="fake"), bundle, tmp_path)
    assert replayed.flaws == ()
    assert replayed.lane.ledger == live.lane.ledger
    for a, b in zip(replayed.lane.decisions, live.lane.decisions, strict=True):
        assert (a.encoder_head, a.encoder_tail) == (b.encoder_head, b.encoder_tail)
        np.testing.assert_array_equal(a.detections.boxes, b.detections.boxes)


def test_the_table_ends_with_the_books(run, belt: Path) -> None:
    result = run("--source", belt)
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()[:3]] == ["bag", "1", "2"]
    assert "balanced" in result.stdout
    assert "gun 0.90" in result.stdout


def test_a_damaged_strip_is_counted_and_flags_its_bag(run, belt: Path, tmp_path: Path) -> None:
    truth = json.loads(belt.with_suffix(".truth.json").read_text())["bags"]
    with StripReader(belt) as reader:
        strips, header, runs = list(reader), reader.header, reader.runs
    middle = (truth[0]["first_line"] + truth[0]["last_line"]) // 2
    path = tmp_path / "damaged.xstrip"
    with StripWriter(path, header) as writer:
        for name, (low, high) in runs.items():
            writer.write_run(name, low, high)
        for strip in strips:
            writer.write(strip)
    # One bit, somewhere in the payload of the strip at the middle of bag 1.
    record = 44 + 32 * (8 + 4 * 800) + 4
    content = bytearray(path.read_bytes())
    start = len(header.to_bytes()) + 2 * (44 + 256 * (8 + 4 * 800) + 4)
    content[start + middle // 32 * record + 44 + 5000] ^= 1
    path.write_bytes(content)
    result = run("--source", path, "--json")
    assert one_error(result, 3) == "Flawed: 32 lines refused (damaged)"
    found = decisions(result)
    assert "BAD_LINES" in found[0]["reasons"]
    assert found[-1]["reasons"] == []  # bag 2 is not concerned


@pytest.mark.parametrize("share", [0.35, 0.6, 0.999])
def test_a_file_that_breaks_off_gives_what_came_before(
    run, belt: Path, tmp_path: Path, share: float
) -> None:
    content = belt.read_bytes()
    path = tmp_path / "short.xstrip"
    path.write_bytes(content[: int(len(content) * share)])
    result = run("--source", path, "--json")
    line = one_error(result, 1)
    assert line.startswith("Error: ")
    assert "no end" in line
    assert "--truncated-ok" in line
    found = decisions(result)
    assert f"{len(found)} bags were decided" in line
    again = run("--source", path, "--json", "--truncated-ok")
    assert "the end of the file is missing" in one_error(again, 3)
    assert [one["encoder_tail"] for one in decisions(again)] == [
        one["encoder_tail"] for one in found
    ]


def test_a_damaged_record_header_ends_the_file_there(run, belt: Path, tmp_path: Path) -> None:
    content = bytearray(belt.read_bytes())
    with StripReader(belt) as reader:
        start = len(reader.header.to_bytes()) + 2 * (44 + 256 * (8 + 4 * 800) + 4)
    content[start + 20 * (44 + 32 * (8 + 4 * 800) + 4) + 16] ^= 255  # line counter of strip 20
    path = tmp_path / "broken.xstrip"
    path.write_bytes(content)
    assert "a damaged record header" in one_error(run("--source", path), 1)


def test_what_is_no_strip_file_gets_one_line(run, tmp_path: Path, belt: Path) -> None:
    for content in (b"", b"PK\3\4 something else", belt.read_bytes()[:60]):
        (tmp_path / "no.xstrip").write_bytes(content)
        result = run("--source", tmp_path / "no.xstrip")
        assert "no.xstrip" in one_error(result, 1)
        assert result.stdout == ""
    assert "cannot be opened" in one_error(run("--source", tmp_path / "nowhere"), 1)
    assert "cannot be opened" in one_error(run("--source", tmp_path), 1)


def write_file(path: Path, elements: int, pitch_mm: float, *, runs: bool = True) -> Path:
    lines = np.full((64, elements), 40_000, np.uint16)
    with StripWriter(path, StripFileHeader(elements, pitch_mm, 1.0, 0.2)) as writer:
        if runs:
            writer.write_run("dark", np.zeros_like(lines), np.zeros_like(lines))
            writer.write_run("air", lines, lines)
        writer.write(Strip(0, np.arange(64), lines, lines, 0))
    return path


@pytest.mark.parametrize(("elements", "pitch_mm"), [(1280, 0.62), (800, 0.8), (800, 0.4)])
def test_a_detector_that_does_not_fit_the_model_is_refused(
    run, tmp_path: Path, elements: int, pitch_mm: float
) -> None:
    path = write_file(tmp_path / "other.xstrip", elements, pitch_mm)
    line = one_error(run("--source", path, "--json"), 1)
    assert "at most 832 elements of 0.62 mm" in line
    assert f"{elements} of {pitch_mm:.2f} mm" in line


def test_a_file_without_runs_is_refused(run, tmp_path: Path) -> None:
    path = write_file(tmp_path / "bare.xstrip", 800, 0.62, runs=False)
    assert "no dark and no air run" in one_error(run("--source", path), 1)


def test_an_empty_belt_has_no_decisions_and_is_no_error(run, tmp_path: Path) -> None:
    path = write_file(tmp_path / "air.xstrip", 800, 0.62)
    result = run("--source", path, "--json")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert "0, decisions 0" in run("--source", path).stdout


def test_other_bad_input_gets_one_line(run, belt: Path, tmp_path: Path) -> None:
    assert "'auto'" not in one_error(run("--source", belt, "--engine", "tensorflow"), 1)
    assert "journal" in one_error(run("--source", belt, "--journal", tmp_path / "no" / "j"), 1)
    (tmp_path / "empty.xedge").touch()
    assert "empty.xedge" in one_error(
        run("--source", belt, "--bundle", tmp_path / "empty.xedge"), 1
    )
    assert run("--sauce", belt).exit_code == 2
    assert "no" in one_error(call("record", "--out", tmp_path / "no" / "b.xstrip", "--bags", 1), 1)


def test_an_engine_that_fails_clears_nothing(
    belt: Path, stand_in_bundle: Path, monkeypatch
) -> None:
    from xedge.engines.fake import FakeEngine

    # The first run is the one that warms the engine up.
    monkeypatch.setattr(
        FakeEngine, "load", classmethod(lambda cls, model, threads: cls(fail_at=range(1, 99)))
    )
    result = call(
        "run", "--bundle", stand_in_bundle, "--engine", "fake", "--source", belt, "--json"
    )
    assert one_error(result, 3) == "Flawed: 2 not cleared (ENGINE_FAILED)"
    assert [one["verdict"] for one in decisions(result)] == ["NOT_CLEARED"] * 2
