"""Bundles in C: what Python takes is taken, what Python refuses is refused, nothing crashes."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.bundle import parse_bundle
from xedge.errors import BundleError

E_BUNDLE = -6


class Members(dict[str, bytes]):
    """Members by name; hypothesis prints arguments, and these would fill pages."""

    def __repr__(self) -> str:
        return f"members({', '.join(self)})"


@pytest.fixture(scope="module")
def members(tiny_bundle) -> Members:
    with zipfile.ZipFile(tiny_bundle) as archive:
        return Members({name: archive.read(name) for name in archive.namelist()})


def packed(members: dict[str, bytes], level: int = 9, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method, compresslevel=level) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target.getvalue()


def with_manifest(parts: dict[str, bytes], /, **changes: object) -> dict[str, bytes]:
    """The members with keys of the manifest replaced, or taken out where the value is None."""
    manifest = json.loads(parts["manifest.json"]) | changes
    manifest = {key: value for key, value in manifest.items() if value is not None}
    return parts | {"manifest.json": json.dumps(manifest).encode()}


def accepted(native, native_error, content: bytes) -> bool:
    try:
        bundle = native.open_bundle(content)
    except native_error as error:
        said = error
    else:
        native.call("xedge_bundle_close", bundle)
        return True
    assert said.status == E_BUNDLE
    assert str(said)
    return False


def python_accepts(content: bytes) -> bool:
    try:
        parse_bundle(content)
    except BundleError:
        return False
    return True


@settings(max_examples=30)
@given(text=st.text(), repeats=st.integers(1, 400), level=st.integers(0, 9))
def test_any_member_unpacks_to_what_was_packed(
    native, native_error, members, text, repeats, level
) -> None:
    """A member's sha256 is compared after it was unpacked: a wrong byte would be refused."""
    recipe = (text * repeats).encode("utf-8", "replace")
    listed = json.loads(members["manifest.json"])["members"]
    listed["recipe.toml"] = {"bytes": len(recipe), "sha256": hashlib.sha256(recipe).hexdigest()}
    changed = with_manifest(members | {"recipe.toml": recipe}, members=listed)
    assert accepted(native, native_error, packed(changed, level))


@settings(max_examples=100)
@given(data=st.data())
def test_damage_is_refused_by_both_or_by_neither(native, native_error, tiny_bundle, data) -> None:
    content = bytearray(tiny_bundle.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    if accepted(native, native_error, bytes(content)):
        assert python_accepts(bytes(content))


def spec_with(members: dict[str, bytes], **changes: object) -> dict[str, bytes]:
    spec = json.loads(members["manifest.json"])["spec"] | changes
    return with_manifest(members, spec={k: v for k, v in spec.items() if v is not None})


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0}, {"height": 32.0}, {"height": True}, {"height": "32"}, {"width": 9000},
        {"binning": 9}, {"candidates": 0}, {"candidates": 7}, {"classes": []},
        {"classes": ["a", "a"]}, {"classes": ["a", ""]}, {"classes": 3}, {"channels": "x-ray"},
        {"kind": "oracle"}, {"name": ""}, {"name": 3}, {"score_threshold": 1.5},
        {"alarm_threshold": 0.1}, {"nms_iou": -1}, {"pixel_mm": 0}, {"schema": 2}, {"schema": None},
        {"mood": "good"}, {"height": None}, {"name": None}, {"mean": [1, 2]},
        {"scale": [1, "a", 2]},
        {"parents": {"recipe": 3}}, {"measured": {"ap": "high"}},
    ],
    ids=str,
)  # fmt: skip
def test_a_description_that_cannot_be_is_refused(native, native_error, members, change) -> None:
    content = packed(spec_with(members, **change))
    assert not python_accepts(content)
    assert not accepted(native, native_error, content)


@pytest.mark.parametrize(
    "change", [{"stage": None}, {"licence": None}, {"kind": None}, {"score_threshold": None},
               {"alarm_threshold": None}, {"nms_iou": None}, {"mean": None}, {"parents": None}],
    ids=str,
)  # fmt: skip
def test_a_description_may_leave_out_what_has_a_default(
    native, native_error, members, change
) -> None:
    content = packed(spec_with(members, **change))
    assert python_accepts(content)
    assert accepted(native, native_error, content)


@pytest.mark.parametrize(
    "change",
    [{"schema": 2}, {"schema": None}, {"members": {}}, {"members": None}, {"spec": None},
     {"variants": {}}, {"variants": None}, {"spec": []}, {"measured": None}, {"created": None},
     {"variants": {"fp32": {"tolerance": {"score": 0, "iou": 0.9}}}},
     {"variants": {"fp32": {}}}, {"variants": {"fp32": {"tolerance": {"mood": 1}}}}],
    ids=str,
)  # fmt: skip
def test_a_manifest_that_cannot_be_is_refused(native, native_error, members, change) -> None:
    content = packed(with_manifest(members, **change))
    assert not python_accepts(content)
    assert not accepted(native, native_error, content)


@pytest.mark.parametrize(
    ("name", "data"),
    [("evil.sh", b""), ("../../etc/passwd", b""), ("model/FP32.onnx", b""), ("golden/low.npy", b""),
     ("golden/low.npy", b"\x93NUMPY\x01\x00\xff\xff{"), ("manifest.json", b"[" * 5000),
     ("manifest.json", b"null"), ("golden/fp32/maps.npy", b"x")],
)  # fmt: skip
def test_a_foreign_or_broken_member_is_refused(native, native_error, members, name, data) -> None:
    content = packed(members | {name: data})
    assert not python_accepts(content)
    assert not accepted(native, native_error, content)


def test_other_files_are_recognised(native, native_error, tiny_onnx) -> None:
    with pytest.raises(native_error, match=r"an ONNX graph.*xedge export"):
        native.open_bundle(tiny_onnx)
    content = packed({"model/data.pkl": b"x"}, method=zipfile.ZIP_STORED)
    with pytest.raises(native_error, match="a checkpoint"):
        native.open_bundle(content)


def test_a_zip_bomb_is_refused_before_memory_is_taken(native, native_error, members) -> None:
    content = bytearray(packed(members | {"recipe.toml": bytes(2**20)}))
    # The size that the directory says of it, four bytes at 24 of its entry.
    at = content.rindex(b"recipe.toml") - 46 + 24
    content[at : at + 4] = (2**31).to_bytes(4, "little")
    with pytest.raises(native_error, match="more than is allowed"):
        native.open_bundle(bytes(content))
