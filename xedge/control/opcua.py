"""OPC UA: the lane is the server, a PLC or a control room is its client.

One variable holds the decision image as an array of 97 words and one takes the command image as
19; OPC UA reads and writes a value as a whole, so neither can be torn. Who may connect is decided
by certificate (`xedge.control.opcua_gate`); the image cannot be written by anybody. With the
nodeset of the companion specification Machine Vision the lane speaks that too (`opcua_vision`).

asyncua runs in an event loop in a thread of its own; the bus waits for it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import importlib
import logging
import math
import socket
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from xedge.control.bus import Claim, Secret, fit, listening, require_option
from xedge.control.commands import COMMAND_BYTES
from xedge.control.image import IMAGE_BYTES
from xedge.control.opcua_gate import Gate, Identity, Trusted, load_identity
from xedge.control.opcua_server import NAMESPACE, LaneServer
from xedge.control.words import to_bytes, to_words
from xedge.errors import BusError, BusNotInstalled, BusRefused, XedgeError

if TYPE_CHECKING:
    from asyncua import Client

SECURED: Final = "sign-and-encrypt"
OPEN: Final = "none"

START_S: Final = 60.0
"""Seconds in which a server must stand; it makes some 6,000 nodes, which takes a slow CPU long."""

REDIAL_S: Final = 0.2
"""Seconds after a failed attempt in which a PLC's end does not try to find the lane again."""

END_S: Final = 10.0
"""Seconds after which a thread that does not end is left behind."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class OpcUaOptions:
    """Where a lane serves, and with which certificates. Each end has its own.

    Attributes:
        host: Address at which the lane listens; 0.0.0.0 for all of the machine's.
        port: TCP port there.
        security: ``sign-and-encrypt`` (Basic256Sha256), or ``none`` for a bench without secrets.
        certificate: This end's certificate (PEM or DER), with an application URI.
        private_key: Its RSA key (PEM or DER), readable by its owner alone.
        key_password: The key's password; None when it has none.
        trusted: Folder with the certificates of those who may be at the other end.
        user: A user name that is asked for as well; empty for none.
        password: Its password.
        vision_nodeset: The user's own copy of Opc.Ua.MachineVision.NodeSet2.xml, for a lane that
            speaks the companion specification as well; None for one that does not.
        expiry_s: Seconds after which an image that was not renewed turns to zeros.
        timeout_s: Seconds that one call may take. Nothing of the lane's end waits for a network,
            and a server that was given up takes seconds to start again: keep it long.

    Raises:
        ConfigError: When one of them cannot be used.
    """

    host: str = "127.0.0.1"
    port: int = 4840
    security: str = SECURED
    certificate: Path | None = None
    private_key: Path | None = None
    key_password: Secret | None = None
    trusted: Path | None = None
    user: str = ""
    password: Secret | None = None
    vision_nodeset: Path | None = None
    expiry_s: float = 5.0
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        require = partial(require_option, "opcua")
        require(bool(self.host), "host", "a name or an address", "nothing")
        require(0 < self.port < 65536, "port", "1 to 65535", self.port)
        require(self.security in (SECURED, OPEN), "security", f"{SECURED} or {OPEN}", self.security)
        for name in ("expiry_s", "timeout_s"):
            value = getattr(self, name)
            require(math.isfinite(value) and value > 0, name, "above 0", value)
        require((self.password is None) == (not self.user), "password", "a user with a password",
                "one of the two")  # fmt: skip
        for name in ("certificate", "private_key", "trusted"):
            if self.security == SECURED:
                require(getattr(self, name) is not None, name, f"a path, with {SECURED}", "none")
        require(self.security == SECURED or self.password is None, "password",
                f"security {SECURED}, or it would cross the network in the clear",
                self.security)  # fmt: skip

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What no other bus of the lane may have: the port it listens at."""
        return (listening(self.host, self.port),)


class _Loop:
    """An event loop in a thread of its own, for a caller that waits."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T], limit_s: float) -> T:
        """What the coroutine returns.

        Raises:
            TimeoutError: When it took longer; it is cancelled then.
        """
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(limit_s)
        except concurrent.futures.TimeoutError as error:  # before 3.11 it is no TimeoutError
            future.cancel()
            raise TimeoutError("no answer in time") from error

    def end(self) -> None:
        """Cancel what runs and end the thread; one that hangs is left behind."""

        async def finish() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0)  # connections that were closed are let go in the next round
            await self._loop.shutdown_default_executor()

        with contextlib.suppress(TimeoutError):
            self.call(finish(), END_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_S)
        if not self._thread.is_alive():
            self._loop.close()


class _End:
    """What both ends have: options, certificates, and a loop while they are connected."""

    def __init__(self, options: OpcUaOptions) -> None:
        self.options = options
        try:
            importlib.import_module("asyncua")
        except ModuleNotFoundError as error:
            raise BusNotInstalled("OPC UA needs the package asyncua",
                                  remedy="Run: pip install 'xedge[opcua]'") from error  # fmt: skip
        self._identity: Identity | None = None
        self._trusted: Trusted | None = None
        if options.certificate and options.private_key and options.trusted:
            self._identity = load_identity(
                options.certificate, options.private_key, options.key_password
            )
            self._trusted = Trusted(options.trusted)
        self._loop: _Loop | None = None

    def __str__(self) -> str:
        return f"OPC UA at {self.options.host}:{self.options.port}"

    def _wait(self, coroutine: Coroutine[Any, Any, T], doing: str, limit_s: float = 0.0) -> T:
        if self._loop is None:
            coroutine.close()
            raise BusError(f"{self}: not connected", remedy="Call connect() first")
        try:
            return self._loop.call(coroutine, limit_s or self.options.timeout_s)
        except XedgeError:
            raise
        except Exception as error:  # asyncua raises its own, asyncio's and those of sockets
            raise self._mapped(error, doing) from error

    def _mapped(self, error: Exception, doing: str) -> BusError:
        from asyncua import ua

        name = type(error).__name__
        if isinstance(error, ua.UaStatusCodeError) and name.startswith(
            ("BadCertificate", "BadSecurity", "BadUser", "BadIdentity", "BadNotWritable")
        ):
            return BusRefused(
                f"{self}: {doing}", found=name,
                remedy="Check certificate, user and password, and whom the other end trusts",
            )  # fmt: skip
        said = getattr(error, "strerror", None) or name
        return BusError(f"{self}: {doing}", found=said,
                        remedy="Check that the other end runs, and the address")  # fmt: skip


class OpcUaBus(_End):
    """The lane's end: a server.

    Args:
        options: Where to listen, and whom to trust.

    Raises:
        BusNotInstalled: When asyncua is absent.
        ConfigError: When a certificate, key or folder cannot be used.
    """

    def __init__(self, options: OpcUaOptions) -> None:
        super().__init__(options)
        self._server: LaneServer | None = None

    def connect(self) -> None:
        """Serve; see `xedge.control.bus.Bus.connect`. It needs no PLC."""
        if self._server is not None:
            return
        options = self.options
        try:  # before seconds of work, which every further attempt would repeat
            socket.create_server((options.host, options.port)).close()
        except OSError as error:
            raise BusError(
                f"{self}: cannot listen there", found=error.strerror or str(error),
                remedy="Name an address of this machine and a free port",
            ) from error  # fmt: skip
        gate = Gate(self._trusted, options.user, options.password)
        self._loop = _Loop(f"xedge-{self}")
        self._server = LaneServer(options, gate, self._identity)
        try:
            self._wait(self._server.start(), "the server did not start", START_S)
        except BaseException:
            self.close()
            raise

    def write(self, image: bytes) -> None:
        """Put an image where clients read it; see `xedge.control.bus.Bus.write`."""
        self._wait(self._serving().show(image), "the image was not shown")

    def read(self) -> bytes:
        """The commands that a client wrote last; see `xedge.control.bus.Bus.read`."""
        return fit(self._serving().commands, COMMAND_BYTES)

    def _serving(self) -> LaneServer:
        if self._server is None:
            raise BusError(f"{self}: not connected", remedy="Call connect() first")
        return self._server

    def close(self) -> None:
        """Turn all clients away and stop serving."""
        server, self._server = self._server, None
        loop, self._loop = self._loop, None
        if loop is None or server is None:
            return
        with contextlib.suppress(Exception):  # whatever a library raises while it ends: it ends
            loop.call(server.stop(), self.options.timeout_s)
        loop.end()


class OpcUaPort(_End):
    """The PLC's end: a client, which finds the lane when it first reads or writes.

    Args:
        options: Where the lane serves, this end's own certificate, and the lane's in `trusted`.

    Raises:
        BusNotInstalled: When asyncua is absent.
        ConfigError: When a certificate, key or folder cannot be used.
    """

    def __init__(self, options: OpcUaOptions) -> None:
        super().__init__(options)
        self._ready = False
        self._dial_at = -math.inf
        self._failed = BusError("never tried")
        self._client: Client | None = None
        self._image: Any = None
        self._commands: Any = None

    def connect(self) -> None:
        """Be ready; the lane, which is the server, need not be there yet."""
        self._ready = True

    def _dial(self) -> None:
        """Find the lane, unless that was done."""
        if self._loop is not None or not self._ready:
            return
        if time.monotonic() < self._dial_at:  # a PLC scans every few milliseconds
            raise BusError(f"{self}: the lane was not reached a moment ago",
                           found=self._failed.found or self._failed.what,
                           remedy=self._failed.remedy)  # fmt: skip
        log = logging.getLogger("asyncua.client")
        if (
            log.getEffectiveLevel() < logging.INFO
        ):  # below it writes every request, password and all
            log.setLevel(logging.INFO)
        self._loop = _Loop(f"xedge-port-{self}")
        try:
            self._wait(self._open(), "the lane cannot be reached")
        except BaseException as error:
            self._hang_up()
            self._dial_at = time.monotonic() + REDIAL_S
            if isinstance(error, BusError):
                self._failed = error
            raise

    async def _open(self) -> None:
        from asyncua import Client, ua
        from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
        from asyncua.crypto.uacrypto import CertProperties

        options, identity = self.options, self._identity
        url = f"opc.tcp://{options.host}:{options.port}/xedge"
        client = Client(url, timeout=options.timeout_s)
        client.session_timeout = 60_000
        if identity is not None:
            client.application_uri = identity.uri
            server = await self._server_certificate(url)
            await client.set_security(
                SecurityPolicyBasic256Sha256,
                CertProperties(identity.der()),
                CertProperties(identity.key_der()),
                server_certificate=CertProperties(server),
                mode=ua.MessageSecurityMode.SignAndEncrypt,
            )
        if options.user and options.password is not None:
            client.set_user(options.user)
            client.set_password(options.password.reveal())
        self._client = client
        await client.connect()
        index = await client.get_namespace_index(NAMESPACE)
        self._image = client.get_node(ua.NodeId("Image", index))
        self._commands = client.get_node(ua.NodeId("Commands", index))

    async def _server_certificate(self, url: str) -> bytes:
        """The certificate of the lane, when it is one of those that this end trusts."""
        from asyncua import Client, ua

        endpoints = await Client(url, self.options.timeout_s).connect_and_get_server_endpoints()
        for endpoint in endpoints:
            if endpoint.SecurityMode == ua.MessageSecurityMode.SignAndEncrypt:
                found = bytes(endpoint.ServerCertificate or b"")
                if self._trusted is None or self._trusted.trusts(found):
                    return found
        raise BusRefused(
            f"{self}: the lane's certificate is not trusted",
            expected=f"one of those in {self._trusted}", found="another one, or an expired one",
            remedy="Put the lane's certificate there",
        )  # fmt: skip

    def read(self) -> bytes:
        """The image in the lane's nodes; see `xedge.control.bus.PlcPort.read`."""

        async def words() -> Any:
            return await self._image.read_value()

        self._dial()
        return fit(to_bytes(self._wait(words(), "the image cannot be read")), IMAGE_BYTES)

    def write(self, commands: bytes) -> None:
        """Write commands into the lane's nodes; see `xedge.control.bus.PlcPort.write`."""

        async def write() -> None:
            from asyncua import ua

            await self._commands.write_value(
                ua.DataValue(ua.Variant(list(to_words(commands)), ua.VariantType.UInt16))
            )

        self._dial()
        self._wait(write(), "the commands were not taken")

    def close(self) -> None:
        """End the session."""
        self._ready = False
        self._hang_up()

    def _hang_up(self) -> None:
        client, self._client = self._client, None
        loop, self._loop = self._loop, None
        if loop is None:
            return
        if client is not None:
            with contextlib.suppress(Exception):  # the lane may be gone: no reason to stay
                loop.call(self._leave(client), self.options.timeout_s)
        loop.end()

    async def _leave(self, client: Client) -> None:
        wire = client.uaclient.protocol
        try:
            await asyncio.wait_for(client.disconnect(), self.options.timeout_s / 2)
        finally:  # politely or not
            if wire is not None and wire.transport is not None:
                wire.transport.abort()
