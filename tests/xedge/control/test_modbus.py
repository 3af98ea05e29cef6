"""Modbus TCP: options, faults of the wire, another master, and peers that others wrote."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from xedge.control.commands import SILENT, Commands, Direction
from xedge.control.image import IMAGE_BYTES, Header, LaneState, Place, encode
from xedge.control.link import Link, LinkConfig
from xedge.control.modbus import ModbusBus, ModbusOptions, ModbusPort
from xedge.control.modbus_server import RegisterServer
from xedge.control.words import to_words
from xedge.errors import BusError, BusNotInstalled, BusRefused, ConfigError
from xedge.types import Decision, Verdict

IMAGE = encode(Header(1, 1, LaneState.RUNNING, 7), [Place(1, 100, 900, 2000, Verdict.CLEAR)])
OTHER = encode(Header(2, 2, LaneState.RUNNING, 7), [])
COMMANDS = Commands(1, 2, True, Direction.FORWARD, -3, 4, 5, 6, Verdict.ALARM, 7).encode()
QUICK = LinkConfig(valid_counts=3000, beat_s=0.02, poll_s=0.01, plc_limit_s=10,
                   retry_first_s=0.01, retry_most_s=0.05)  # fmt: skip


@pytest.fixture
def client(rig_modules: dict[str, ModuleType], tmp_path: Path) -> Iterator[SimpleNamespace]:
    """The lane as a client."""
    with rig_modules["rig_modbus"].client(tmp_path) as rig:
        yield rig


@pytest.fixture
def server(rig_modules: dict[str, ModuleType], tmp_path: Path) -> Iterator[SimpleNamespace]:
    """The lane as the server, connected."""
    with rig_modules["rig_modbus"].server(tmp_path) as rig:
        rig.bus.connect()
        yield rig


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"role": "slave"}, "role"),
        ({"port": 0}, "port"),
        ({"unit": 256}, "unit"),
        ({"image_address": 65440}, "0 to 65439"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"command_address": 96}, "registers 0 to 96 and 96 to 114. Set command_address to 97"),
        ({"image_address": 218}, "overlaps"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ModbusOptions(**wrong)


@pytest.mark.parametrize("addresses", [(0, 97), (19, 0)])
def test_images_may_touch(addresses: tuple[int, int]) -> None:
    ModbusOptions(image_address=addresses[0], command_address=addresses[1])


def test_without_its_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pymodbus", "pymodbus.client", "pymodbus.server"):
        monkeypatch.setitem(sys.modules, name, None)
    for role in ("client", "server"):
        with pytest.raises(BusNotInstalled, match=r"pip install 'xedge\[modbus\]'"):
            ModbusBus(ModbusOptions(role=role))  # type: ignore[arg-type]


def shown(bus: ModbusBus, image: bytes) -> bool:
    """Whether the image stands; a loaded machine may take longer to answer than the bus waits."""
    try:
        bus.connect()
        bus.write(image)
    except BusError:
        return False
    return True


def test_a_peer_that_answers_nothing_costs_one_timeout(
    client: SimpleNamespace,
    faulty_proxy: Callable[[int], Any],
    eventually: Callable[[Callable[[], object]], None],
) -> None:
    proxy = faulty_proxy(client.options.port)
    bus = ModbusBus(ModbusOptions(port=proxy.port, image_address=10, timeout_s=1))
    eventually(lambda: shown(bus, IMAGE))
    proxy.stall()
    with pytest.raises(BusError, match=r"longer than 1 s"):
        bus.write(OTHER)
    bus.close()
    bus.connect()  # half open: the connection stands, and nobody is behind it
    with pytest.raises(BusError):
        bus.read()
    bus.close()
    proxy.resume()
    eventually(lambda: shown(bus, OTHER))
    assert client.port.read() == OTHER
    bus.close()


def test_a_reset_is_an_error_and_not_silently_mended(
    client: SimpleNamespace, faulty_proxy: Callable[[int], Any]
) -> None:
    proxy = faulty_proxy(client.options.port)
    bus = ModbusBus(ModbusOptions(port=proxy.port, image_address=10, timeout_s=2))
    bus.connect()
    bus.write(IMAGE)
    proxy.reset()
    with pytest.raises(BusError):
        bus.write(OTHER)
    with pytest.raises(BusError, match="not connected"):
        bus.write(OTHER)
    bus.connect()
    bus.write(OTHER)
    bus.close()


def test_a_link_outlives_refusal_reset_and_stall_and_shows_everything_again(
    client: SimpleNamespace,
    faulty_proxy: Callable[[int], Any],
    eventually: Callable[[Callable[[], object]], None],
) -> None:
    proxy = faulty_proxy(client.options.port)
    bus = ModbusBus(ModbusOptions(port=proxy.port, image_address=10, timeout_s=0.5))
    places = [12 + 12 * number for number in range(7)]

    def shown() -> set[int]:
        words = to_words(client.port.read())
        return {words[place + 1] for place in places} - {0}

    with Link(bus, QUICK, 5) as link:
        for number, (fault, mend) in enumerate(
            ((proxy.refuse, proxy.listen), (proxy.reset, None), (proxy.stall, proxy.resume)), 1
        ):
            eventually(lambda: link.status.connected)
            failures = link.status.failures
            fault()
            eventually(lambda seen=failures: link.status.failures > seen)
            link.publish(Decision(number, Verdict.ALARM))
            if mend:
                mend()
            eventually(lambda bags=set(range(1, number + 1)): shown() == bags)
        eventually(lambda: link.status.connections >= 4)


def test_another_master_that_writes_our_registers_is_noticed_and_overwritten(
    client: SimpleNamespace, eventually: Callable[[Callable[[], object]], None]
) -> None:
    client.bus.connect()
    client.bus.write(IMAGE)
    assert client.bus.read() == SILENT
    other = ModbusBus(client.options)
    other.connect()
    other.write(OTHER)
    with pytest.raises(BusError, match=r"not what was written.*another master"):
        client.bus.read()
    client.bus.close()
    with Link(client.bus, QUICK, 5) as link:
        eventually(lambda: link.status.connected)
        # Until the lane looks between such a write and its own next beat.
        eventually(lambda: other.write(OTHER) or "another master" in link.status.last_error)
        eventually(lambda: to_words(client.port.read())[6] == 5)
    other.close()


def test_registers_that_the_server_lacks_are_refused_with_its_code(client: SimpleNamespace) -> None:
    elsewhere = ModbusBus(ModbusOptions(port=client.options.port, image_address=500, timeout_s=2))
    elsewhere.connect()
    with pytest.raises(BusRefused, match=r"refused to write registers from 500.*code 2"):
        elsewhere.write(IMAGE)
    elsewhere.close()


def test_a_server_lets_nobody_write_the_decision_image(server: SimpleNamespace) -> None:
    server.bus.write(IMAGE)
    intruder = ModbusBus(
        ModbusOptions(port=server.options.port, image_address=300, command_address=4, timeout_s=2)
    )
    intruder.connect()
    with pytest.raises(BusRefused, match="refused to write"):
        intruder.write(OTHER)
    intruder.close()
    assert server.port.read() == IMAGE


@pytest.mark.parametrize("addresses", [(0, 97), (0, 200), (19, 0), (300, 0)])
def test_no_function_of_the_protocol_reaches_the_decision_image_of_a_server(
    addresses: tuple[int, int], rig_modules: dict[str, ModuleType]
) -> None:
    client_of = pytest.importorskip("pymodbus.client").ModbusTcpClient
    image, commands = addresses
    port = rig_modules["rig_modbus"].free_port()
    bus = ModbusBus(ModbusOptions(role="server", port=port, image_address=image,
                                  command_address=commands, timeout_s=5))  # fmt: skip
    bus.connect()
    bus.write(IMAGE)
    intruder = client_of("127.0.0.1", port=port, retries=0, timeout=5)
    assert intruder.connect()
    refused = [
        # Coils: the library lays them over the same registers, sixteen to one.
        *(intruder.write_coils(commands, [True] * count) for count in (1, 16, 19, 64, 300)),
        intruder.write_coil(commands, True),
        intruder.read_coils(commands, count=16),
        intruder.read_discrete_inputs(commands, count=16),
        intruder.read_input_registers(image, count=97),
        intruder.mask_write_register(address=commands, and_mask=0, or_mask=7),
        intruder.write_register(image, 1),
        intruder.write_registers(image, [1] * 97),
        intruder.write_registers(commands + 18, [1] * 2),
        intruder.readwrite_registers(read_address=image, read_count=97, write_address=image + 96,
                                     values=[1]),
    ]  # fmt: skip
    assert [answer for answer in refused if not answer.isError()] == []
    assert intruder.read_holding_registers(image, count=97).registers == list(to_words(IMAGE))
    assert bus.read() == SILENT
    both = intruder.readwrite_registers(read_address=image, read_count=97, write_address=commands,
                                        values=list(to_words(COMMANDS)))  # fmt: skip
    assert both.registers == list(to_words(IMAGE))
    assert bus.read() == COMMANDS
    intruder.write_register(commands + 18, 0)
    assert bus.read() == COMMANDS[:-2] + bytes(2)
    intruder.close()
    bus.close()


def test_a_server_whose_loop_hangs_is_an_error_and_can_be_left(
    rig_modules: dict[str, ModuleType],
) -> None:
    port = rig_modules["rig_modbus"].free_port()
    server = RegisterServer("a server", ("127.0.0.1", port), 0.3, own=(0, 97), foreign=(97, 19))
    server.connect()
    loop, thread = server._loop, server._thread
    assert loop is not None
    assert thread is not None
    released = threading.Event()
    ended: list[bool] = []
    loop.call_soon_threadsafe(lambda: ended.append(released.wait(20)))
    with pytest.raises(BusError, match=r"a server: its server hangs: expected .*0\.3 s"):
        server._call(asyncio.sleep(0))
    server.close()
    assert ended == [], "close() waited for it"
    released.set()
    thread.join(20)
    assert not thread.is_alive()
    with pytest.raises(BusError, match="not connected"):
        server.read(0, 97)


def test_a_server_shows_no_image_of_another_size(server: SimpleNamespace) -> None:
    server.bus.write(IMAGE)
    with pytest.raises(BusError, match="wrong size: expected 97 registers, found 98"):
        server.bus.write(IMAGE + b"\0\0")
    assert server.port.read() == IMAGE


def test_a_port_that_is_taken_is_named(server: SimpleNamespace) -> None:
    second = ModbusBus(server.options)
    with pytest.raises(BusError, match=f"modbus server 127.0.0.1:{server.options.port}: cannot"):
        second.connect()
    second.close()
    assert server.port.read() == bytes(IMAGE_BYTES), "the first one is still there"


def test_a_server_that_is_closed_and_opened_forgets_everything(server: SimpleNamespace) -> None:
    server.bus.write(IMAGE)
    server.port.write(COMMANDS)
    assert server.bus.read() == COMMANDS
    server.bus.close()
    with pytest.raises(BusError):
        server.port.read()
    server.bus.connect()
    assert server.port.read() == bytes(IMAGE_BYTES)
    assert server.bus.read() == SILENT


# Peers that others wrote.


def mbpoll(options: ModbusOptions, address: int, *rest: str, count: int | None = None) -> list[int]:
    """Holding registers as mbpoll (libmodbus) reads them; with ``rest`` it writes these."""
    program = shutil.which("mbpoll")
    if program is None:
        pytest.skip("needs mbpoll (on Debian: apt-get install mbpoll)")
    where = ["-m", "tcp", "-p", str(options.port), "-0", "-r", str(address)]
    what = ["-1", "-q", "-t", "4:hex", *(["-c", str(count)] if count else [])]
    command = [program, *where, *what, "127.0.0.1", *rest]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    return [int(line.split("0x")[1], 16) for line in lines]


def test_mbpoll_reads_the_image_of_a_lane_and_commands_it(server: SimpleNamespace) -> None:
    server.bus.write(IMAGE)
    assert mbpoll(server.options, 300, count=97) == list(to_words(IMAGE))
    mbpoll(server.options, 4, *(f"0x{word:04x}" for word in to_words(COMMANDS)))
    assert server.bus.read() == COMMANDS


def test_mbpoll_reads_the_image_that_a_lane_wrote_into_a_plc(client: SimpleNamespace) -> None:
    client.bus.connect()
    client.bus.write(IMAGE)
    assert mbpoll(client.options, 10, count=97) == list(to_words(IMAGE))


NODE_SERVER = """
const { ServerTCP } = require("modbus-serial");
const registers = new Array(400).fill(0);
const commands = JSON.parse(process.argv[2]);
commands.forEach((word, n) => { registers[200 + n] = word; });
const vector = {
  getHoldingRegister: address => registers[address],
  getMultipleHoldingRegisters: (address, count) => registers.slice(address, address + count),
  setRegisterArray: (address, words) => {
    words.forEach((word, n) => { registers[address + n] = word; });
    console.log("registers " + JSON.stringify(registers.slice(0, 97)));
  },
};
const place = { host: "127.0.0.1", port: Number(process.argv[3]), unitID: 1 };
const server = new ServerTCP(vector, place);
server.on("initialized", () => console.log("ready"));
"""


def test_a_lane_writes_into_the_server_of_modbus_serial(
    tmp_path: Path, rig_modules: dict[str, ModuleType]
) -> None:
    node, peers = shutil.which("node"), os.environ.get("XEDGE_PEERS", "")
    if node is None or not (Path(peers) / "node_modules" / "modbus-serial").is_dir():
        pytest.skip("needs modbus-serial (npm install modbus-serial, XEDGE_PEERS names its folder)")
    port = rig_modules["rig_modbus"].free_port()
    script = tmp_path / "server.js"
    script.write_text(NODE_SERVER)
    environment = os.environ | {"NODE_PATH": str(Path(peers) / "node_modules")}
    command = [node, script, str(list(to_words(COMMANDS))), str(port)]
    bus = ModbusBus(ModbusOptions(port=port, timeout_s=5))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            bus.connect()
            bus.write(IMAGE)
            assert process.stdout.readline() == f"registers {list(to_words(IMAGE))}\n".replace(
                ", ", ","
            )
            assert bus.read() == COMMANDS
        finally:
            bus.close()
            process.kill()


def test_the_plcs_end_says_where_it_is() -> None:
    assert str(ModbusPort(ModbusOptions())) == "PLC of modbus client 127.0.0.1:502"


def test_a_request_that_comes_while_a_plc_ends_leaves_nothing_behind(
    client: SimpleNamespace,
) -> None:
    """pymodbus answers two rounds of its loop later; what is left warns when it is collected."""
    ask = bytes([0, 1, 0, 0, 0, 6, 1, 3, 0, 200, 0, 19])
    for _ in range(10):
        client.port.connect()
        with socket.create_connection(("127.0.0.1", client.options.port)) as peer:
            peer.sendall(ask)
            assert peer.recv(100)
            peer.sendall(ask)
            client.port.close()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(warning.message) for warning in said] == []
