"""What a bundle states of quiet windows, in the bundle and for who asks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.archive import pack, unpack
from xedge.bundle import _MEMBER, open_bundle, parse_bundle, write_bundle
from xedge.errors import BundleError
from xedge.packing import pack_bundle
from xedge.quiet import Quiet, below_for

SCORE = st.floats(0, 1, exclude_min=True)


@given(pairs=st.lists(st.tuples(SCORE, SCORE)), least=st.none() | st.floats(0, 1))
def test_what_is_wanted_is_never_lost_to_a_statement_for_less(
    pairs: list[tuple[float, float]], least: float | None
) -> None:
    stated = [Quiet(*pair) for pair in pairs]
    below = below_for(stated, least)
    if below is None:
        assert least is None or all(one.keeps > least for one in stated)
    else:
        assert least is not None
        assert any(one.below == below and one.keeps <= least for one in stated)
        assert all(one.below <= below for one in stated if one.keeps <= least)


@pytest.mark.parametrize("pair", [(0.0, 0.1), (0.1, 0.0), (1.1, 0.1), (0.1, float("nan"))])
def test_scores_that_cannot_be_are_refused(pair: tuple[float, float]) -> None:
    with pytest.raises(BundleError, match="quiet windows"):
        Quiet(*pair)


def test_a_bundle_carries_it(tiny_parts: dict[str, Any], tmp_path: Path) -> None:
    stated = (Quiet(keeps=0.3, below=0.1), Quiet(keeps=0.5, below=0.45))
    sound = tiny_parts["variants"]["fp32"]
    variants = {"fp32": dataclasses.replace(sound, quiet=stated), "int8": sound}
    path = tmp_path / "quiet.xedge"
    write_bundle(path, **{**tiny_parts, "variants": variants})
    found = open_bundle(path).variants
    assert found["fp32"].quiet == stated
    assert found["int8"].quiet == ()


def test_a_bundle_without_it_is_what_it_was(tiny_bundle: Path) -> None:
    manifest = json.loads(unpack(tiny_bundle.read_bytes(), _MEMBER)["manifest.json"])
    assert set(manifest["variants"]["fp32"]) == {"tolerance"}


@pytest.mark.parametrize(
    "stated",
    [[{"keeps": 0.5}], [{"keeps": 0.5, "below": 0.1, "more": 1}], [{"keeps": "x", "below": 0.1}],
     5, [{"keeps": 2.0, "below": 0.1}]],
)  # fmt: skip
def test_a_statement_that_is_none_does_not_load(quiet_bundle: Path, stated: Any) -> None:
    members = unpack(quiet_bundle.read_bytes(), _MEMBER)
    manifest = json.loads(members["manifest.json"])
    manifest["variants"]["fp32"]["quiet"] = stated
    members["manifest.json"] = json.dumps(manifest).encode()
    with pytest.raises(BundleError):
        parse_bundle(pack(members))


def test_packing_writes_it(
    label_aware_onnx: bytes, tiny_parts: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    stated = (Quiet(keeps=0.5, below=0.2),)
    path = tmp_path / "packed.xedge"
    pack_bundle(
        path, {"fp32": label_aware_onnx, "int8": label_aware_onnx}, tiny_parts["spec"],
        counts=(tiny_parts["golden_low"], tiny_parts["golden_high"]), quiet={"int8": stated},
        licence=tiny_parts["licence"], created=tiny_parts["created"],
    )  # fmt: skip
    found = open_bundle(path).variants
    assert (found["fp32"].quiet, found["int8"].quiet) == ((), stated)
