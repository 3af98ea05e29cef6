"""Who may speak with a lane over OPC UA.

Trust is by certificate: a folder holds those of the peers, as every OPC UA server has one, and a
peer is whoever proves to own the key of one of them. It is read at every new session, so that a
PLC can be added, or thrown out, while the lane runs.

asyncua alone does not keep strangers out (seen in 2.1.0): a server that offers only SignAndEncrypt
still opens a channel without security, its certificate validator sees only the certificate that a
client names, not the one that the channel proved, and a session may be taken over on another
channel by whoever guesses its number, which is counted up. `Gate` and `guarded_server` close this.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xedge.control.bus import Secret, require_private
from xedge.errors import ConfigError

if TYPE_CHECKING:
    from asyncua.crypto.permission_rules import User
    from asyncua.server.internal_server import InternalServer
    from cryptography.x509 import Certificate

LOG: Final = logging.getLogger("xedge.opcua")

SUFFIXES: Final = frozenset({".der", ".pem", ".crt", ".cer"})
"""Of the files in a folder of certificates that are read."""

MOST_CONNECTIONS: Final = 32
"""TCP connections at once: a lane has a PLC and some screens as its peers."""

MOST_SILENT_S: Final = 20.0
"""Seconds in which a new connection must have proved who it is; a small PLC needs some for RSA."""

QUIET_S: Final = 60.0
"""Seconds in which a reason for turning clients away is told once: a client tries all the time."""


@dataclass(frozen=True)
class Identity:
    """A certificate with its private key.

    Attributes:
        certificate: As the library has it.
        key: Its RSA key.
        uri: The application's name, from the certificate.
    """

    certificate: Certificate
    key: Any = field(repr=False)
    uri: str

    def der(self) -> bytes:
        """The certificate as OPC UA sends it."""
        return der(self.certificate)

    def key_der(self) -> bytes:
        """The private key, without a password, for the library alone."""
        from cryptography.hazmat.primitives import serialization

        secret: bytes = self.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )  # fmt: skip
        return secret


def _certificate(data: bytes) -> Certificate:
    from cryptography import x509

    pem = data.lstrip().startswith(b"-----")
    return x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)


def der(certificate: Certificate) -> bytes:
    """The certificate as the bytes that OPC UA sends."""
    from cryptography.hazmat.primitives.serialization import Encoding

    data: bytes = certificate.public_bytes(Encoding.DER)
    return data


def load_identity(certificate: Path, private_key: Path, password: Secret | None) -> Identity:
    """A certificate with its private key, PEM or DER.

    Raises:
        ConfigError: When they cannot be read, do not belong together, have no application URI, or
            others may read the key.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        require_private(private_key)
        data = private_key.read_bytes()
        pem = data.lstrip().startswith(b"-----")
        load = serialization.load_pem_private_key if pem else serialization.load_der_private_key
        key = load(data, password.reveal().encode() if password else None)
        ours = _certificate(certificate.read_bytes())
        names = ours.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except ConfigError:
        raise
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise ConfigError(
            f"opcua: {certificate} and {private_key} cannot be used",
            expected="a certificate with an application URI, its key, and the key's password",
            found=type(error).__name__, remedy="See docs/control/opcua.md for how to make them",
        ) from error  # fmt: skip
    if not uris or ours.public_key() != key.public_key():
        raise ConfigError(
            f"opcua: {certificate} does not belong to {private_key}"
            if uris else f"opcua: {certificate} has no application URI in its alternative names",
            remedy="See docs/control/opcua.md for how to make them",
        )  # fmt: skip
    return Identity(ours, key, uris[0])


class Trusted:
    """The certificates in a folder.

    Args:
        folder: Files .der, .pem, .crt or .cer; others are left alone.

    Raises:
        ConfigError: When there is no such folder, or no certificate in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if not self._read():
            raise ConfigError(
                f"opcua: nobody is trusted: {folder} holds no certificate",
                expected="files .der, .pem, .crt or .cer",
                remedy="Put the certificate of each PLC there",
            )

    def __str__(self) -> str:
        return str(self._folder)

    def _read(self) -> dict[bytes, Certificate]:
        found: dict[bytes, Certificate] = {}
        paths = self._folder.iterdir() if self._folder.is_dir() else ()
        for path in paths:
            if path.suffix.lower() in SUFFIXES:
                try:
                    certificate = _certificate(path.read_bytes())
                except (OSError, ValueError):
                    continue  # half written, or no certificate: trusts nobody
                found[der(certificate)] = certificate
        return found

    def trusts(self, certificate: bytes | None) -> bool:
        """True for a certificate (DER) that lies in the folder and is valid today."""
        return not self.objection(certificate)

    def objection(self, certificate: bytes | None) -> str:
        """Why a certificate (DER) is not trusted; empty for one that is."""
        if not certificate:
            return "it showed no certificate"
        found = self._read().get(certificate)
        if found is None:
            return f"its certificate is not in {self._folder}"
        now = datetime.datetime.now(datetime.timezone.utc)
        if not found.not_valid_before_utc <= now <= found.not_valid_after_utc:
            return "its certificate is not valid today, by this machine's clock"
        return ""


class Gate:
    """Decides about every session, from what its channel has proved.

    Args:
        trusted: The peers; None lets everybody in.
        user: The name that is asked for as well; empty for none.
        password: Its password.
        clock: Seconds, for how often the log is told.
    """

    def __init__(
        self,
        trusted: Trusted | None,
        user: str,
        password: Secret | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trusted, self._user, self._password = trusted, user, password
        self._clock = clock
        self._told: dict[str, float] = {}
        self._kept_back: dict[str, int] = {}

    @property
    def asks_for_user(self) -> bool:
        """True when a user name is asked for."""
        return bool(self._user)

    def get_user(
        self,
        iserver: InternalServer,
        username: str | None = None,
        password: str | None = None,
        certificate: bytes | None = None,
    ) -> User | None:
        """The user of a session, or None to turn it away; asyncua calls it."""
        from asyncua.crypto.permission_rules import User, UserRole

        if self._objects_to(certificate):
            return None
        if self._user:
            right = self._password.reveal() if self._password else ""
            pairs = ((username or "", self._user), (password or "", right))
            same = [hmac.compare_digest(a.encode(), b.encode()) for a, b in pairs]
            if not all(same):
                # Never which of the two, nor the name: people type passwords into that field.
                self._tell("its user name or password is wrong", certificate)
                return None
        return User(role=UserRole.User, name=username)

    async def validate(self, certificate: Certificate, description: object) -> None:
        """Return nothing for a certificate that is trusted; asyncua calls it with the one named.

        It only gives strangers the right word early: `get_user` decides.
        """
        from asyncua import ua
        from asyncua.common.utils import ServiceError

        if self._objects_to(der(certificate)):
            raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)

    def _objects_to(self, certificate: bytes | None) -> bool:
        objection = self._trusted.objection(certificate) if self._trusted is not None else ""
        if objection:
            self._tell(objection, certificate)
        return bool(objection)

    def _tell(self, objection: str, certificate: bytes | None) -> None:
        """Write into the log why a client was turned away, each reason once in `QUIET_S`."""
        now = self._clock()
        if now - self._told.get(objection, -QUIET_S) < QUIET_S:
            self._kept_back[objection] = self._kept_back.get(objection, 0) + 1
            return
        self._told[objection] = now
        # The thumbprint, as the tools of OPC UA show it, and nothing that a stranger has written.
        thumb = f", thumbprint {hashlib.sha1(certificate).hexdigest()}" if certificate else ""
        more = self._kept_back.pop(objection, 0)
        LOG.warning(
            "OPC UA: a client was turned away: %s%s%s",
            objection, thumb, f" ({more} more since the last such line)" if more else "",
        )  # fmt: skip


def guarded_server(gate: Gate) -> InternalServer:
    """The inner server of asyncua behind a gate, with what it leaves open closed."""
    from asyncua import ua
    from asyncua.common.utils import ServiceError
    from asyncua.server.internal_server import InternalServer

    class Guarded(InternalServer):  # type: ignore[misc]  # asyncua's types are not looked at
        def lookup_external_session(self, auth_token: ua.NodeId) -> None:
            """None: a session lives and dies with its channel, and nobody takes it over."""

        def register_server(self, server: Any, conf: Any = None) -> None:
            """Never: without a session, strangers could fill the list of known servers."""
            raise ServiceError(ua.StatusCodes.BadServiceUnsupported)

    server = Guarded(user_manager=gate)
    server.certificate_validator = gate.validate
    server.allow_remote_admin = False
    server.max_connections = MOST_CONNECTIONS
    server.max_pending_activation_seconds = MOST_SILENT_S
    # A user name only where one is asked for, and never the certificate of a person: `get_user`
    # must see that of the channel.
    server.supported_tokens = (
        ua.UserNameIdentityToken if gate.asks_for_user else ua.AnonymousIdentityToken,
    )
    return server
