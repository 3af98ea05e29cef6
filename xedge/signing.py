"""Ed25519 signatures over bytes, and the files of their keys; the package cryptography does both.

A private key is a file in PKCS#8 PEM that only its owner may read, a public key one in PEM, as
``openssl pkey`` writes and reads them. Nothing of a private key is ever put into a message.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from xedge.errors import SignatureError

LARGEST_KEY: Final = 16 * 2**10
"""Bytes of a key's file; a real one has some hundred."""


def sign(message: bytes, private_key: bytes) -> bytes:
    """The signature of ``message``, 64 bytes.

    Args:
        message: Any bytes.
        private_key: 32 raw bytes of an Ed25519 key.

    Raises:
        SignatureError: When the key cannot be used, or cryptography is not installed.
    """
    ed25519 = _ed25519()
    try:
        return bytes(ed25519.Ed25519PrivateKey.from_private_bytes(private_key).sign(message))
    except ValueError as error:
        raise SignatureError("the private key cannot be used", expected="32 raw bytes of Ed25519",
                             found=f"{len(private_key)} bytes") from error  # fmt: skip


def verify(message: bytes, signature: bytes | None, public_key: bytes) -> None:
    """Return nothing when ``signature`` is that of ``message`` by the owner of ``public_key``.

    Raises:
        SignatureError: When it is absent or is not, or when that cannot be found out.
    """
    if signature is None:
        raise SignatureError(
            "the bundle is not signed",
            expected="a signature by the key that was given",
            found="none",
            remedy="Get a signed bundle from its maker",
        )
    ed25519 = _ed25519()
    from cryptography.exceptions import InvalidSignature

    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError as error:
        raise SignatureError("the public key cannot be used", expected="32 raw bytes of Ed25519",
                             found=f"{len(public_key)} bytes") from error  # fmt: skip
    try:
        key.verify(signature, message)
    except InvalidSignature as error:
        raise SignatureError(
            "the signature of the bundle does not verify",
            expected="a signature by the key that was given, over this very manifest",
            found="one by another key, or a bundle that was changed",
            remedy="Do not use it: get it again from its maker",
        ) from error


def public_key_of(private_key: bytes) -> bytes:
    """The 32 raw bytes of the public key that belongs to those of a private one."""
    key = _ed25519().Ed25519PrivateKey.from_private_bytes(private_key)
    return bytes(key.public_key().public_bytes_raw())


def new_key(private: Path, public: Path, passphrase: str = "") -> None:
    """Make a pair of keys and write them to files that must not be there yet.

    Args:
        private: Of the private key, PEM; readable by its owner alone (mode 0600).
        public: Of the public key, PEM.
        passphrase: What encrypts the private key; empty leaves it readable.

    Raises:
        SignatureError: When a file is there or cannot be written, or cryptography is missing.
    """
    ed25519 = _ed25519()
    from cryptography.hazmat.primitives import serialization as form

    for path in (private, public):
        if path.exists():
            raise SignatureError(
                f"{path} is there already", expected="no such file",
                remedy="Choose another name: a key that is replaced is lost",
            )  # fmt: skip
    key = ed25519.Ed25519PrivateKey.generate()
    lock = form.BestAvailableEncryption(passphrase.encode()) if passphrase else form.NoEncryption()
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock)
    shown = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    _write(private, secret, 0o600)
    _write(public, shown, 0o644)


def read_private_key(path: Path, ask: Callable[[], str]) -> bytes:
    """The 32 raw bytes of the private key in a PEM file.

    Args:
        path: The file; nobody but its owner may have access.
        ask: Gives the passphrase, where the file is encrypted.

    Raises:
        SignatureError: When there is no such key, others may read it, the passphrase is wrong, or
            cryptography is missing.
    """
    ed25519 = _ed25519()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path, "private")
    if os.name == "posix" and (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
        raise SignatureError(
            f"others than its owner have access to the private key {path}",
            expected="mode 0600",
            found=f"{mode:04o}",
            remedy=f"Run: chmod 600 {path}; make a new key when somebody may have read it",
        )
    locked = b"ENCRYPTED" in content
    try:
        key = load_pem_private_key(content, ask().encode() if locked else None)
    except (ValueError, TypeError) as error:
        # The library's own message is not passed on: it may quote what it was given.
        raise SignatureError(
            f"the private key {path} cannot be used",
            expected="the passphrase that it was made with" if locked else "PKCS#8 in PEM",
            found="another one, or a damaged file" if locked else "something else",
        ) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise _other_kind(path, key)
    return bytes(key.private_bytes_raw())


def read_public_key(path: Path) -> bytes:
    """The 32 raw bytes of the public key in a PEM file.

    Raises:
        SignatureError: When there is no such key, or cryptography is missing.
    """
    ed25519 = _ed25519()
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read(path, "public")
    if b"PRIVATE" in content:
        raise SignatureError(
            f"{path} holds a private key",
            expected="the public key that belongs to it",
            remedy="Name the .pub file; a private key has no business on a device",
        )
    try:
        key = load_pem_public_key(content)
    except ValueError as error:
        raise SignatureError(f"the public key {path} cannot be used", expected="PEM",
                             found="something else") from error  # fmt: skip
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise _other_kind(path, key)
    return bytes(key.public_bytes_raw())


def _other_kind(path: Path, key: object) -> SignatureError:
    return SignatureError(
        f"the key in {path} is of another kind",
        expected="Ed25519",
        found=type(key).__name__.strip("_"),
        remedy="Make one with `xedge sign --new-key NAME`",
    )


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_KEY + 1)
    except OSError as error:
        raise SignatureError(
            f"the {what} key {path} cannot be read",
            found=error.strerror or str(error),
            remedy="Check the path, or make a pair with `xedge sign --new-key NAME`",
        ) from error
    if len(content) > LARGEST_KEY:
        raise SignatureError(
            f"{path} is too large for a key", expected=f"at most {LARGEST_KEY >> 10} KiB"
        )
    return content


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is not there yet; it never has another mode, not even for a moment."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        raise SignatureError(
            f"the key {path} cannot be written",
            found=error.strerror or str(error),
            remedy="Choose another name with --new-key",
        ) from error


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise SignatureError(
            "signatures cannot be handled without the package cryptography",
            remedy="Run: pip install 'xedge[signing]'",
        ) from error
    return ed25519
