"""Siemens S7: the lane is the client, and the images are blocks of bytes in data blocks of the PLC.

One request writes the decision image: it fits in the smallest PDU that an S7 offers (240 bytes),
and a PLC takes the bytes of one request between two scans of its program. With every look at the
commands the lane reads its image back: another client that writes there, and a PLC that has lost
its memory, show as an error, and the image is written again. Words are high byte first, as an S7
keeps them: the PLC sees an ``ARRAY OF WORD``.

Of python-snap7 the connection and the protocol are used, not its `Client`, which would cut an image
that does not fit into several requests, waits five seconds whatever one says, and repeats.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from xedge.control.bus import Claim, fit, machine, overwritten, require_option
from xedge.control.commands import COMMAND_BYTES
from xedge.control.image import IMAGE_BYTES
from xedge.errors import BusError, BusNotInstalled, BusRefused

if TYPE_CHECKING:
    from snap7.connection import ISOTCPConnection
    from snap7.s7protocol import S7Protocol
    from snap7.server import Server

WRITE_OVERHEAD: Final = 35
"""Bytes of a write request beside its data."""
WANTED_PDU: Final = 480
MOST_STALE: Final = 3
"""Answers to requests of before that one exchange passes over."""
NO_ACCESS: Final = 0x03
NO_OBJECT: Final = (0x05, 0x0A)
DONE: Final = 0xFF


@dataclass(frozen=True, kw_only=True)
class S7Options:
    """Where a PLC keeps the images.

    Attributes:
        host: Address of the PLC.
        port: Its TCP port.
        rack: Its rack.
        slot: Slot of its CPU: 1 for an S7-1200 or 1500, 2 for most S7-300.
        image_db: Number of the data block that the lane writes.
        image_offset: First byte of the image in it.
        command_db: Number of the data block that the lane reads.
        command_offset: First byte of the commands in it.
        timeout_s: Seconds that one call may take.

    Raises:
        ConfigError: When one of them cannot be used, or the two blocks overlap.
    """

    host: str = "127.0.0.1"
    port: int = 102
    rack: int = 0
    slot: int = 1
    image_db: int = 100
    image_offset: int = 0
    command_db: int = 101
    command_offset: int = 0
    timeout_s: float = 1.0

    def __post_init__(self) -> None:
        require = partial(require_option, "s7")
        require(bool(self.host), "host", "an address", "nothing")
        for name, least, most in (
            ("port", 1, 65_535), ("rack", 0, 7), ("slot", 0, 31), ("image_db", 1, 65_535),
            ("command_db", 1, 65_535), ("image_offset", 0, 65_535 - IMAGE_BYTES),
            ("command_offset", 0, 65_535 - COMMAND_BYTES),
        ):  # fmt: skip
            value = getattr(self, name)
            require(least <= value <= most, name, f"{least} to {most}", value)
        require(math.isfinite(self.timeout_s) and self.timeout_s > 0, "timeout_s", "above 0",
                self.timeout_s)  # fmt: skip
        apart = (
            self.image_db != self.command_db
            or self.image_offset + IMAGE_BYTES <= self.command_offset
            or self.command_offset + COMMAND_BYTES <= self.image_offset
        )
        require(apart, "command_offset", f"a place beside the image's {IMAGE_BYTES} bytes",
                f"{self.command_offset} in the same data block")  # fmt: skip

    @property
    def waits_s(self) -> float:
        """Seconds for which a call may wait for the network."""
        return self.timeout_s

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The bytes of the decision image and of the command image."""
        return tuple(
            Claim(f"DB{block} of {machine(self.host)}:{self.port}", first, first + size - 1)
            for block, first, size in (
                (self.image_db, self.image_offset, IMAGE_BYTES),
                (self.command_db, self.command_offset, COMMAND_BYTES),
            )
        )

    def __str__(self) -> str:
        return f"S7 DB{self.image_db}, DB{self.command_db} at {self.host}:{self.port}"


def _library() -> Any:
    try:
        import snap7
        import snap7.connection
        import snap7.s7protocol
        import snap7.server
    except ModuleNotFoundError as error:
        raise BusNotInstalled("S7 needs the package python-snap7",
                              remedy="Run: pip install 'xedge[s7]'") from error  # fmt: skip
    return snap7


class _Deadline:
    """A socket whose every call ends at one moment, however many bytes dribble in before."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self.until = 0.0

    def _limit(self) -> None:
        self._wire.settimeout(max(self.until - time.monotonic(), 1e-3))

    def recv(self, size: int) -> bytes:
        """Bytes that came."""
        self._limit()
        return self._wire.recv(size)

    def sendall(self, data: bytes) -> None:
        """Send."""
        self._limit()
        self._wire.sendall(data)

    def close(self) -> None:
        """Close."""
        self._wire.close()


class S7Bus:
    """The lane's end.

    Args:
        options: Where the images are.

    Raises:
        BusNotInstalled: When python-snap7 is absent.
    """

    def __init__(self, options: S7Options) -> None:
        self.options = options
        self._snap7 = _library()
        self._connection: ISOTCPConnection | None = None
        self._protocol: S7Protocol | None = None
        self._deadline: _Deadline | None = None
        self._written: bytes | None = None

    def __str__(self) -> str:
        return str(self.options)

    def connect(self) -> None:
        """Connect and agree on a PDU; see `xedge.control.bus.Bus.connect`."""
        if self._connection is not None:
            return
        options, lib = self.options, self._snap7
        self._protocol = lib.s7protocol.S7Protocol()
        self._connection = wire = lib.connection.ISOTCPConnection(
            options.host, options.port, remote_tsap=0x0100 | options.rack << 5 | options.slot
        )
        remedy = "Check that the PLC runs, its address, rack and slot"
        with self._failing("the PLC does not take the connection", remedy):
            with _cut_after(options.timeout_s, wire):
                wire.connect(options.timeout_s)
            self._deadline = _Deadline(cast(socket.socket, wire.socket))
            wire.socket = cast(socket.socket, self._deadline)
            self._ready()
            answer = self._exchange(
                self._protocol.build_setup_communication_request(1, 1, WANTED_PDU)
            )
        pdu = int((answer["parameters"] or {}).get("pdu_length", 0))
        if pdu - WRITE_OVERHEAD < IMAGE_BYTES:
            self.close()
            raise BusError(
                f"{self}: the PLC's PDU is too small for an image in one block",
                expected=f"{IMAGE_BYTES + WRITE_OVERHEAD} bytes", found=str(pdu),
                remedy="Use a CPU whose PDU has 240 bytes at least",
            )  # fmt: skip

    def write(self, image: bytes) -> None:
        """Write the image into the PLC's data block; see `xedge.control.bus.Bus.write`."""
        options = self.options
        with self._failing("the image was not taken"):
            protocol = self._ready()
            kinds = self._snap7.datatypes
            request = protocol.build_write_request(
                kinds.S7Area.DB, options.image_db, options.image_offset,
                kinds.S7WordLen.BYTE, image,
            )  # fmt: skip
            answer = self._exchange(request)
            self._check(answer, options.image_db)
            protocol.check_write_response(answer)
        self._written = image

    def read(self) -> bytes:
        """The commands in the PLC's data block; see `xedge.control.bus.Bus.read`."""
        options = self.options
        with self._failing("the commands were not read"):
            protocol = self._ready()
            if self._written is not None and self._written != self._bytes(
                protocol, options.image_db, options.image_offset, IMAGE_BYTES
            ):
                raise overwritten(
                    self, "one writer of this data block, and a PLC that keeps it", "client"
                )
            return self._bytes(protocol, options.command_db, options.command_offset,
                               COMMAND_BYTES)  # fmt: skip

    def _bytes(self, protocol: S7Protocol, db: int, start: int, size: int) -> bytes:
        kinds = self._snap7.datatypes
        answer = self._exchange(
            protocol.build_read_request(kinds.S7Area.DB, db, start, kinds.S7WordLen.BYTE, size)
        )
        self._check(answer, db)
        return bytes(protocol.extract_read_data(answer, kinds.S7WordLen.BYTE, size))

    def close(self) -> None:
        """Let go of the PLC; see `xedge.control.bus.Bus.close`."""
        wire, self._connection = self._connection, None
        self._protocol = self._deadline = self._written = None
        if wire is not None:
            wire.disconnect()

    def _ready(self) -> S7Protocol:
        """What makes requests; the time of a call begins here."""
        if self._protocol is None or self._deadline is None:
            raise BusError(f"{self}: not connected", remedy="Call connect() first")
        self._deadline.until = time.monotonic() + self.options.timeout_s
        return self._protocol

    def _exchange(self, request: bytes) -> dict[str, Any]:
        """The PLC's answer to a request."""
        wire, protocol = self._connection, self._protocol
        assert wire is not None
        assert protocol is not None
        wire.send_data(request)
        for _ in range(MOST_STALE):
            answer: dict[str, Any] = protocol.parse_response(wire.receive_data())
            try:
                protocol.validate_pdu_reference(answer["sequence"])
            except self._snap7.error.S7StalePacketError:
                continue
            return answer
        raise self._snap7.error.S7ProtocolError("only answers to other requests came")

    def _check(self, answer: dict[str, Any], db: int) -> None:
        code = (answer.get("data") or {}).get("return_code", DONE)
        if code == NO_ACCESS:
            raise BusRefused(
                f"{self}: the PLC gives no access to DB{db}", found=f"code 0x{code:02x}",
                remedy="Permit PUT/GET in its protection settings",
            )  # fmt: skip
        if code in NO_OBJECT:
            raise BusError(
                f"{self}: the PLC has no such bytes in DB{db}", found=f"code 0x{code:02x}",
                remedy="Make the block long enough, and without optimised access",
            )  # fmt: skip

    @contextlib.contextmanager
    def _failing(self, what: str, remedy: str = "Check the network and the PLC") -> Iterator[None]:
        """Map what python-snap7 raises; a connection that failed once is not used again."""
        try:
            yield
        except BusError:
            self.close()
            raise
        except (self._snap7.error.S7Error, OSError, ValueError) as error:
            self.close()
            raise BusError(f"{self}: {what}", found=str(error), remedy=remedy) from error


@contextlib.contextmanager
def _cut_after(seconds: float, wire: ISOTCPConnection) -> Iterator[None]:
    """Shut a connection down when its handshake takes longer than this in all."""

    def cut() -> None:
        if (under := wire.socket) is not None:
            with contextlib.suppress(OSError):
                under.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class S7Port:
    """The PLC's end: the server of python-snap7 with the two data blocks.

    Args:
        options: Where it listens, and where the images are.

    Raises:
        BusNotInstalled: When python-snap7 is absent.
    """

    def __init__(self, options: S7Options) -> None:
        self.options = options
        self._snap7 = _library()
        self._server: Server | None = None
        self._blocks: dict[int, bytearray] = {}

    def connect(self) -> None:
        """Start with zeroed data blocks; see `xedge.control.bus.PlcPort.connect`."""
        if self._server is not None:
            return
        options = self.options
        sizes = {options.image_db: 0, options.command_db: 0}
        for db, end in ((options.image_db, options.image_offset + IMAGE_BYTES),
                        (options.command_db, options.command_offset + COMMAND_BYTES)):  # fmt: skip
            sizes[db] = max(sizes[db], end)
        server = self._snap7.server.Server(log=False)
        self._blocks = {db: bytearray(size) for db, size in sizes.items()}
        for db, block in self._blocks.items():
            server.register_area(self._snap7.type.SrvArea.DB, db, block)
        try:
            server.start_to(options.host, options.port)
        except (self._snap7.error.S7Error, OSError, ValueError) as error:
            raise BusError(
                f"{options}: the port cannot be opened", found=str(error),
                remedy="Choose another port, or end what uses it",
            ) from error  # fmt: skip
        self._server = server

    def read(self) -> bytes:
        """The decision image in its data block; see `xedge.control.bus.PlcPort.read`."""
        if self._server is None:
            return bytes(IMAGE_BYTES)
        options = self.options
        # Python copies a slice, and the server writes one, in one step of the interpreter.
        block = self._blocks[options.image_db]
        return bytes(block[options.image_offset : options.image_offset + IMAGE_BYTES])

    def write(self, commands: bytes) -> None:
        """Put commands into their data block; see `xedge.control.bus.PlcPort.write`."""
        if self._server is not None:
            start = self.options.command_offset
            block = self._blocks[self.options.command_db]
            block[start : start + COMMAND_BYTES] = fit(commands, COMMAND_BYTES)

    def close(self) -> None:
        """Stop; see `xedge.control.bus.PlcPort.close`."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()
