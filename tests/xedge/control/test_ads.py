"""The ADS bus: Beckhoff's library against two servers, and against what goes wrong."""

from __future__ import annotations

import dataclasses
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest

from xedge.control.ads import GRACE_S, AdsBus, AdsOptions, AdsPort, swapped
from xedge.control.buses import bus_kind
from xedge.control.commands import COMMAND_BYTES, SILENT
from xedge.control.image import IMAGE_BYTES, Header, LaneState, Place, encode
from xedge.control.words import to_words
from xedge.errors import BusError, BusNotInstalled, BusRefused, ConfigError
from xedge.types import Verdict

pyads = pytest.importorskip("pyads", reason="needs pyads (extra `ads`)")

IMAGE = encode(
    Header(7, 0x1234, LaneState.RUNNING, 5, 1), [Place(1, 100, 900, 5000, Verdict.CLEAR)]
)  # fmt: skip
LIMIT_S = 0.3
PATIENCE_S = 10.0


@pytest.fixture
def options(rig_modules: Any) -> AdsOptions:
    return AdsOptions(port=rig_modules["rig_ads"].free_port(), timeout_s=PATIENCE_S)


@pytest.fixture
def plc(options: AdsOptions) -> Iterator[AdsPort]:
    with closing(AdsPort(options)) as port:
        port.connect()
        yield port


def took(call: Callable[[], object]) -> float:
    """Seconds that a call took to fail."""
    begun = time.monotonic()
    with pytest.raises(BusError):
        call()
    return time.monotonic() - begun


def test_the_table_has_it(options: AdsOptions) -> None:
    kind = bus_kind("ads")
    assert kind.options is AdsOptions
    name = f"ADS GVL_Xedge.Image, GVL_Xedge.Commands at 127.0.0.1:{options.port}"
    assert str(kind.bus(options)) == name


def test_the_program_sees_the_words_of_the_table(plc: AdsPort, options: AdsOptions) -> None:
    with closing(AdsBus(options)) as bus:
        bus.connect()
        bus.write(IMAGE)
    memory = plc._server.get(options.image_symbol)  # as a TwinCAT keeps it: low byte first
    assert struct.unpack(f"<{IMAGE_BYTES // 2}H", memory) == to_words(IMAGE)
    assert plc.read() == IMAGE


def test_the_server_of_pyads_takes_it_too(options: AdsOptions) -> None:
    from pyads.testserver import AdsTestServer, AdvancedHandler, PLCVariable

    handler = AdvancedHandler()
    kind = pyads.constants.ADST_UINT16
    handler.add_variable(PLCVariable(options.image_symbol, bytes(IMAGE_BYTES), kind, "WORD"))
    sent = bytes(range(COMMAND_BYTES))
    handler.add_variable(PLCVariable(options.command_symbol, swapped(sent), kind, "WORD"))
    server = AdsTestServer(handler, port=options.port, logging=False)
    with closing(server):
        server.start()
        with closing(AdsBus(options)) as bus:
            bus.connect()
            bus.write(IMAGE)
            assert bus.read() == sent
        assert swapped(handler.get_variable_by_name(options.image_symbol).value) == IMAGE
        server._run = False  # or its loop may look at a socket that is closed already
        server.join()


def test_another_client_that_writes_our_image_is_noticed_and_overwritten(
    plc: AdsPort, options: AdsOptions
) -> None:
    with closing(AdsBus(options)) as bus:
        bus.connect()
        bus.write(IMAGE)
        assert bus.read() == SILENT
        plc._server.put(options.image_symbol, bytes(IMAGE_BYTES))
        with pytest.raises(BusError, match=r"not what was written.*another client"):
            bus.read()
        bus.connect()
        bus.write(IMAGE)
        assert bus.read() == SILENT
    assert plc.read() == IMAGE


def test_handles_of_before_a_restart_are_good_for_nothing(
    plc: AdsPort, options: AdsOptions
) -> None:
    with closing(AdsBus(options)) as bus:
        bus.connect()
        bus.write(IMAGE)
        # A program that was loaded anew: the connection stands, what was known of it is void.
        plc._server._handles.clear()
        with pytest.raises(BusError, match="the image was not taken"):
            bus.write(bytes(IMAGE_BYTES))
        assert plc.read() == IMAGE
        bus.connect()
        bus.write(bytes(IMAGE_BYTES))
        assert plc.read() == bytes(IMAGE_BYTES)


@pytest.mark.parametrize("fault", ["refuse", "reset"])
def test_a_broken_network_is_an_error_and_a_mended_one_is_not(
    plc: AdsPort, options: AdsOptions, faulty_proxy: Any, fault: str
) -> None:
    proxy = faulty_proxy(options.port)
    with closing(AdsBus(dataclasses.replace(options, port=proxy.port, timeout_s=LIMIT_S))) as bus:
        bus.connect()
        bus.write(IMAGE)
        getattr(proxy, fault)()
        with pytest.raises(BusError, match="the image was not taken") as failed:
            bus.write(IMAGE)
        assert str(failed.value).startswith(str(bus))
        with pytest.raises(BusError, match="not connected"):
            bus.write(IMAGE)  # what failed once is not used again
        if fault == "refuse":
            with pytest.raises(BusError, match="variables are not to be had"):
                bus.connect()
            proxy.listen()
        bus.options = dataclasses.replace(bus.options, timeout_s=PATIENCE_S)
        bus.connect()
        bus.write(IMAGE)
    assert plc.read() == IMAGE


def test_half_open_costs_no_more_than_the_timeout(
    plc: AdsPort, options: AdsOptions, faulty_proxy: Any
) -> None:
    proxy = faulty_proxy(options.port)
    with closing(AdsBus(dataclasses.replace(options, port=proxy.port, timeout_s=LIMIT_S))) as bus:
        bus.connect()
        proxy.stall()
        assert LIMIT_S <= took(bus.read) < PATIENCE_S
        assert LIMIT_S <= took(bus.connect) < PATIENCE_S
        proxy.resume()
        bus.options = dataclasses.replace(bus.options, timeout_s=PATIENCE_S)
        bus.connect()
        assert bus.read() == SILENT


def test_a_connection_that_hangs_is_left_behind(options: AdsOptions) -> None:
    """As to an address where nobody is: the library would wait for the system, some minutes."""
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", options.port), backlog=0))
        for _ in range(3):  # what waits to be accepted is full: a further connection hangs
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        bus = AdsBus(dataclasses.replace(options, timeout_s=LIMIT_S))
        assert LIMIT_S + GRACE_S <= took(bus.connect) < PATIENCE_S
        bus.close()
    with closing(AdsPort(options)) as port, closing(AdsBus(options)) as bus:
        port.connect()
        bus.connect()
        assert bus.read() == SILENT


def test_two_lanes_share_the_library_and_one_that_goes_leaves_the_other(
    plc: AdsPort, options: AdsOptions
) -> None:
    with closing(AdsBus(options)) as stays:
        stays.connect()
        with closing(AdsBus(options)) as goes:
            goes.connect()
            goes.write(IMAGE)
        stays.write(IMAGE)
        assert stays.read() == SILENT


def test_variables_that_are_missing_or_of_another_size_are_named(
    plc: AdsPort, options: AdsOptions
) -> None:
    with closing(AdsBus(dataclasses.replace(options, image_symbol="MAIN.Other"))) as bus:
        with pytest.raises(BusError, match="symbol not found") as failed:
            bus.connect()
        assert "Declare MAIN.Other" in str(failed.value)
    crossed = dataclasses.replace(
        options, image_symbol=options.command_symbol, command_symbol=options.image_symbol
    )
    with closing(AdsBus(crossed)) as bus:
        for call in (lambda: bus.write(IMAGE), bus.read):
            bus.connect()
            with pytest.raises(BusError, match="size"):
                call()


def test_a_plc_that_gives_no_access_turns_us_away(
    plc: AdsPort, options: AdsOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(AdsBus(options)) as bus:
        bus.connect()
        monkeypatch.setattr(plc._server, "_do", lambda command, data: (1796, b""))
        with pytest.raises(BusRefused, match="not permitted"):
            bus.write(IMAGE)


def test_a_client_that_talks_nonsense_costs_no_other(plc: AdsPort, options: AdsOptions) -> None:
    with closing(AdsBus(options)) as bus:
        bus.connect()
        for data in (b"GET / HTTP/1.0\r\n\r\n", b"\0\0\x04\0\0\0abcd", b"\0" * 6,
                     b"\0\0\x20\0\0\0" + b"\3" * 32, b"\0\0\x20\0\0\0" + b"\0" * 32):  # fmt: skip
            with (
                socket.create_connection((options.host, options.port)) as wire,
                suppress(OSError),  # it may hang up in the middle of what it is told
            ):
                wire.settimeout(PATIENCE_S)
                wire.sendall(data)
                wire.shutdown(socket.SHUT_WR)
                while wire.recv(4096):  # an error, or nothing, and then its end
                    pass
        bus.write(IMAGE)
    assert plc.read() == IMAGE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", ""),
        ("host", "127.0.0.1:99"),
        ("port", 0),
        ("ams_port", 65_536),
        ("net_id", "1.2.3.4.5"),
        ("net_id", "1.2.3.4.5.256"),
        ("local_net_id", "a.b.c.d.e.f"),
        ("image_symbol", ""),
        ("command_symbol", "GVL Commands"),
        ("command_symbol", "gvl_xedge.image"),
        ("timeout_s", 0.0),
        ("timeout_s", float("inf")),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"ads: {name}"):
        AdsOptions(**{name: value})  # type: ignore[arg-type]


def test_a_name_needs_a_net_id_beside_it() -> None:
    with pytest.raises(ConfigError, match="ads: net_id"):
        AdsOptions(host="plc-3")
    AdsOptions(host="plc-3", net_id="5.1.2.3.1.1")


def test_without_the_library_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyads", None)
    with pytest.raises(BusNotInstalled, match=r"pip install 'xedge\[ads\]'"):
        AdsBus(AdsOptions())


def test_a_port_in_use_is_named(plc: AdsPort, options: AdsOptions) -> None:
    with pytest.raises(BusError, match="cannot be opened"):
        AdsPort(options).connect()
