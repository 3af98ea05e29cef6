"""Keys and their files: made, read back, and refused where they are not what they should be."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="the extra `signing`")

from xedge import signing
from xedge.errors import SignatureError


def never() -> str:
    raise AssertionError("nobody is to be asked")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    private, public = tmp_path / "maker.key", tmp_path / "maker.pub"
    signing.new_key(private, public)
    return private, public


def test_what_one_key_signs_its_other_half_verifies(pair) -> None:
    private, public = signing.read_private_key(pair[0], never), signing.read_public_key(pair[1])
    assert signing.public_key_of(private) == public
    signature = signing.sign(b"a manifest", private)
    assert len(signature) == 64
    signing.verify(b"a manifest", signature, public)
    for message, wrong in ((b"another", signature), (b"a manifest", bytes(64))):
        with pytest.raises(SignatureError, match="does not verify"):
            signing.verify(message, wrong, public)


def test_the_private_key_is_for_its_owner_alone(pair) -> None:
    private, public = pair
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) & 0o077 == 0o044
    private.chmod(0o640)
    with pytest.raises(SignatureError, match=r"0600, found 0640.*chmod 600"):
        signing.read_private_key(private, never)


def test_a_passphrase_is_asked_for(tmp_path: Path) -> None:
    private, public = tmp_path / "k", tmp_path / "p"
    signing.new_key(private, public, "correct horse")
    key = signing.read_private_key(private, lambda: "correct horse")
    assert signing.public_key_of(key) == signing.read_public_key(public)
    with pytest.raises(SignatureError, match="found another one") as error:
        signing.read_private_key(private, lambda: "wrong donkey")
    assert "donkey" not in str(error.value)
    with pytest.raises(SignatureError, match="cannot be used"):
        signing.read_private_key(private, lambda: "")


def test_a_key_is_never_replaced(pair) -> None:
    private, public = pair
    before = private.read_bytes()
    for names in ((private, public.with_name("other")), (private.with_name("other"), public)):
        with pytest.raises(SignatureError, match="is there already"):
            signing.new_key(*names)
    assert private.read_bytes() == before
    assert sorted(p.name for p in private.parent.iterdir()) == ["maker.key", "maker.pub"]


def test_other_files_are_refused_and_not_quoted(pair, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import x25519

    other = tmp_path / "x25519"
    key = x25519.X25519PrivateKey.generate()
    pem = form.Encoding.PEM
    other.write_bytes(key.private_bytes(pem, form.PrivateFormat.PKCS8, form.NoEncryption()))
    other.chmod(0o600)
    with pytest.raises(SignatureError, match="of another kind: expected Ed25519"):
        signing.read_private_key(other, never)
    with pytest.raises(SignatureError, match="holds a private key"):
        signing.read_public_key(other)
    other.write_bytes(key.public_key().public_bytes(pem, form.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(SignatureError, match="of another kind"):
        signing.read_public_key(other)
    other.write_bytes(b"secret " * 10)
    for read in (lambda: signing.read_private_key(other, never),
                 lambda: signing.read_public_key(other)):  # fmt: skip
        with pytest.raises(SignatureError, match="cannot be used") as error:
            read()
        assert "secret" not in str(error.value)
    other.write_bytes(bytes(20_000))
    with pytest.raises(SignatureError, match="too large"):
        signing.read_public_key(other)
    with pytest.raises(SignatureError, match="cannot be read"):
        signing.read_public_key(tmp_path / "none")
    with pytest.raises(SignatureError, match="cannot be written"):
        signing.new_key(tmp_path / "no" / "a", tmp_path / "no" / "b")


def test_without_the_package_its_extra_is_named(pair, monkeypatch) -> None:
    for name in [n for n in __import__("sys").modules if n.startswith("cryptography")]:
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(SignatureError, match=r"xedge\[signing\]"):
        signing.read_public_key(pair[1])
