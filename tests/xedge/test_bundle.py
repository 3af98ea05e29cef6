"""Bundles: what is written comes back, and what was changed does not."""

import dataclasses
import hashlib
import io
import itertools
import json
import math
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge import bundle as bundles
from xedge.bundle import Tolerance, Variant, open_bundle, parse_bundle, write_bundle
from xedge.errors import BundleError, SignatureError
from xedge.spec import Kind


@pytest.fixture(scope="module")
def keys():
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, data in parts:
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return target.getvalue()


def remade(content: bytes, change) -> bytes:
    """The bundle with its members changed and its manifest made to agree with them."""
    parts = members(content)
    manifest = json.loads(parts["manifest.json"])
    change(parts, manifest)
    manifest["members"] = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in parts.items()
        if name not in {"manifest.json", "signature"}
    }
    parts["manifest.json"] = json.dumps(manifest).encode()
    return zipped(list(parts.items()))


def test_what_is_written_comes_back(tiny_bundle, tiny_parts) -> None:
    found = open_bundle(tiny_bundle)
    assert found.spec == tiny_parts["spec"]
    assert found.model() == tiny_parts["variants"]["fp32"].model
    assert found.licence == tiny_parts["licence"]
    assert found.recipe == "epochs = 1\n"
    assert found.measured == {"ap50": 0.5}
    assert found.created == "2026-11-21"
    assert found.sha256 == hashlib.sha256(tiny_bundle.read_bytes()).hexdigest()
    assert not found.verified
    np.testing.assert_array_equal(found.golden_low, tiny_parts["golden_low"])
    np.testing.assert_array_equal(found.golden_high, tiny_parts["golden_high"])
    for name, array in tiny_parts["variants"]["fp32"].golden.items():
        got = found.variant().golden[name]
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


def test_equal_bundles_are_equal_files(tiny_bundle, tiny_parts, tmp_path) -> None:
    digest = write_bundle(tmp_path / "again.xedge", **tiny_parts)
    assert digest == hashlib.sha256(tiny_bundle.read_bytes()).hexdigest()
    assert [p.name for p in tmp_path.iterdir()] == ["again.xedge"]


def test_another_form_of_a_model_is_named(tiny_parts, tmp_path) -> None:
    checkpoint = zipped([("final/data.pkl", b"\x80\x02."), ("final/version", b"3")])
    graph = tiny_parts["variants"]["fp32"].model
    for content, kind in ((graph, "found an ONNX graph"), (checkpoint, "found a checkpoint")):
        path = tmp_path / "model"
        path.write_bytes(content)
        with pytest.raises(BundleError, match=kind) as error:
            open_bundle(path)
        assert str(error.value).startswith(str(path))
        assert "`xedge export" in str(error.value)


def test_a_signed_bundle_verifies_with_its_key_only(tiny_parts, tmp_path, keys) -> None:
    private, public = keys
    path = tmp_path / "signed.xedge"
    write_bundle(path, **tiny_parts, private_key=private)
    assert open_bundle(path, public).verified
    assert not open_bundle(path).verified
    with pytest.raises(SignatureError, match="does not verify"):
        open_bundle(path, bytes(32))
    with pytest.raises(SignatureError, match="32 raw bytes"):
        open_bundle(path, public[:-1])


def test_the_signature_is_checked_before_the_manifest_is_parsed(
    tiny_parts, tmp_path, keys, monkeypatch
) -> None:
    private, public = keys
    path = tmp_path / "signed.xedge"
    write_bundle(path, **tiny_parts, private_key=private)
    parts = members(path.read_bytes())
    parts["manifest.json"] = parts["manifest.json"].replace(b"0.5", b"0.9")
    parsed = []
    monkeypatch.setattr(bundles, "_manifest", parsed.append)
    with pytest.raises(SignatureError, match="does not verify"):
        parse_bundle(zipped(list(parts.items())), public)
    assert parsed == []


def test_a_signed_bundle_with_another_model_is_refused(tiny_parts, tmp_path, keys) -> None:
    private, public = keys
    path = tmp_path / "signed.xedge"
    write_bundle(path, **tiny_parts, private_key=private)
    parts = members(path.read_bytes())
    parts["model/fp32.onnx"] += b"\0"
    with pytest.raises(BundleError, match=r"sha256 of model/fp32\.onnx"):
        parse_bundle(zipped(list(parts.items())), public)


def test_a_key_requires_a_signature(tiny_bundle, keys) -> None:
    with pytest.raises(SignatureError, match="not signed"):
        open_bundle(tiny_bundle, keys[1])


def test_without_cryptography_nothing_passes_for_verified(
    tiny_parts, tmp_path, keys, monkeypatch
) -> None:
    private, public = keys
    path = tmp_path / "signed.xedge"
    write_bundle(path, **tiny_parts, private_key=private)
    monkeypatch.setitem(
        __import__("sys").modules, "cryptography.hazmat.primitives.asymmetric", None
    )
    with pytest.raises(SignatureError, match=r"xedge\[signing\]"):
        open_bundle(path, public)


def test_a_private_key_of_another_length_is_refused(tiny_parts, tmp_path, keys) -> None:
    with pytest.raises(SignatureError, match="32 raw bytes"):
        write_bundle(tmp_path / "b.xedge", **tiny_parts, private_key=keys[0] + b"x")
    assert list(tmp_path.iterdir()) == []


def test_missing_files_folders_and_variants(tiny_bundle, tmp_path) -> None:
    for path in (tmp_path / "absent.xedge", tmp_path):
        with pytest.raises(BundleError, match=r"cannot be read.*Check the path"):
            open_bundle(path)
    with pytest.raises(BundleError, match=r"no variant 'int8'.*expected fp32"):
        open_bundle(tiny_bundle).model("int8")


def test_an_installation_without_a_bundle_says_so(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    with pytest.raises(BundleError, match=r"ships no bundle.*--bundle"):
        open_bundle()


def test_a_file_that_is_too_large_is_not_read(tmp_path) -> None:
    path = tmp_path / "large.xedge"
    with path.open("wb") as file:
        file.truncate(bundles.LARGEST_FILE + 1)  # sparse: takes no room
    with pytest.raises(BundleError, match="too large"):
        open_bundle(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip at all" * 100])
def test_what_is_no_zip_is_refused(content) -> None:
    with pytest.raises(BundleError, match=r"no sound zip.*Get the bundle again"):
        parse_bundle(content)


def test_every_cut_end_is_refused(tiny_bundle) -> None:
    content = tiny_bundle.read_bytes()
    for end in range(0, len(content), max(len(content) // 60, 1)):
        with pytest.raises(BundleError):
            parse_bundle(content[:end])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_flipped_byte_goes_unnoticed(tiny_bundle, data) -> None:
    """A changed byte is refused, or was one of the zip's own that mean nothing (a date, say)."""
    content = bytearray(tiny_bundle.read_bytes())
    sound = parse_bundle(bytes(content))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    try:
        found = parse_bundle(bytes(content))
    except BundleError:
        return
    assert found.model() == sound.model()
    assert found.spec == sound.spec
    assert found.sha256 != sound.sha256
    np.testing.assert_array_equal(found.golden_low, sound.golden_low)


JUNK = (None, True, -1, 0, 2**70, 1.5, math.nan, -math.inf, "", "x", [], [1], {}, {"a": None})


def test_a_manifest_with_any_value_replaced_is_refused_or_sound(tiny_bundle) -> None:
    """Hostile JSON under good checksums ends in a BundleError, or in a bundle that can be used."""
    content = tiny_bundle.read_bytes()
    manifest = json.loads(members(content)["manifest.json"])
    places = [(key,) for key in manifest]
    places += [("spec", key) for key in manifest["spec"]]
    places += [("variants", "fp32"), ("variants", "fp32", "tolerance")]
    places += [("variants", "fp32", "tolerance", key) for key in ("score", "iou")]
    refused = 0
    for place, junk in itertools.product(places, JUNK):

        def change(_, manifest, place=place, junk=junk) -> None:
            where = manifest
            for key in place[:-1]:
                where = where[key]
            where[place[-1]] = junk

        try:
            found = parse_bundle(remade(content, change))
        except BundleError:
            refused += 1
        else:
            spec = found.spec
            assert isinstance(spec.height * spec.width * spec.candidates * spec.binning, int)
            assert 0 <= spec.score_threshold <= spec.alarm_threshold <= 1
            assert all(isinstance(name, str) for name in (spec.name, spec.licence, *spec.classes))
    assert refused > len(places)


def replaced(name: str, data: bytes):
    def change(parts, manifest) -> None:
        parts[name] = data

    return change


def npy(array) -> bytes:
    target = io.BytesIO()
    np.save(target, array, allow_pickle=True)
    return target.getvalue()


HUGE = npy(np.zeros((64, 60), np.uint16)).replace(b"(64, 60)", b"(1<<50)"[:8].ljust(8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("golden/low.npy", npy(np.array([{"a": 1}], object))), "not complete"),
        (replaced("golden/low.npy", npy(np.zeros((64, 60), np.int16))), "int16"),
        (replaced("golden/low.npy", npy(np.zeros((64, 60), np.uint16))[:-2]), "where uint16"),
        (replaced("golden/low.npy", HUGE), "not complete"),
        (replaced("golden/low.npy", b"junk"), "not complete"),
        (replaced("golden/low.npy", npy(np.zeros((66, 60), np.uint16))), "one window"),
        (replaced("golden/fp32/boxes.npy", npy(np.zeros((1, 7, 4), np.float32))), "do not fit"),
        (replaced("LICENCE", b"\xff\xfe"), "not complete"),
        (replaced("../../etc/passwd", b"x"), "member named"),
        (replaced("/etc/passwd", b"x"), "member named"),
        (replaced("model\\fp32.onnx", b"x"), "member named"),
        (replaced("run.py", b"x"), "member named"),
        (lambda parts, _: parts.pop("golden/low.npy"), "not complete"),
        (lambda parts, _: parts.pop("LICENCE"), "not complete"),
        (lambda _, manifest: manifest.pop("spec"), "not complete"),
        (lambda _, manifest: manifest.update(schema=2), "schema 2"),
        (lambda _, manifest: manifest.update(variants={}), "not fp32"),
        (lambda _, manifest: manifest["spec"].update(extra=1), "unknown keys"),
        (lambda _, manifest: manifest["variants"]["fp32"]["tolerance"].update(iou=7), "tolerance"),
    ],
)  # fmt: skip
def test_hostile_content_under_good_checksums_is_refused(tiny_bundle, change, message) -> None:
    with pytest.raises(BundleError, match=message):
        parse_bundle(remade(tiny_bundle.read_bytes(), change))


def test_a_member_twice_is_refused(tiny_bundle) -> None:
    parts = list(members(tiny_bundle.read_bytes()).items())
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = zipped([*parts, ("model/fp32.onnx", b"other")])
    with pytest.raises(BundleError, match="distinct"):
        parse_bundle(content)


def test_a_member_that_no_manifest_lists_is_refused(tiny_bundle) -> None:
    parts = list(members(tiny_bundle.read_bytes()).items())
    with pytest.raises(BundleError, match="those of its manifest"):
        parse_bundle(zipped([*parts, ("model/int8.onnx", b"other")]))


def test_a_zip_bomb_is_refused_before_it_unpacks(monkeypatch) -> None:
    bomb = zipped([("model/fp32.onnx", bytes(20 * 2**20))], zipfile.ZIP_DEFLATED)
    assert len(bomb) < 2**16
    monkeypatch.setattr("xedge.archive.LARGEST_CONTENT", 2**20)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(BundleError, match="more than is allowed"):
        parse_bundle(bomb)


def test_too_many_members_and_odd_compression_are_refused(tiny_bundle) -> None:
    many = zipped([(f"model/v{k}.onnx", b"") for k in range(100)])
    with pytest.raises(BundleError, match="100 members"):
        parse_bundle(many)
    parts = list(members(tiny_bundle.read_bytes()).items())
    with pytest.raises(BundleError, match="another way than deflate"):
        parse_bundle(zipped(parts, zipfile.ZIP_BZIP2))


def test_what_cannot_be_read_is_not_written(tiny_parts, tmp_path) -> None:
    variant = tiny_parts["variants"]["fp32"]
    for bad in (
        {"variants": {"int8": variant}},
        {"variants": {"fp32": variant, "../x": variant}},
        {"golden_low": tiny_parts["golden_low"][:10]},
        {"variants": {"fp32": Variant(b"m", {**variant.golden, "scores": np.zeros(3)})}},
    ):
        with pytest.raises(BundleError):
            write_bundle(tmp_path / "bad.xedge", **{**tiny_parts, **bad})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [{"score": 0.0}, {"iou": 1.0}, {"score": float("nan")}])
def test_a_tolerance_lies_within_bounds(bad) -> None:
    with pytest.raises(BundleError, match="tolerance"):
        Tolerance(**bad)


def test_a_classifier_has_scores_and_maps(tiny_parts, tmp_path) -> None:
    spec = dataclasses.replace(tiny_parts["spec"], kind=Kind.CLASSIFIER, candidates=0)
    golden = {"scores": np.zeros((1, 2), np.float32), "maps": np.ones((1, 2, 3, 5), np.float32)}
    parts = {**tiny_parts, "spec": spec, "variants": {"fp32": Variant(b"m", golden)}}
    write_bundle(tmp_path / "c.xedge", **parts)
    found = open_bundle(tmp_path / "c.xedge")
    assert found.spec == spec
    assert set(found.variant().golden) == {"scores", "maps"}
    np.testing.assert_array_equal(found.variant().golden["maps"], golden["maps"])
    for wrong in ({"maps": np.ones((1, 3, 3, 5), np.float32)}, {"scores": np.zeros(2, np.float32)}):
        parts["variants"] = {"fp32": Variant(b"m", golden | wrong)}
        with pytest.raises(BundleError, match="golden outputs of fp32 do not fit"):
            write_bundle(tmp_path / "wrong.xedge", **parts)
