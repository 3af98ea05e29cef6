"""Signed bundles in C: what Python takes and refuses, in the same words."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("cryptography", reason="the extra `signing`")

from xedge import signing
from xedge.archive import pack
from xedge.bundle import parse_bundle, write_bundle
from xedge.errors import SignatureError

E_SIGNATURE = -13


@pytest.fixture(scope="module")
def maker(tmp_path_factory) -> tuple[Path, bytes, bytes]:
    """File of the public key, and the raw bytes of the private and the public one."""
    folder = tmp_path_factory.mktemp("keys")
    signing.new_key(folder / "maker.key", folder / "maker.pub")
    private = signing.read_private_key(folder / "maker.key", lambda: "")
    return folder / "maker.pub", private, signing.public_key_of(private)


@pytest.fixture(scope="module")
def signed(native, native_error, maker, tiny_parts, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("signed") / "signed.xedge"
    write_bundle(path, **tiny_parts, private_key=maker[1])
    content = path.read_bytes()
    try:
        native.call("xedge_bundle_close", native.open_bundle(content, maker[2]))
    except native_error as error:
        if "cannot be handled" not in str(error):
            raise
        pytest.skip(f"needs OpenSSL: {error}")
    return content


def members(content: bytes, folder: Path) -> dict[str, bytes]:
    (folder / "b.xedge").write_bytes(content)
    with zipfile.ZipFile(folder / "b.xedge") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def refused_alike(native, native_error, content: bytes, key: bytes) -> str:
    """What both say, which must be the same."""
    with pytest.raises(SignatureError) as said:
        parse_bundle(content, key)
    with pytest.raises(native_error) as found:
        native.open_bundle(content, key)
    assert found.value.status == E_SIGNATURE
    assert str(found.value) == str(said.value)
    return str(found.value)


def test_a_signed_bundle_opens_with_its_key_alone(
    native, native_error, signed, tiny_bundle, maker
) -> None:
    public = maker[2]
    native.call("xedge_bundle_close", native.open_bundle(signed))
    other = signing.public_key_of(bytes(range(32)))
    assert "another key" in refused_alike(native, native_error, signed, other)
    unsigned = tiny_bundle.read_bytes()
    assert "not signed" in refused_alike(native, native_error, unsigned, public)


def test_a_changed_manifest_is_refused_before_it_is_parsed(
    native, native_error, signed, maker, tmp_path
) -> None:
    parts = members(signed, tmp_path)
    manifest = json.loads(parts["manifest.json"])
    manifest["spec"]["score_threshold"] = 0.9
    for head in (json.dumps(manifest).encode(), b"no JSON"):
        content = pack(parts | {"manifest.json": head})
        assert "was changed" in refused_alike(native, native_error, content, maker[2])


def test_a_changed_member_is_refused_though_the_signature_is_right(
    native, native_error, signed, maker, tmp_path
) -> None:
    parts = members(signed, tmp_path)
    content = pack(parts | {"LICENCE": b"do what you like"})
    with pytest.raises(native_error, match="sha256 of LICENCE"):
        native.open_bundle(content, maker[2])


@settings(max_examples=60)
@given(data=st.data())
def test_any_other_signature_or_key_is_refused_by_both(
    native, native_error, signed, maker, tmp_path_factory, data
) -> None:
    parts = members(signed, tmp_path_factory.getbasetemp())
    signature, key = bytearray(parts["signature"]), bytearray(maker[2])
    changed = data.draw(st.sampled_from([signature, key]))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        signature = signature[: data.draw(st.integers(0, 63))]
    content = pack(parts | {"signature": bytes(signature)})
    refused_alike(native, native_error, content, bytes(key))


def test_keys_are_read_from_the_same_files(native, native_error, maker, tmp_path) -> None:
    assert native.public_key(maker[0]) == maker[2]
    if shutil.which("openssl"):
        made = tmp_path / "openssl.pub"
        subprocess.run(
            ["openssl", "pkey", "-in", maker[0].with_suffix(".key"), "-pubout", "-out", made],
            check=True,
        )
        assert native.public_key(made) == maker[2]


def test_other_files_are_refused_in_the_same_words(native, native_error, maker, tmp_path) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import x25519

    other = x25519.X25519PrivateKey.generate().public_key()
    pem, info = form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    files = {
        "private": maker[0].with_suffix(".key").read_bytes(),
        "nothing": b"",
        "text": b"secret " * 10,
        "large": bytes(20_000),
        "x25519": other.public_bytes(pem, info),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for path in (*(tmp_path / name for name in files), tmp_path / "none", tmp_path):
        with pytest.raises(SignatureError) as said:
            signing.read_public_key(path)
        with pytest.raises(native_error) as found:
            native.public_key(path)
        assert found.value.status == E_SIGNATURE
        # The kind of another key has a name in Python alone.
        wanted = str(said.value).replace("X25519PublicKey", "another")
        assert str(found.value) == wanted
