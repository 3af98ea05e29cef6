"""`xedge bench compare`: slower, faster, the same, or too noisy to tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from xedge_benchmarks.compare import compare
from xedge_benchmarks.record import new_record, write_record

from xedge.cli import main
from xedge.errors import ConfigError

Keep = Callable[..., Path]


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["bench", "compare", *map(str, args)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("after", "verdict", "status"),
    [(10.9, "same", 0), (13.0, "slower", 1), (8.0, "faster", 1)],
)
def test_beyond_the_intervals(
    keep: Keep, tmp_path: Path, after: float, verdict: str, status: int
) -> None:
    a, b = keep(tmp_path / "a", 1, 10, 0.5), keep(tmp_path / "b", 2, after, 0.5, commit="b")
    (found,) = compare(a, b).verdicts
    assert found.verdict == verdict
    assert found.change == pytest.approx(after / 10 - 1)
    for places in ((a, b), (tmp_path / "a", tmp_path / "b")):
        done = run(*places, "--all")
        assert done.exit_code == status
        assert verdict in done.stdout
        assert "one run" in done.stdout


def test_a_machine_that_disagrees_with_itself(keep: Keep, tmp_path: Path) -> None:
    keep(tmp_path / "a", 1, 12.5, 0.1)
    keep(tmp_path / "a", 2, 10.0, 0.1)
    # Others' commits say nothing of noise.
    keep(tmp_path / "b", 3, 30.0, 0.1, commit="c")
    keep(tmp_path / "b", 4, 12.0, 0.1, commit="b")
    (found,) = compare(tmp_path / "a", tmp_path / "b").verdicts
    assert (found.before.value, found.after.value) == (10.0, 12.0)  # the newest of each
    assert found.noise == pytest.approx(0.25)
    assert found.verdict == "too noisy to tell"
    done = run(tmp_path / "a", tmp_path / "b")
    assert done.exit_code == 0
    assert "noisy" in done.stdout
    keep(tmp_path / "b", 5, 13.0, 0.1, commit="d")
    assert [v.verdict for v in compare(tmp_path / "a", tmp_path / "b").verdicts] == ["slower"]


def test_two_runs_of_one_commit_differ_by_noise_alone(keep: Keep, tmp_path: Path) -> None:
    a, b = keep(tmp_path / "a", 1, 10, 0.1), keep(tmp_path / "b", 2, 12, 0.1)
    (found,) = compare(a, b).verdicts
    assert (found.noise, found.verdict) == (pytest.approx(0.2), "too noisy to tell")


def test_the_second_run_is_found_beside_a_file(keep: Keep, tmp_path: Path) -> None:
    keep(tmp_path, 1, 12.5, 0.1)
    a, b = keep(tmp_path, 2, 10.0, 0.1), keep(tmp_path, 3, 12.0, 0.1, commit="b")
    (found,) = compare(a, b).verdicts
    assert (found.noise, found.verdict) == (pytest.approx(0.25), "too noisy to tell")


@pytest.mark.parametrize(
    ("key", "verdict"), [("gop_s", "faster"), ("median_ms", "slower"), ("ap50", "higher")]
)
def test_more_of_what(tmp_path: Path, key: str, verdict: str) -> None:
    for side, value in (("a", 1.0), ("b", 2.0)):
        row = {"name": "x", key: value, f"{key}_low": value - 0.1, f"{key}_high": value + 0.1}
        record = new_record("peak", models={"m": side}, settings={}, results={"rows": [row]})
        write_record(record, tmp_path / side, scratch=True)
    a, b = (next((tmp_path / side / "scratch").iterdir()) for side in ("a", "b"))
    assert [v.verdict for v in compare(a, b).verdicts] == [verdict]
    assert verdict not in [v.verdict for v in compare(b, a).verdicts]


def test_json(keep: Keep, tmp_path: Path) -> None:
    a, b = keep(tmp_path / "a", 1, 10, 0.5), keep(tmp_path / "b", 2, 20, 0.5, commit="b")
    done = run(a, b, "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["differs"] is True
    (row,) = told["figures"]
    assert row["verdict"] == "slower"
    assert row["before"]["low"] == 9.5
    assert row["change"] == 1.0


def test_other_settings_are_no_pair_unless_files_are_named(keep: Keep, tmp_path: Path) -> None:
    a, b = keep(tmp_path / "a", 1, 10, 1), keep(tmp_path / "b", 2, 10, 1, rounds=5)
    with pytest.raises(ConfigError, match="nothing in common"):
        compare(tmp_path / "a", tmp_path / "b")
    assert compare(a, b).notes == ("the settings are not the same",)
    done = run(tmp_path / "a", tmp_path / "b")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")


def test_a_machine_that_throttled(keep: Keep, tmp_path: Path) -> None:
    a, b = keep(tmp_path / "a", 1, 10, 1), keep(tmp_path / "b", 2, 10, 1)
    content = json.loads(b.read_text())
    b.write_text(json.dumps(content | {"conditions": {"throttled": ["cpu0 grew by 3"]}}))
    assert compare(a, b).notes == (f"THE MACHINE THROTTLED in {b.name}",)
    assert "THROTTLED" in run(a, b).stdout


def test_scores_and_times_without_an_interval(repository: Path) -> None:
    results = repository / "benchmarks/results/intel-xeon-processor-2-cores"
    score = results / "2026-11-21T143706-accuracy-6573d8cc0950.json"
    found = compare(score, score)
    assert len(found.verdicts) == 4
    assert not found.differs
    belt = results / "2026-11-21T144109-belt-c178c78edb45.json"
    with pytest.raises(ConfigError, match="no figure has an interval"):
        compare(belt, belt)


def test_one_thread_and_two_are_never_compared(keep: Keep, tmp_path: Path) -> None:
    one, two = keep(tmp_path, 1, 10, 0.1, threads=1), keep(tmp_path, 2, 6, 0.1, threads=2)
    with pytest.raises(ConfigError, match="other numbers of threads"):
        compare(one, two)
    keep(tmp_path / "b", 3, 6, 0.1, threads=2)
    (found,) = compare(tmp_path, tmp_path / "b").verdicts
    assert found.verdict == "same"


def test_processor_time_leads_where_others_kept_the_machine_busy(
    keep: Keep, tmp_path: Path
) -> None:
    a, b = keep(tmp_path, 1, 10, 0.1), keep(tmp_path, 2, 20, 0.1, commit="b")
    for path, cpu in ((a, 5.0), (b, 5.1)):
        content = json.loads(path.read_text())
        content["results"]["engines"][0] |= {
            "cpu_median_ms": cpu, "cpu_median_ms_low": cpu - 0.2, "cpu_median_ms_high": cpu + 0.2,
        }  # fmt: skip
        path.write_text(json.dumps(content))
    assert {v.verdict for v in compare(a, b).verdicts} == {"same", "slower"}
    content["notes"] = ["other processes kept 1.20 cores busy during the run"]
    b.write_text(json.dumps(content))
    found = compare(a, b)
    (only,) = found.verdicts
    assert only.figure.endswith("cpu_median_ms")
    assert only.verdict == "same"
    assert any("processor time leads" in note for note in found.notes)
