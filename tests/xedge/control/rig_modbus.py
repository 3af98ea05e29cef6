"""The rigs of Modbus TCP: the lane as client of a PLC, and as the server that a PLC asks."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from xedge.control.modbus import ModbusBus, ModbusOptions, ModbusPort


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def client(tmp_path: Path) -> Iterator[SimpleNamespace]:
    pytest.importorskip("pymodbus", reason="the extra `modbus` is not installed")
    options = ModbusOptions(role="client", port=free_port(), image_address=10, timeout_s=2)
    bus, port = ModbusBus(options), ModbusPort(options)
    port.connect()
    yield SimpleNamespace(bus=bus, port=port, serves=False, secrets=(), options=options)
    bus.close()
    port.close()


@contextmanager
def server(tmp_path: Path) -> Iterator[SimpleNamespace]:
    pytest.importorskip("pymodbus", reason="the extra `modbus` is not installed")
    options = ModbusOptions(
        role="server", port=free_port(), image_address=300, command_address=4, timeout_s=2
    )
    bus, port = ModbusBus(options), ModbusPort(options)
    port.connect()
    yield SimpleNamespace(bus=bus, port=port, serves=True, secrets=(), options=options)
    port.close()
    bus.close()


RIGS = {"modbus-client": client, "modbus-server": server}
