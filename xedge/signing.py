"""Ed25519 signatures over bytes; the package cryptography (extra ``signing``) does the work."""

from __future__ import annotations

from typing import Any

from xedge.errors import SignatureError


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


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise SignatureError(
            "signatures cannot be handled without the package cryptography",
            remedy="Run: pip install 'xedge[signing]'",
        ) from error
    return ed25519
