"""An ADS server of a few variables: what `xedge sim-plc` and the tests have for a TwinCAT.

It knows what a client needs to find a variable by its name and to read and write it by a handle;
everything else is answered with an error, as a PLC does. Not for the network: it checks nobody.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import socket
import socketserver
import struct
import threading
from collections.abc import Mapping
from typing import Final

HANDLE_BY_NAME: Final = 0xF003
VALUE_BY_HANDLE: Final = 0xF005
RELEASE_HANDLE: Final = 0xF006
READ: Final = 2
WRITE: Final = 3
READ_WRITE: Final = 9
RESPONSE: Final = 1

NO_SERVICE: Final = 1793
NO_GROUP: Final = 1794
WRONG_SIZE: Final = 1797
NO_SYMBOL: Final = 1808
NO_HANDLE: Final = 1809

LONGEST_FRAME: Final = 4096
_TCP: Final = struct.Struct("<HI")
_AMS: Final = struct.Struct("<8s8sHHIII")  # target, source, command, flags, length, error, id
_PLACE: Final = struct.Struct("<III")


class AdsServer:
    """A server that runs until it is closed.

    Args:
        host: Address that it listens on.
        port: TCP port.
        variables: Names and sizes in bytes; all bytes are 0 at first.

    Raises:
        OSError: When the port cannot be opened.
    """

    def __init__(self, host: str, port: int, variables: Mapping[str, int]) -> None:
        self._lock = threading.Lock()
        self._values = {name.lower(): bytes(size) for name, size in variables.items()}
        self._handles: dict[int, str] = {}
        # A handle of before a restart must not be good for anything after it.
        self._next = itertools.count(secrets.randbelow(1 << 30))
        self._wires: set[socket.socket] = set()
        self._server = _Server((host, port), _Talk)
        self._server.plc = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="xedge-ads-plc", daemon=True
        )
        self._thread.start()

    def get(self, name: str) -> bytes:
        """The value of a variable, as the PLC keeps it."""
        with self._lock:
            return self._values[name.lower()]

    def put(self, name: str, value: bytes) -> None:
        """Give a variable a value of its size."""
        with self._lock:
            assert len(value) == len(self._values[name.lower()])
            self._values[name.lower()] = value

    def close(self) -> None:
        """Stop listening and end every connection."""
        self._server.shutdown()
        self._server.server_close()
        with self._lock:
            wires = list(self._wires)
        for wire in wires:
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def serve(self, wire: socket.socket) -> None:
        """Answer a client until it goes."""
        with self._lock:
            self._wires.add(wire)
        try:
            while frame := _frame(wire):
                wire.sendall(self._answer(frame))
        except (OSError, struct.error):  # it went in the middle of something, or talks nonsense
            pass
        finally:
            with self._lock:
                self._wires.discard(wire)

    def _answer(self, frame: bytes) -> bytes:
        target, source, command, flags, _, _, number = _AMS.unpack_from(frame)
        with self._lock:
            result, data = self._do(command, frame[_AMS.size :])
        content = struct.pack("<I", result)
        if command in (READ, READ_WRITE):  # beside an error too
            content += struct.pack("<I", len(data)) + data
        head = _AMS.pack(source, target, command, flags | RESPONSE, len(content), 0, number)
        return _TCP.pack(0, len(head) + len(content)) + head + content

    def _do(self, command: int, data: bytes) -> tuple[int, bytes]:
        """The result of a request, and what is read by it."""
        if command not in (READ, WRITE, READ_WRITE):
            return NO_SERVICE, b""
        group, offset, size = _PLACE.unpack_from(data)
        if command == READ_WRITE and group == HANDLE_BY_NAME:
            return self._handle(data[_PLACE.size + 4 :])
        if command == WRITE and group == RELEASE_HANDLE:
            return 0, b""
        if group != VALUE_BY_HANDLE:
            return NO_GROUP, b""
        name = self._handles.get(offset)
        if name is None:
            return NO_HANDLE, b""
        value = data[_PLACE.size :] if command == WRITE else self._values[name]
        if size != len(self._values[name]) or len(value) != size:
            return WRONG_SIZE, b""
        if command == WRITE:
            self._values[name] = value
            return 0, b""
        return 0, value

    def _handle(self, written: bytes) -> tuple[int, bytes]:
        name = written.rstrip(b"\0").decode("utf-8", "replace").lower()
        if name not in self._values:
            return NO_SYMBOL, b""
        known = {named: handle for handle, named in self._handles.items()}
        if name not in known:
            known[name] = next(self._next)
            self._handles[known[name]] = name
        return 0, struct.pack("<I", known[name])


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    plc: AdsServer


class _Talk(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        server.plc.serve(self.request)


def _frame(wire: socket.socket) -> bytes:
    """The next AMS frame of a connection; empty at its end."""
    head = wire.recv(_TCP.size, socket.MSG_WAITALL)
    if len(head) < _TCP.size:
        return b""
    _, length = _TCP.unpack(head)
    if length > LONGEST_FRAME:
        return b""
    frame = wire.recv(length, socket.MSG_WAITALL)
    return frame if len(frame) == length else b""
