"""`xedge dicos write` and `xedge dicos show` as a person and as a script use them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from xedge.cli import main
from xedge.commands.strips import record_belt
from xedge.control.dicos.image import read_image, read_scan
from xedge.control.dicos.readback import read_report

pytest.importorskip("pydicom", reason="pydicom (extra `dicos`) is not installed")

BAGS = 2


def call(*arguments: object):
    return CliRunner().invoke(main, ["dicos", *map(str, arguments)])


def one_error(result, code: int = 1) -> str:
    assert result.exit_code == code, result.output
    (line,) = result.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def belt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("belt") / "belt.xstrip"
    record_belt(path, bags=BAGS, seed=5)
    return path


@pytest.fixture(scope="module")
def write(stand_in_bundle: Path, belt: Path):
    def run(*arguments: object):
        return call("write", "--source", belt, "--bundle", stand_in_bundle, "--engine", "fake",
                    *arguments)  # fmt: skip

    return run


@pytest.fixture(scope="module")
def folder(write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dicos")
    (path / "scanner.toml").write_text('serial = "42"\ntube_kv = 160\nuid_root = "1.2.3"\n')
    result = write("--out", path / "out", "--machine", path / "scanner.toml", "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["bag"], one["verdict"], len(one["files"])) for one in records] == [
        (1, "ALARM", 3), (2, "ALARM", 3)]  # fmt: skip
    return path / "out"


def test_each_bag_is_two_images_and_a_report(folder: Path) -> None:
    assert len(list(folder.iterdir())) == 3 * BAGS
    for number in (1, 2):
        stem = folder / f"bag-{number:06d}"
        scan = read_scan(Path(f"{stem}-low.dcs"), Path(f"{stem}-high.dcs"))
        report = read_report(Path(f"{stem}-report.dcs"))
        assert (scan.bag, report.bag) == (number, number)
        assert scan.low.shape[1] == 800
        assert report.uid.startswith("1.2.3.")
        assert report.encoder_head == scan.encoder[0]
        assert [one.description for one in report.objects] == ["gun"]
        x1, y1, x2, y2 = report.objects[0].box
        assert 0 <= x1 < x2 <= 800
        assert 0 <= y1 < y2 <= len(scan.encoder)
    assert read_image(folder / "bag-000001-low.dcs").origin == "SYNTHETIC"


def test_no_file_is_replaced(write, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert "is there already" in one_error(write("--out", folder))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_files_are_shown(folder: Path) -> None:
    report = call("show", folder / "bag-000001-report.dcs", "--json")
    assert report.exit_code == 0
    record = json.loads(report.stdout)
    assert (record["kind"], record["verdict"], record["aborted"]) == ("report", "ALARM", False)
    assert record["objects"][0]["label"] == "gun"
    image = json.loads(call("show", folder / "bag-000001-high.dcs", "--json").stdout)
    assert (image["kind"], image["energy"], image["columns"]) == ("image", "HIGH ENERGY", 800)
    for name in ("report", "low"):
        table = call("show", folder / f"bag-000001-{name}.dcs")
        assert table.exit_code == 0
        assert "scan uid" in table.stdout
    assert "gun" in call("show", folder / "bag-000001-report.dcs").stdout


def test_bad_input_gets_one_line(write, folder: Path, tmp_path: Path, belt: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('passenger = "x"\n')
    assert "passenger" in one_error(write("--out", tmp_path / "out", "--machine", bad))
    assert "nowhere" in one_error(
        write("--out", tmp_path / "out", "--machine", tmp_path / "nowhere")
    )
    (tmp_path / "file").touch()
    assert "cannot be" in one_error(write("--out", tmp_path / "file" / "out"))
    assert "belt.xstrip" in one_error(call("show", belt))
    assert "cannot be read" in one_error(call("show", tmp_path / "nowhere"))
    (tmp_path / "no.xstrip").write_bytes(b"PK")
    assert "no.xstrip" in one_error(call("write", "--source", tmp_path / "no.xstrip",
                                         "--out", tmp_path / "out"))  # fmt: skip
    assert call("write").exit_code == 2
    assert not (tmp_path / "out").exists()
