"""`xedge demo` as a person and as a script use it."""

import json
import re
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

import xedge
from xedge.cli import main
from xedge.provenance import code_version

PROMISED = {
    "bags", "decisions", "alarm", "clear", "not_cleared", "late", "ledger_balanced", "latency_ms",
    "realtime_factor", "ap50", "engine", "model", "commit",
}  # fmt: skip
"""Keys of demo.json that others' scripts rely on."""


def call(*arguments: object):
    return CliRunner().invoke(main, ["demo", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "deep" / "out"


@pytest.fixture(scope="module")
def shown(folder: Path, stand_in_bundle: Path):
    """The demo as a person calls it; three bags."""
    pytest.importorskip("jinja2", reason="jinja2 (extra `report`) makes the report")
    result = call("--bundle", stand_in_bundle, "--engine", "fake", "--bags", 3, "--out", folder)
    assert result.exit_code == 0, result.output
    return result


def test_demo_leaves_what_it_promises(shown, folder: Path) -> None:
    record = json.loads((folder / "demo.json").read_text())
    assert set(record) >= PROMISED
    assert record["bags"] == record["decisions"] == 3
    assert record["alarm"] + record["clear"] + record["not_cleared"] == 3
    assert record["ledger_balanced"] is True
    assert record["late"] == 0
    times = record["latency_ms"]
    assert 0 < times["p50"] <= times["p99"] <= times["max"]
    # The end of a bag is known after 24 lines of air, which take 74.4 ms at 0.2 m/s.
    assert times["p50"] > 24 * 0.62 / 0.2
    assert (record["engine"], record["model"]) == ("fake", "stand-in")
    assert record["commit"] == code_version().commit
    assert re.fullmatch(r"[0-9a-f]{40}|xedge \d.*", record["commit"])
    assert record["realtime_factor"] == pytest.approx(
        record["belt_s"] / (record["engine_s"] + record["core_s"])
    )
    assert (folder / "report.html").stat().st_size > 10_000


def test_every_bag_has_its_picture(shown, folder: Path) -> None:
    pictures = sorted(folder.glob("bag-*.png"))
    assert [path.name for path in pictures] == ["bag-001.png", "bag-002.png", "bag-003.png"]
    screened = json.loads((folder / "demo.json").read_text())["screened"]
    assert [bag["picture"] for bag in screened] == [path.name for path in pictures]
    for path in pictures:
        picture = cv2.imread(str(path))
        assert picture.shape[1] == 400  # 800 elements, at half the size
        assert (picture[0] > 240).all()  # air in front of the bag is white
        assert picture.std() > 10


def test_truth_and_tallies_fit_together(shown, folder: Path) -> None:
    record = json.loads((folder / "demo.json").read_text())
    assert record["objects"] == record["found"] + record["missed"]
    assert record["objects"] == sum(len(bag["truth"]) for bag in record["screened"])
    assert record["objects"] == sum(row["objects"] for row in record["occlusion_levels"])
    assert record["false"] == sum(
        not report["right"] for bag in record["screened"] for report in bag["reports"]
    )
    for key in ("objects", "found", "missed", "false"):
        assert record[key] == sum(row[key] for row in record["classes"])
    with_objects, without = record["bags_with_objects"], record["bags_without_objects"]
    assert with_objects["bags"] + without["bags"] == 3


def test_the_table_has_a_line_a_bag_and_a_summary(shown) -> None:
    lines = shown.stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["bag", "1", "2", "3"]
    assert all("ALARM" in line and " ms" in line for line in lines[1:4])
    assert "balanced" in shown.stdout
    assert "AP50" in shown.stdout
    assert "report.html" in shown.stdout


def test_json_prints_the_record_alone_and_the_seed_repeats_the_bags(
    tmp_path: Path, stand_in_bundle: Path, shown, folder: Path
) -> None:
    out = tmp_path / "again"
    out.mkdir()
    (out / "bag-999.png").write_bytes(b"of a run before")
    result = call("--json", "--bags", 2, "--out", out, "--bundle", stand_in_bundle, "--engine",
                  "fake", "--speed", "0.5")  # fmt: skip
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record == json.loads((out / "demo.json").read_text())
    assert not (out / "bag-999.png").exists()
    before = json.loads((folder / "demo.json").read_text())["screened"]
    # Speed changes the times, and nothing that was seen.
    assert [bag["truth"] for bag in record["screened"]] == [bag["truth"] for bag in before[:2]]
    assert (out / "bag-001.png").read_bytes() == (folder / "bag-001.png").read_bytes()


def test_real_time_takes_the_belt_s_time(tmp_path: Path, stand_in_bundle: Path) -> None:
    result = call("--json", "--realtime", "--bags", 1, "--speed", 2, "--out", tmp_path, "--bundle",
                  stand_in_bundle, "--engine", "fake")  # fmt: skip
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["realtime"] is True
    assert record["decisions"] == 1
    assert record["ledger_balanced"] is True
    assert record["screened"][0]["picture"] == "bag-001.png"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--engine", "openvin"], "openvino"),
        (["--bundle", "nowhere.xedge"], "nowhere.xedge"),
        (["--out", "a-file"], "a-file"),
        (["--bundle", "a-file"], "a-file"),
    ],
)
def test_bad_input_gets_one_line(
    arguments: list[str], named: str, stand_in_bundle: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a-file").write_text("no bundle")
    given = ["--bags", 1, "--engine", "fake", "--bundle", stand_in_bundle, "--out", "out"]
    result = call(*given, *arguments)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert named in line
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("arguments", [["--bags", "0"], ["--speed", "-1"], ["--seed", "-1"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert call(*arguments).exit_code == 2


def test_a_model_of_other_classes_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    result = call("--bundle", tiny_bundle, "--out", tmp_path, "--bags", 1)
    assert result.exit_code == 1
    assert "gun" in result.stderr
    assert "Use a bundle that was trained on simulated bags" in result.stderr


def test_without_jinja2_nothing_begins(tmp_path: Path, stand_in_bundle: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    result = call("--bundle", stand_in_bundle, "--engine", "fake", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "xedge[report]" in result.stderr
    assert not (tmp_path / "out").exists()


def test_code_outside_a_checkout_is_named_by_its_version(tmp_path: Path) -> None:
    (tmp_path / "xedge").mkdir()
    found = code_version(tmp_path / "xedge")
    assert (found.commit, found.dirty) == (f"xedge {xedge.__version__}", False)


def test_a_broken_checkout_is_named_by_the_version_too(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: nowhere")
    (tmp_path / "xedge").mkdir()
    assert code_version(tmp_path / "xedge").commit == f"xedge {xedge.__version__}"
