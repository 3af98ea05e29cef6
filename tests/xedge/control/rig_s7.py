"""The rig of S7: the server of python-snap7 plays the PLC."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from xedge.control.s7 import S7Bus, S7Options, S7Port


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def s7(tmp_path: Path) -> Iterator[SimpleNamespace]:
    pytest.importorskip("snap7", reason="needs python-snap7 (extra `s7`)")
    options = S7Options(port=free_port(), image_offset=10, command_db=100, command_offset=300,
                        timeout_s=5.0)  # fmt: skip
    bus, port = S7Bus(options), S7Port(options)
    try:
        port.connect()
        yield SimpleNamespace(bus=bus, port=port, serves=False, secrets=())
    finally:
        bus.close()
        port.close()


RIGS = {"s7": s7}
