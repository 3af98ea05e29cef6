"""The S7 bus against the server of python-snap7, and against PLCs that misbehave."""

from __future__ import annotations

import dataclasses
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest

from xedge.control.buses import bus_kind
from xedge.control.commands import COMMAND_BYTES, SILENT
from xedge.control.image import IMAGE_BYTES, Header, LaneState, Place, encode
from xedge.control.s7 import WRITE_OVERHEAD, S7Bus, S7Options, S7Port
from xedge.errors import BusError, BusNotInstalled, BusRefused, ConfigError
from xedge.types import Verdict

snap7 = pytest.importorskip("snap7", reason="needs python-snap7 (extra `s7`)")

IMAGE = encode(
    Header(7, 0x1234, LaneState.RUNNING, 5, 1), [Place(1, 100, 900, 5000, Verdict.CLEAR)]
)  # fmt: skip
LIMIT_S = 0.3
PATIENCE_S = 10.0


@pytest.fixture
def options(rig_modules: Any) -> S7Options:
    return S7Options(port=rig_modules["rig_s7"].free_port(), timeout_s=PATIENCE_S)


@pytest.fixture
def plc(options: S7Options) -> Iterator[S7Port]:
    with closing(S7Port(options)) as port:
        port.connect()
        yield port


def took(call: Callable[[], object]) -> float:
    """Seconds that a call took to fail."""
    begun = time.monotonic()
    with pytest.raises(BusError):
        call()
    return time.monotonic() - begun


def test_the_table_has_it(options: S7Options) -> None:
    kind = bus_kind("s7")
    assert kind.options is S7Options
    assert str(kind.bus(options)) == f"S7 DB100, DB101 at 127.0.0.1:{options.port}"


def test_the_plc_sees_words_in_one_block(plc: S7Port, options: S7Options) -> None:
    events = []
    plc._server.set_events_callback(events.append)
    with closing(S7Bus(options)) as bus:
        bus.connect()
        bus.write(IMAGE)
    client = snap7.Client()  # a panel, say, that looks at the same block
    client.connect(options.host, 0, 1, options.port)
    block = bytes(client.db_read(options.image_db, 0, IMAGE_BYTES))
    client.disconnect()
    assert block == IMAGE
    words = struct.unpack(f">{IMAGE_BYTES // 2}H", block)
    assert 0x1234 in words[:10]
    written = [e.EvtParam4 for e in events if e.EvtCode == 0x00040000]  # data written, bytes
    assert written == [IMAGE_BYTES]


def test_power_up_is_silence(plc: S7Port, options: S7Options) -> None:
    with closing(S7Bus(options)) as bus:
        bus.connect()
        plc.write(b"\1" * COMMAND_BYTES)
        assert bus.read() == b"\1" * COMMAND_BYTES
        plc.close()
        plc.connect()
        with suppress(BusError):
            bus.read()
        bus.close()
        bus.connect()
        assert bus.read() == SILENT


def test_another_client_that_writes_our_image_is_noticed_and_overwritten(
    plc: S7Port, options: S7Options
) -> None:
    with closing(S7Bus(options)) as bus:
        bus.connect()
        bus.write(IMAGE)
        assert bus.read() == SILENT
        other = snap7.Client()
        other.connect(options.host, 0, 1, options.port)
        other.db_write(options.image_db, 30, bytearray(b"\7"))
        other.disconnect()
        with pytest.raises(BusError, match=r"not what was written.*another client"):
            bus.read()
        bus.connect()
        bus.write(IMAGE)
        assert bus.read() == SILENT
    assert plc.read() == IMAGE


@pytest.mark.parametrize("fault", ["refuse", "reset"])
def test_a_broken_network_is_an_error_and_a_mended_one_is_not(
    plc: S7Port, options: S7Options, faulty_proxy: Any, fault: str
) -> None:
    proxy = faulty_proxy(options.port)
    with closing(S7Bus(dataclasses.replace(options, port=proxy.port))) as bus:
        bus.connect()
        bus.write(IMAGE)
        getattr(proxy, fault)()
        with pytest.raises(BusError, match="the image was not taken") as failed:
            bus.write(IMAGE)
        assert str(failed.value).startswith(str(bus))
        with pytest.raises(BusError, match="not connected"):
            bus.write(IMAGE)  # what failed once is not used again
        if fault == "refuse":
            with pytest.raises(BusError, match="does not take the connection"):
                bus.connect()
            proxy.listen()
        bus.connect()
        bus.write(IMAGE)
    assert plc.read() == IMAGE


def test_half_open_costs_no_more_than_the_timeout(
    plc: S7Port, options: S7Options, faulty_proxy: Any
) -> None:
    proxy = faulty_proxy(options.port)
    near = dataclasses.replace(options, port=proxy.port)
    with closing(S7Bus(near)) as bus:
        bus.connect()
        bus.options = dataclasses.replace(near, timeout_s=LIMIT_S)
        proxy.stall()
        assert LIMIT_S <= took(bus.read) < PATIENCE_S
        assert LIMIT_S <= took(bus.connect) < PATIENCE_S
        proxy.resume()
        bus.options = near
        bus.connect()
        assert bus.read() == SILENT


@contextmanager
def scripted(answer: Callable[[bytes], bytes], pause_s: float = 0.0) -> Iterator[int]:
    """A PLC that says yes to the connection, and then what a script says, byte by byte if slow."""
    listener = socket.create_server(("127.0.0.1", 0))

    def frame(wire: socket.socket) -> bytes:
        head = wire.recv(4, socket.MSG_WAITALL)
        return wire.recv(struct.unpack(">H", head[2:])[0] - 4, socket.MSG_WAITALL) if head else b""

    def talk(wire: socket.socket) -> None:
        frame(wire)
        wire.sendall(bytes.fromhex("0300000b06d00001000100"))
        while request := frame(wire):
            reply = answer(request[3:])
            data = struct.pack(">BBH", 3, 0, len(reply) + 7) + b"\2\xf0\x80" + reply
            step = 1 if pause_s else len(data)
            for k in range(0, len(data), step):
                wire.sendall(data[k : k + step])
                time.sleep(pause_s)

    def serve() -> None:
        with suppress(OSError):  # the listener's end
            while True:
                with listener.accept()[0] as wire, suppress(OSError, struct.error, IndexError):
                    talk(wire)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE_S)


def ack(request: bytes, parameters: bytes, data: bytes = b"") -> bytes:
    head = struct.pack(">BBHHHHH", 0x32, 3, 0, struct.unpack(">H", request[4:6])[0],
                       len(parameters), len(data), 0)  # fmt: skip
    return head + parameters + data


def plc_with(pdu: int, code: int) -> Callable[[bytes], bytes]:
    def answer(request: bytes) -> bytes:
        function = request[10]
        if function == 0xF0:
            return ack(request, struct.pack(">BBHHH", 0xF0, 0, 1, 1, pdu))
        data = bytes([code]) if function == 5 else bytes([code, 0, 0, 0])
        return ack(request, bytes([function, 1]), data)

    return answer


def test_a_plc_without_access_for_us_turns_us_away() -> None:
    with scripted(plc_with(240, 0x03)) as port, closing(
        S7Bus(S7Options(port=port, timeout_s=PATIENCE_S))
    ) as bus:  # fmt: skip
        for call in (lambda: bus.write(IMAGE), bus.read):
            bus.connect()
            with pytest.raises(BusRefused, match=r"no access to DB10[01]") as refused:
                call()
            assert "PUT/GET" in str(refused.value)


def test_a_pdu_too_small_for_one_block_is_refused_and_the_smallest_of_s7_is_not() -> None:
    least = IMAGE_BYTES + WRITE_OVERHEAD
    assert least <= 240
    for pdu, fits in ((least, True), (least - 1, False)):
        with scripted(plc_with(pdu, 0xFF)) as port, closing(
            S7Bus(S7Options(port=port, timeout_s=PATIENCE_S))
        ) as bus:  # fmt: skip
            if fits:
                bus.connect()
                bus.write(IMAGE)
            else:
                with pytest.raises(BusError, match="too small for an image in one block"):
                    bus.connect()


@pytest.mark.parametrize("answer", [
    lambda request: b"",
    lambda request: b"\xff" * 30,
    lambda request: ack(request, b""),
    lambda request: ack(b"\0" * 12, b"\5\1", b"\xff"),
])  # fmt: skip
def test_nonsense_is_an_error_of_ours(answer: Callable[[bytes], bytes]) -> None:
    """Some is noticed when it connects, some when it writes; none passes for an acknowledgement."""

    def mostly(request: bytes) -> bytes:
        return plc_with(240, 0xFF)(request) if request[10] == 0xF0 else answer(request)

    def exchange(bus: S7Bus) -> None:
        bus.connect()
        bus.write(IMAGE)

    for script in (answer, mostly):
        with scripted(script) as port, closing(
            S7Bus(S7Options(port=port, timeout_s=LIMIT_S))
        ) as bus, pytest.raises(BusError):  # fmt: skip
            exchange(bus)


def test_an_answer_that_dribbles_in_is_too_slow() -> None:
    with scripted(plc_with(240, 0xFF), pause_s=LIMIT_S / 2) as port, closing(
        S7Bus(S7Options(port=port, timeout_s=LIMIT_S))
    ) as bus:  # fmt: skip
        # 27 bytes: each alone would be in time, all together take 13 times as long.
        assert took(bus.connect) < 27 * LIMIT_S / 2


def test_a_block_that_is_missing_or_too_short_is_named(options: S7Options, plc: S7Port) -> None:
    for changes in ({"image_db": 7, "command_db": 8}, {"image_offset": 20, "command_offset": 20}):
        with closing(S7Bus(dataclasses.replace(options, **changes))) as bus:
            for call in (lambda bus=bus: bus.write(IMAGE), bus.read):
                bus.connect()
                with pytest.raises(BusError, match=r"DB|not taken|not read") as failed:
                    call()
                assert failed.value.remedy


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", ""),
        ("port", 0),
        ("rack", 8),
        ("slot", 32),
        ("image_db", 0),
        ("command_db", 65_536),
        ("image_offset", 65_535),
        ("command_offset", -1),
        ("timeout_s", 0.0),
        ("timeout_s", float("nan")),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"s7: {name}"):
        S7Options(**{name: value})  # type: ignore[arg-type]


def test_blocks_that_overlap_are_refused() -> None:
    with pytest.raises(ConfigError, match="command_offset"):
        S7Options(image_db=5, command_db=5, command_offset=IMAGE_BYTES - 1)
    with pytest.raises(ConfigError, match="command_offset"):
        S7Options(image_db=5, command_db=5, image_offset=COMMAND_BYTES - 1)
    S7Options(image_db=5, command_db=5, image_offset=COMMAND_BYTES)


def test_without_the_library_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snap7", None)
    for end in (S7Bus, S7Port):
        with pytest.raises(BusNotInstalled, match=r"pip install 'xedge\[s7\]'"):
            end(S7Options())


def test_a_port_in_use_or_no_address_is_named(options: S7Options) -> None:
    for changes in ({"host": "no address"}, {"host": "192.0.2.1"}):
        with pytest.raises(BusError, match="cannot be opened"):
            S7Port(dataclasses.replace(options, **changes)).connect()
