"""The figures in the README stand in the record that it names."""

from __future__ import annotations

import json
import re

import pytest

TABLE = re.compile(r"<!-- figures: (?P<path>\S+) -->\n(?P<table>(?:\|.*\n)+)")


def test_every_figure_of_the_readme_is_in_its_record(repository) -> None:  # type: ignore[no-untyped-def]
    (found,) = TABLE.finditer((repository / "README.md").read_text(encoding="utf-8"))
    record = json.loads((repository / found["path"]).read_text(encoding="utf-8"))
    refined, first_pass = record["results"]["models"]
    assert [m["stage"] for m in (refined, first_pass)] == ["refined", "first-pass"]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in found["table"].splitlines()[2:]
    ]
    flat = [
        {"AP50": m["ap50"], "AP50:95": m["ap"]} | m["ap50_by_class"] | m["ap50_by_occlusion"]
        for m in (refined, first_pass)
    ]
    assert {row[0] for row in rows} == set(flat[0])
    for name, _, *values in rows:
        for value, model in zip(values, flat, strict=True):
            assert float(value) == pytest.approx(model[name], abs=5e-4), name
