"""The OPC UA bus: who gets in and who does not, what clients see, and what goes wrong."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from xedge.control.bus import Secret
from xedge.control.commands import COMMAND_BYTES, SILENT, Commands, Direction
from xedge.control.image import IMAGE_BYTES, Header, LaneState, Place, decode, encode
from xedge.control.link import Link, LinkConfig
from xedge.control.opcua import OPEN, OpcUaBus, OpcUaOptions, OpcUaPort
from xedge.control.opcua_gate import QUIET_S, Gate, Trusted
from xedge.control.words import to_words
from xedge.errors import BusError, BusNotInstalled, BusRefused, ConfigError
from xedge.types import Decision, Reason, Verdict

asyncua = pytest.importorskip("asyncua", reason="asyncua (extra `opcua`) is not installed")
ua = asyncua.ua

ZEROS = bytes(IMAGE_BYTES)
BAG = Place(3, 100, 900, 5000, Verdict.CLEAR)
CLEARS = encode(Header(7, 7, LaneState.RUNNING, 5, 1), [BAG])
RUNS = Commands(1, 1, run=True, direction=Direction.FORWARD).encode()

Eventually = Callable[[Callable[[], object]], None]


@pytest.fixture(scope="module")
def site(rig_modules: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return rig_modules["rig_opcua"].Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def lane(site: Any, rig_modules: Any) -> Iterator[OpcUaBus]:
    """A lane that trusts one PLC and wants its password; it serves all tests of this file."""
    options = site.options("lane", "plc", expiry_s=600.0)
    with closing(rig_modules["rig_opcua"].QuickBus(options)) as bus:
        bus.connect()
        yield bus


@pytest.fixture
def plc(site: Any, lane: OpcUaBus) -> Iterator[OpcUaPort]:
    with closing(OpcUaPort(site.options("plc", "lane"))) as port:
        port.connect()
        port.read()  # finds the lane
        yield port


@pytest.fixture
def bench(site: Any, rig_modules: Any) -> Iterator[Callable[..., OpcUaBus]]:
    """What makes lanes without security."""
    made: list[OpcUaBus] = []

    def make(**options: Any) -> OpcUaBus:
        other = rig_modules["rig_opcua"].Site(site._folder)
        made.append(rig_modules["rig_opcua"].QuickBus(
            OpcUaOptions(port=other.port, security=OPEN, timeout_s=60.0, **options)
        ))  # fmt: skip
        return made[-1]

    yield make
    for bus in made:
        bus.close()


# Who gets in.


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("stranger", {}, "BadCertificateUntrusted"),
        ("plc", {"password": Secret("the test", "guessed")}, "BadUserAccessDenied"),
        ("plc", {"user": "root"}, "BadUserAccessDenied"),
        ("plc", {"user": "", "password": None}, "BadIdentityToken"),
    ],
)
def test_who_lacks_a_trusted_certificate_or_the_password_is_turned_away(
    site: Any, lane: OpcUaBus, name: str, changes: dict[str, Any], said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    port = OpcUaPort(site.options(name, "lane", **changes))
    with pytest.raises(BusError, match="not connected"):
        port.read()
    port.connect()
    with pytest.raises(BusRefused, match=said) as refused:
        port.read()
    assert str(refused.value).startswith(str(port))
    assert "guessed" not in str(refused.value)
    assert "guessed" not in caplog.text
    with pytest.raises(BusError, match=rf"a moment ago: found {said}\w*\. Check certificate"):
        port.write(RUNS)
    time.sleep(0.25)
    with pytest.raises(BusRefused, match=said):
        port.write(RUNS)
    port.close()


def test_a_plc_that_does_not_trust_the_lane_stays_away(site: Any, lane: OpcUaBus) -> None:
    port = OpcUaPort(site.options("wary-plc", "stranger"))
    port.connect()
    with pytest.raises(BusRefused, match="certificate is not trusted"):
        port.read()


def test_trust_is_given_and_taken_while_the_lane_runs(site: Any, lane: OpcUaBus) -> None:
    port = OpcUaPort(site.options("second-plc", "lane"))
    port.connect()
    with pytest.raises(BusRefused):
        port.read()
    site.options("lane", "second-plc")
    with closing(port):
        time.sleep(0.25)
        port.read()
    assert lane.options.trusted is not None
    (lane.options.trusted / "second-plc.der").unlink()
    port.connect()
    with pytest.raises(BusRefused):
        port.read()


def test_why_a_client_was_turned_away_reaches_the_log_once_a_minute(
    site: Any, lane: OpcUaBus, caplog: pytest.LogCaptureFixture
) -> None:
    assert lane.options.trusted is not None
    now = 0.0
    gate = Gate(Trusted(lane.options.trusted), "plc", Secret("the test", "hidden"), lambda: now)
    plc, stranger = (
        site.options(name, "lane").certificate.read_bytes() for name in ("plc", "stranger")
    )

    def turned_away(**shown: Any) -> list[str]:
        caplog.clear()
        assert gate.get_user(None, **shown) is None  # type: ignore[arg-type]
        return [r.getMessage() for r in caplog.records if r.name == "xedge.opcua"]

    (line,) = turned_away(username="plc", password="hidden", certificate=stranger)
    thumb = hashlib.sha1(stranger).hexdigest()
    assert line.endswith(f"its certificate is not in {lane.options.trusted}, thumbprint {thumb}")
    assert turned_away(certificate=stranger) == []
    (line,) = turned_away(certificate=None)
    assert line.endswith("it showed no certificate")
    (line,) = turned_away(username="hidden", password="h1dden", certificate=plc)
    assert "its user name or password is wrong" in line
    assert "hidden" not in line
    assert "h1dden" not in line
    assert turned_away(username="plc", password="", certificate=plc) == []
    now = QUIET_S
    (line,) = turned_away(username="plc", certificate=plc)
    assert line.endswith("(1 more since the last such line)")
    assert gate.get_user(None, "plc", "hidden", plc) is not None  # type: ignore[arg-type]


def run(attack: Callable[[Any], Coroutine[Any, Any, None]], bus: OpcUaBus) -> None:
    client = asyncua.Client(f"opc.tcp://127.0.0.1:{bus.options.port}/xedge", timeout=60)
    asyncio.run(attack(client))


def test_a_channel_without_security_opens_nothing_even_for_who_knows_the_password(
    lane: OpcUaBus, plc: OpcUaPort, rig_modules: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An honest client looks for the endpoint of its security mode first, and finds none.
    monkeypatch.setattr(asyncua.Client, "find_endpoint", staticmethod(lambda all_, *_: all_[0]))
    plc.write(SILENT)

    async def attack(client: Any) -> None:
        client.set_user("plc")
        client.set_password(rig_modules["rig_opcua"].PASSWORD)
        with pytest.raises(ua.uaerrors.BadUserAccessDenied):
            async with client:
                pass

    run(attack, lane)


def test_a_session_cannot_be_taken_over_by_its_number(lane: OpcUaBus, plc: OpcUaPort) -> None:
    plc.write(SILENT)
    assert plc._client is not None
    number = plc._client.uaclient.session.authentication_token
    commands = plc._commands.nodeid

    async def attack(client: Any) -> None:
        await client.connect_socket()
        try:
            await client.send_hello()
            await client.open_secure_channel()
            client.uaclient.session.restore_authentication_token(number)
            taking = ua.ActivateSessionParameters()
            taking.UserIdentityToken = ua.AnonymousIdentityToken()
            with pytest.raises(ua.UaStatusCodeError):
                await client.uaclient.session.activate_session(taking)
            with pytest.raises(ua.UaStatusCodeError):
                await client.get_node(commands).write_value([1] * 19, ua.VariantType.UInt16)
        finally:
            client.disconnect_socket()

    run(attack, lane)
    assert lane.read() == SILENT
    plc.write(RUNS)  # and its owner still has it
    assert lane.read() == RUNS


def test_a_borrowed_certificate_is_not_enough(site: Any, lane: OpcUaBus, rig_modules: Any) -> None:
    """The channel proves one certificate, the session names another one, which is trusted."""
    from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

    stranger = site.options("stranger", "lane")
    identity = rig_modules["rig_opcua"].identity
    stranger_der, lane_der, plc_der = (identity(n)[0] for n in ("stranger", "lane", "plc"))

    async def attack(client: Any) -> None:
        await client.set_security(
            SecurityPolicyBasic256Sha256, str(stranger.certificate), str(stranger.private_key),
            server_certificate=lane_der, mode=ua.MessageSecurityMode.SignAndEncrypt,
        )  # fmt: skip
        assert client.security_policy.host_certificate == stranger_der
        await client.connect_socket()
        try:
            await client.send_hello()
            await client.open_secure_channel()
            naming = ua.CreateSessionParameters()
            naming.ClientNonce, naming.ClientCertificate = bytes(32), plc_der
            naming.ClientDescription.ApplicationUri = "urn:test:plc"
            naming.EndpointUrl, naming.RequestedSessionTimeout = client.server_url.geturl(), 60_000
            created = await client.uaclient.session.create_session(naming)
            client._server_nonce = created.ServerNonce
            client._policy_ids = created.ServerEndpoints[0].UserIdentityTokens
            with pytest.raises(ua.uaerrors.BadUserAccessDenied):
                await client.activate_session(
                    username="plc", password=rig_modules["rig_opcua"].PASSWORD
                )
        finally:
            client.disconnect_socket()

    run(attack, lane)


def test_strangers_cannot_fill_the_list_of_servers(lane: OpcUaBus) -> None:
    async def attack(client: Any) -> None:
        server = ua.RegisteredServer()
        server.ServerUri, server.ServerNames = "urn:evil", [ua.LocalizedText("evil")]
        await client.connect_sessionless()
        try:
            with pytest.raises(ua.UaStatusCodeError):
                await client.uaclient.register_server(server)
        finally:
            await client.disconnect_sessionless()

    run(attack, lane)


def test_a_certificate_that_has_run_out_is_trusted_no_more(tmp_path: Path) -> None:
    from asyncua.crypto import cert_gen
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    made = cert_gen.generate_self_signed_app_certificate(
        cert_gen.generate_private_key(), "old", {}, [x509.UniformResourceIdentifier("urn:old")],
        [x509.ExtendedKeyUsageOID.CLIENT_AUTH], days=0,
    )  # fmt: skip
    (tmp_path / "old.PEM").write_bytes(made.public_bytes(Encoding.PEM))
    (tmp_path / "noise.der").write_bytes(b"no certificate")
    trusted = Trusted(tmp_path)
    until = made.not_valid_after_utc - datetime.datetime.now(datetime.timezone.utc)
    time.sleep(max(0.0, until.total_seconds() + 0.01))
    assert not trusted.trusts(made.public_bytes(Encoding.DER))
    assert not trusted.trusts(None)
    assert not trusted.trusts(b"")


def test_messages_and_logs_hold_no_password_and_no_key(
    site: Any, lane: OpcUaBus, rig_modules: Any, caplog: pytest.LogCaptureFixture
) -> None:
    secret = rig_modules["rig_opcua"].PASSWORD
    with caplog.at_level(logging.DEBUG), closing(OpcUaPort(site.options("plc", "lane"))) as port:
        port.connect()
        lane.write(CLEARS)
        assert port.read() == CLEARS
        stranger = OpcUaPort(site.options("stranger", "lane"))
        stranger.connect()
        with pytest.raises(BusRefused) as refused:
            stranger.read()
        said = [repr(thing) for end in (lane, port) for thing in
                (end, vars(end), end.options, vars(end.options), end._identity, end._server
                 if isinstance(end, OpcUaBus) else end._client)]  # fmt: skip
    said += [caplog.text, repr(refused.value), *(str(r.args) for r in caplog.records)]
    assert "asyncua" in caplog.text
    for text in said:
        assert secret not in text
        assert "PRIVATE KEY" not in text
        assert "RSAPrivateKey" not in text


# What clients see.


def test_nobody_can_write_the_image_and_odd_commands_do_no_harm(
    lane: OpcUaBus, plc: OpcUaPort
) -> None:
    lane.write(CLEARS)

    def write(node: Any, value: Any) -> None:
        plc._wait(node.write_value(ua.DataValue(value)), "not taken")

    with pytest.raises(BusRefused, match="BadUserAccessDenied"):
        write(plc._image, ua.Variant([0] * 97, ua.VariantType.UInt16))
    assert plc.read() == CLEARS
    plc.write(RUNS)
    with pytest.raises(BusError, match="BadTypeMismatch"):
        write(plc._commands, ua.Variant(bytes(38), ua.VariantType.ByteString))
    assert lane.read() == RUNS
    write(plc._commands, ua.Variant([1, 2], ua.VariantType.UInt16))
    assert lane.read() == b"\0\1\0\2".ljust(COMMAND_BYTES, b"\0")
    write(plc._commands, ua.Variant([65535] * 300, ua.VariantType.UInt16))
    assert lane.read() == b"\xff" * COMMAND_BYTES
    write(plc._commands, ua.Variant(7, ua.VariantType.UInt16))
    assert lane.read() == SILENT
    plc.write(RUNS)
    assert lane.read() == RUNS


def test_the_mirrors_say_the_same_as_the_image(lane: OpcUaBus, plc: OpcUaPort) -> None:
    def mirrors() -> dict[str, Any]:
        async def read() -> dict[str, Any]:
            assert plc._client is not None
            index = plc._image.nodeid.NamespaceIndex
            names = ("State", "Epoch", "Bags", "Verdicts", "Reasons", "Tails")
            return {
                name: await plc._client.get_node(ua.NodeId(name, index)).read_value()
                for name in names
            }

        return plc._wait(read(), "no mirror")

    alarm = Place(4, -5, -2, 7, Verdict.NOT_CLEARED, Reason.TIMEOUT)
    lane.write(encode(Header(1, 1, LaneState.DRAINING, 9, 2), [None, alarm]))
    assert mirrors() == {
        "State": "DRAINING", "Epoch": 9, "Bags": [0, 4, 0, 0, 0, 0, 0],
        "Verdicts": ["", "NOT_CLEARED", "", "", "", "", ""],
        "Reasons": ["", "TIMEOUT", "", "", "", "", ""], "Tails": [0, -2, 0, 0, 0, 0, 0],
    }  # fmt: skip
    lane.write(ZEROS)
    assert mirrors()["State"] == ""
    assert mirrors()["Bags"] == [0] * 7


def node_peers() -> Path:
    folder = Path(os.environ.get("XEDGE_PEERS", "nowhere")) / "node_modules"
    if shutil.which("node") is None or not (folder / "node-opcua").is_dir():
        pytest.skip("needs node-opcua (npm install --prefix DIR node-opcua node-opcua-nodesets,"
                    " and XEDGE_PEERS=DIR)")  # fmt: skip
    return folder


def test_a_client_by_other_authors_agrees(
    site: Any, lane: OpcUaBus, rig_modules: Any, tmp_path: Path
) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    peers = node_peers()
    mine = site.options("plc", "lane")
    certificate = x509.load_der_x509_certificate(mine.certificate.read_bytes())
    (tmp_path / "plc.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    lane.write(CLEARS)
    done = subprocess.run(
        ["node", Path(__file__).parent / "peer_opcua.js", f"opc.tcp://127.0.0.1:{site.port}/xedge",
         tmp_path / "plc.pem", mine.private_key, tmp_path / "pki", "plc",
         rig_modules["rig_opcua"].PASSWORD, json.dumps(to_words(RUNS))],
        env=os.environ | {"NODE_PATH": str(peers), "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    saw = json.loads(done.stdout.splitlines()[0])
    assert saw == {"image": list(to_words(CLEARS)), "state": "RUNNING", "taken": "Good",
                   "refused": "BadUserAccessDenied"}  # fmt: skip
    assert lane.read() == RUNS


def test_machine_vision_follows_the_lane_and_tells_its_decisions(
    bench: Callable[..., OpcUaBus], eventually: Eventually
) -> None:
    nodeset = node_peers() / "node-opcua-nodesets/nodesets/Opc.Ua.MachineVision.NodeSet2.xml"
    bus = bench(vision_nodeset=nodeset)
    bus.connect()
    told: list[tuple[Any, ...]] = []

    class Handler:
        def event_notification(self, event: Any) -> None:
            content = [value.Value for value in event.ResultContent]
            assert isinstance(event.CreationTime, datetime.datetime)
            assert (event.IsPartial, event.IsSimulated) == (False, False)
            told.append((event.ResultId.Id, event.ResultState, event.Message.Text, content))

    async def watch(client: Any) -> None:
        async with client:
            mv = await client.get_namespace_index("http://opcfoundation.org/UA/MachineVision")
            vision = client.get_node(ua.NodeId("VisionSystem", mv))
            machine = await vision.get_child([f"{mv}:VisionStateMachine"])
            current = await machine.get_child(["0:CurrentState"])

            async def state() -> tuple[str, str]:
                known = client.get_node(await (await current.get_child(["0:Id"])).read_value())
                return (await current.read_value()).Text, (await known.read_browse_name()).Name

            assert await state() == ("Halted", "Halted")
            ready = await client.nodes.base_event_type.get_child([f"{mv}:ResultReadyEventType"])
            watching = await client.create_subscription(20, Handler())
            await watching.subscribe_events(vision, ready)
            bus.write(CLEARS)
            assert await state() == ("Operational", "Operational")
            bus.write(CLEARS)  # the same decision is not told twice
            gone = Place(3, 100, 900, 5000, Verdict.NOT_CLEARED, Reason.CONTROL_LOST)
            bus.write(encode(Header(8, 8, LaneState.CONTROL_LOST, 5, 1), [gone]))
            assert await state() == ("Error", "Error")
            with pytest.raises(ua.uaerrors.BadNotSupported):
                await machine.call_method(f"{mv}:Halt", ua.Variant(1, ua.VariantType.Int32))
            until = time.monotonic() + 60
            while len(told) < 2 and time.monotonic() < until:
                await asyncio.sleep(0.01)

    run(watch, bus)
    assert told == [
        ("5-3", 1, "bag 3: CLEAR", ["CLEAR", "NONE", 100, 900, 5000]),
        ("5-3", 1, "bag 3: NOT_CLEARED", ["NOT_CLEARED", "CONTROL_LOST", 100, 900, 5000]),
    ]


def test_a_nodeset_that_is_none_is_refused(bench: Callable[..., OpcUaBus], tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_text("<UANodeSet/>")
    with pytest.raises(ConfigError, match=r"model\.xml cannot be used"):
        bench(vision_nodeset=tmp_path / "model.xml").connect()


# What goes wrong.


def test_an_address_that_is_taken_is_said_before_any_work(lane: OpcUaBus, site: Any) -> None:
    second = OpcUaBus(site.options("lane", "plc"))
    with pytest.raises(BusError, match=r"cannot listen there.*in use") as refused:
        second.connect()
    assert refused.value.remedy


def test_a_plc_that_hangs_is_lost_and_its_clears_are_withdrawn_until_it_is_back(
    bench: Callable[..., OpcUaBus], faulty_proxy: Any, eventually: Eventually
) -> None:
    bus = bench()
    config = LinkConfig(valid_counts=4000, beat_s=0.02, poll_s=0.01, plc_limit_s=2.0)
    proxy = faulty_proxy(bus.options.port)
    far = OpcUaPort(OpcUaOptions(port=proxy.port, security=OPEN, timeout_s=2.0))
    near = OpcUaPort(OpcUaOptions(port=bus.options.port, security=OPEN, timeout_s=60.0))
    beats = iter(range(1, 60000))

    def beat() -> None:
        number = next(beats)
        far.write(Commands(number, number, True, Direction.FORWARD).encode())

    with Link(bus, config, 77) as link, closing(far), closing(near):
        link.set_state(LaneState.RUNNING)
        eventually(lambda: link.status.connected)
        far.connect()
        near.connect()
        eventually(lambda: beat() or link.status.plc_alive)
        link.publish(Decision(1, Verdict.CLEAR, encoder_head=10, encoder_tail=20))
        eventually(lambda: beat() or ((shown := decode(near.read())[1][0]) and shown.verdict))
        proxy.stall()
        with pytest.raises(BusError, match="TimeoutError"):
            far.read()
        eventually(lambda: not link.status.plc_alive)

        def withdrawn() -> bool:
            header, places = decode(near.read())
            assert places[0] is not None
            return (header.state, places[0].verdict) == (
                LaneState.CONTROL_LOST, Verdict.NOT_CLEARED,
            )  # fmt: skip

        eventually(withdrawn)
        proxy.resume()
        far.close()
        far.connect()
        eventually(lambda: beat() or link.status.plc_alive)
        proxy.reset()
        with pytest.raises(BusError):
            far.read()
        assert link.status.connected, "what ends one client does not concern the server"
        assert not link.status.failures


def test_an_image_that_nobody_renews_turns_to_zeros(
    bench: Callable[..., OpcUaBus], eventually: Eventually
) -> None:
    bus = bench(expiry_s=0.3)
    bus.connect()
    near = OpcUaPort(OpcUaOptions(port=bus.options.port, security=OPEN, timeout_s=60.0))
    with closing(near):
        near.connect()
        saw: set[bytes] = set()
        bus.write(CLEARS)
        eventually(lambda: saw.add(near.read()) or ZEROS in saw)
        bus.write(CLEARS)
        eventually(lambda: bus.write(CLEARS) or near.read() == CLEARS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "certificate"),
        ({"security": "sign"}, "security"),
        ({"security": OPEN, "host": ""}, "host"),
        ({"security": OPEN, "port": 70000}, "port"),
        ({"security": OPEN, "timeout_s": 0.0}, "timeout_s"),
        ({"security": OPEN, "expiry_s": float("inf")}, "expiry_s"),
        ({"security": OPEN, "user": "a"}, "password"),
        ({"security": OPEN, "user": "a", "password": Secret("x", "y")}, "in the clear"),
        ({"certificate": Path("a"), "private_key": Path("b")}, "trusted"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        OpcUaOptions(**wrong)


def test_two_buses_of_a_lane_cannot_have_one_port() -> None:
    one, same, other = (OpcUaOptions(security=OPEN, port=port) for port in (4840, 4840, 4841))
    assert one.claims[0].overlaps(same.claims[0])
    assert not one.claims[0].overlaps(other.claims[0])


def test_keys_that_cannot_be_are_refused(site: Any, tmp_path: Path) -> None:
    mine = site.options("plc", "lane")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no key")
    (tmp_path / "text").chmod(0o600)
    (tmp_path / "loose").write_bytes(mine.private_key.read_bytes())
    for changes, said in (
        ({"trusted": tmp_path / "empty"}, "nobody is trusted"),
        ({"trusted": tmp_path / "absent"}, "nobody is trusted"),
        ({"private_key": tmp_path / "text"}, "cannot be used"),
        ({"private_key": tmp_path / "absent"}, "cannot be used"),
        ({"private_key": tmp_path / "loose"}, "others can read"),
        ({"private_key": site.options("lane").private_key}, "does not belong"),
        ({"certificate": tmp_path / "text"}, "cannot be used"),
    ):
        with pytest.raises(ConfigError, match=said):
            OpcUaBus(site.options("plc", "lane", **changes))


def test_without_asyncua_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncua", None)
    with pytest.raises(BusNotInstalled, match="asyncua") as absent:
        OpcUaBus(OpcUaOptions(security=OPEN))
    assert "xedge[opcua]" in absent.value.remedy
