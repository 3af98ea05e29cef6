"""The rig of OPC UA: a lane that serves and a PLC that is its client, with certificates."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from xedge.control.bus import Secret
from xedge.control.opcua import OpcUaBus, OpcUaOptions, OpcUaPort
from xedge.errors import BusError

PASSWORD = "another-word-that-nobody-may-print"
PATIENCE_S = 60.0


@cache
def identity(name: str) -> tuple[bytes, bytes]:
    """A certificate (DER) and its key (PEM), made once for all tests."""
    from asyncua.crypto import cert_gen
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    key = cert_gen.generate_private_key()
    usage = [x509.ExtendedKeyUsageOID.CLIENT_AUTH, x509.ExtendedKeyUsageOID.SERVER_AUTH]
    uri = x509.UniformResourceIdentifier(f"urn:test:{name}")
    made = cert_gen.generate_self_signed_app_certificate(key, name, {}, [uri], usage)
    return made.public_bytes(Encoding.DER), cert_gen.dump_private_key_as_pem(key)


class Site:
    """A folder of keys, and a free port for a lane.

    Args:
        folder: Where they go.
    """

    def __init__(self, folder: Path) -> None:
        pytest.importorskip("asyncua", reason="asyncua (extra `opcua`) is not installed")
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])

    def options(self, name: str, *trusted: str, **changes: object) -> OpcUaOptions:
        """The options of an end of this name that trusts these others."""
        mine = self._folder / f"of-{name}"
        (mine / "trusted").mkdir(parents=True, exist_ok=True)
        certificate, key = identity(name)
        (mine / "certificate.der").write_bytes(certificate)
        (mine / "key.pem").touch(0o600)
        (mine / "key.pem").write_bytes(key)
        for other in trusted:
            (mine / "trusted" / f"{other}.der").write_bytes(identity(other)[0])
        reach = {"port": self.port, "certificate": mine / "certificate.der",
                 "private_key": mine / "key.pem", "trusted": mine / "trusted", "user": "plc",
                 "password": Secret("the test", PASSWORD), "timeout_s": PATIENCE_S}  # fmt: skip
        return OpcUaOptions(**{**reach, **changes})


class QuickBus(OpcUaBus):
    """A lane whose 6,000 nodes are made without the garbage collector, which doubles the time."""

    def connect(self) -> None:
        gc.disable()
        try:
            super().connect()
        finally:
            gc.enable()


class RestartingBus(QuickBus):
    """A lane whose server goes down when it is told to, and is started anew by its link."""

    def __init__(self, options: OpcUaOptions) -> None:
        super().__init__(options)
        self.down = False
        self.starts = 0

    def connect(self) -> None:
        self._check()
        super().connect()
        self.starts += 1

    def write(self, image: bytes) -> None:
        self._check()
        super().write(image)

    def read(self) -> bytes:
        self._check()
        return super().read()

    def _check(self) -> None:
        if self.down:
            raise BusError("the server is down")


@contextmanager
def opcua(tmp_path: Path) -> Iterator[SimpleNamespace]:
    site = Site(tmp_path)
    bus = QuickBus(site.options("lane", "plc"))
    port = OpcUaPort(site.options("plc", "lane"))
    port.connect()
    try:
        yield SimpleNamespace(bus=bus, port=port, serves=True, secrets=(PASSWORD,))
    finally:
        port.close()
        bus.close()


RIGS = {"opcua": opcua}
