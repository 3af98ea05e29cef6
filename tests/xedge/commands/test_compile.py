"""`xedge compile` on CPU engines, and its two views of the cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from xedge.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("XEDGE_CACHE", str(tmp_path / "engines"))
    return tmp_path / "engines"


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["compile", *map(str, args)])


def test_it_says_what_it_tried_and_what_it_kept(tiny_bundle: Path, folder: Path) -> None:
    done = run(tiny_bundle, "--engine", "onnxruntime", "--threads", 1)
    assert done.exit_code == 0, done.output
    assert "Kept: fp32 on onnxruntime, in" in done.stdout
    assert str(folder) in done.stdout.replace("\n", "")


def test_json_list_and_clear(tiny_bundle: Path, folder: Path) -> None:
    done = run(tiny_bundle, "--engine", "onnxruntime", "--engine", "fake", "--json")
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert (record["engine"], record["variant"], record["cache"]) == (
        "onnxruntime", "fp32", str(folder),
    )  # fmt: skip
    # The fake answers something else, and is therefore not right.
    assert [trial["passed"] for trial in record["trials"]] == [True, False]
    assert record["warnings"][0].startswith("fp32 on fake is not used: ")

    listed = json.loads(run("--list", "--json").stdout)
    assert listed["folder"] == str(folder)
    assert {entry["facts"]["kind"] for entry in listed["entries"]} == {"choice"}
    assert "2 files" in run("--list").stdout
    assert json.loads(run("--clear", "--json").stdout) == {"removed": 2}
    assert "0 files" in run("--list").stdout
    assert "Removed 0 files" in run("--clear").stdout


def test_what_cannot_be_done_is_one_line(tiny_bundle: Path, folder: Path) -> None:
    for args, said in (
        (["--list", "--clear"], "exclude each other"),
        ([tiny_bundle, "--precision", "int8", "--engine", "onnxruntime"], "no variant"),
        ([tiny_bundle, "--engine", "onnxrutnime"], "Did you mean 'onnxruntime'"),
        ([tiny_bundle, "--engine", "fake"], "no engine of this model can be used"),
        (["absent.xedge"], "absent.xedge"),
    ):
        done = run(*args)
        assert done.exit_code != 0
        assert said in done.stderr
        assert "Traceback" not in done.output


def test_a_cache_that_others_can_write_is_refused(tiny_bundle: Path, folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    for args in ([tiny_bundle], ["--list"], ["--clear"]):
        done = run(*args)
        assert done.exit_code == 1
        assert "chmod go-w" in done.stderr
