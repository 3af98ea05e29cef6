"""What a page may take the place of: an earlier page, and nothing of anyone else's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xedge.errors import ConfigError
from xedge.train.explain.folder import GENERATOR, claim, earlier_page, make_room
from xedge.train.explain.record import SCHEMA


def page(folder: Path, *figures: str) -> None:
    maps = [{"file": name} for name in figures]
    record = {"schema": SCHEMA, "pictures": [{"maps": maps}]}
    (folder / "explain.json").write_text(json.dumps(record))
    (folder / "explain.html").write_bytes(GENERATOR)
    for name in figures:
        (folder / name).write_bytes(b"a map")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_only_what_the_earlier_page_lists_is_deleted(tmp_path) -> None:
    page(tmp_path, "001-doam.png", "002-cam-gun.png")
    (tmp_path / "001-holiday.png").write_bytes(b"the user's own")
    make_room(tmp_path, ["001-doam.png", "explain.json", "explain.html"])
    assert names(tmp_path) == {"001-holiday.png"}


def test_a_list_that_leads_elsewhere_is_not_followed(tmp_path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    for path in (tmp_path / "001-out.png", folder / "notes.txt"):
        path.write_text("the user's own")
    page(folder)
    maps = [{"file": "../001-out.png"}, {"file": "notes.txt"}, {"file": str(tmp_path)}]
    record = {"schema": SCHEMA, "pictures": [{"maps": maps}]}
    (folder / "explain.json").write_text(json.dumps(record))
    make_room(folder, [])
    assert names(folder) == {"notes.txt"}
    assert (tmp_path / "001-out.png").is_file()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("explain.json", b'{"pictures": []}'),
        ("explain.json", b"[1, 2]"),
        ("explain.json", b"\xff not JSON"),
        ("explain.json", json.dumps({"schema": SCHEMA, "pictures": [{}]}).encode()),
        ("explain.html", b"<h1>someone's page</h1>"),
    ],
)
@pytest.mark.parametrize("beside", [False, True])
def test_a_foreign_record_or_page_is_refused(tmp_path, name, content, beside) -> None:
    if beside:
        page(tmp_path, "001-doam.png")
    (tmp_path / name).write_bytes(content)
    before = names(tmp_path)
    for ask in (claim, earlier_page, lambda folder: make_room(folder, [])):
        with pytest.raises(ConfigError, match=rf"holds a {name} .*Name another folder with -o"):
            ask(tmp_path)
    assert names(tmp_path) == before
    assert (tmp_path / name).read_bytes() == content


def test_a_figure_of_the_user_s_is_never_written_over(tmp_path) -> None:
    page(tmp_path, "001-cam-gun.png")
    (tmp_path / "001-doam.png").write_bytes(b"the user's own")
    before = names(tmp_path)
    with pytest.raises(ConfigError, match=r"holds a 001-doam\.png that is not known"):
        make_room(tmp_path, ["001-doam.png"])
    assert names(tmp_path) == before


def test_a_new_folder_is_made_and_a_file_is_none(tmp_path) -> None:
    claim(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        claim(tmp_path / "file" / "page")
