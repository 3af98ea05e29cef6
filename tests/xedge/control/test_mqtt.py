"""The MQTT bus against a real broker, and against what goes wrong with one."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from xedge.control.board import new_epoch
from xedge.control.bus import Secret
from xedge.control.commands import SILENT, Commands
from xedge.control.image import IMAGE_BYTES, Header, LaneState, Place, encode
from xedge.control.link import Link, LinkConfig
from xedge.control.mqtt import MqttBus, MqttOptions, MqttPort
from xedge.control.rule import PlcRule, Why
from xedge.control.words import to_words
from xedge.errors import BusError, BusRefused, ConfigError
from xedge.types import Verdict

ZEROS = bytes(IMAGE_BYTES)
CLEARS = encode(
    Header(7, 7, LaneState.RUNNING, 5, 1), [Place(1, 100, 900, 5000, Verdict.CLEAR)]
)  # fmt: skip
ACL = """
user lane
topic readwrite airport/#
user plc
topic readwrite airport/#
user guest
topic read airport/#
"""

Eventually = Callable[[Callable[[], object]], None]


@pytest.fixture(scope="module")
def broker(rig_modules: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A broker that knows the lane, a PLC, and a guest who may only read."""
    folder = tmp_path_factory.mktemp("broker")
    (folder / "acl").write_text(ACL)
    made = rig_modules["rig_mqtt"].Mosquitto(folder, ("lane", "plc", "guest"),
                                             f"acl_file {folder / 'acl'}\n")  # fmt: skip
    yield made
    made.stop()


@pytest.fixture
def lane(broker: Any) -> Iterator[MqttBus]:
    broker.start()
    with closing(MqttBus(broker.options())) as bus:
        yield bus


@pytest.fixture
def plc(broker: Any) -> Iterator[MqttPort]:
    broker.start()
    with closing(MqttPort(broker.options("plc"))) as port:
        port.connect()
        yield port


def late_reader(broker: Any) -> bytes:
    """What somebody reads who comes now."""
    with closing(MqttPort(broker.options("plc"))) as port:
        port.connect()
        port.write(SILENT)  # acknowledged behind whatever the broker had kept for us
        return port.read()


def error_of(call: Callable[[], object]) -> str:
    """What a call says that fails; empty when it does not."""
    try:
        call()
    except BusError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": Secret("the test", "guessed")},
        {"user": "nobody"},
        {"user": "", "password": None},
    ],
)
def test_who_has_no_credentials_is_turned_away(broker: Any, wrong: dict[str, Any]) -> None:
    broker.start()
    for end in (MqttBus, MqttPort):
        one = end(broker.options(**wrong))
        with pytest.raises(BusRefused, match="Not authorized") as refused:
            one.connect()
        assert str(refused.value).startswith(str(one))
        assert "guessed" not in str(refused.value)
        with pytest.raises(BusError, match="not connected"):
            one.read()


def test_a_client_that_may_only_read_cannot_write_the_image(broker: Any) -> None:
    broker.start()
    with closing(MqttBus(broker.options("guest"))) as guest:
        guest.connect()
        with pytest.raises(BusRefused, match="image was not taken"):
            guest.write(CLEARS)
    assert not any(late_reader(broker))


@pytest.mark.parametrize("fate", ["closed", "reset"])
def test_however_the_lane_ends_the_broker_shows_zeros(
    broker: Any, plc: MqttPort, faulty_proxy: Any, eventually: Eventually, fate: str
) -> None:
    proxy = faulty_proxy(broker.port)
    with closing(MqttBus(broker.options(port=proxy.port))) as lane:
        lane.connect()
        lane.write(CLEARS)
        eventually(lambda: plc.read() == CLEARS)
        if fate == "reset":
            proxy.reset()
            with pytest.raises(BusError, match="broker is gone"):
                lane.write(CLEARS)
        else:
            lane.close()
        eventually(lambda: plc.read() == ZEROS)
        assert not any(late_reader(broker))


def test_half_open_is_noticed_at_both_ends_and_the_old_will_does_not_hide_the_new_image(
    broker: Any, plc: MqttPort, faulty_proxy: Any, eventually: Eventually
) -> None:
    proxy = faulty_proxy(broker.port)
    near = broker.options(port=proxy.port, keepalive_s=1, timeout_s=0.5)
    with closing(MqttBus(near)) as lane:
        lane.connect()
        lane.write(CLEARS)
        proxy.stall()
        with pytest.raises(BusError, match=r"was not taken: expected an answer within 0\.5 s"):
            lane.write(CLEARS)
        lane.close()
        with pytest.raises(BusError, match="does not answer"):
            lane.connect()
        eventually(lambda: plc.read() == ZEROS)  # the will, 1.5 times the keep-alive later
        proxy.resume()
    with closing(MqttBus(broker.options(port=proxy.port))) as lane:
        lane.connect()
        lane.write(CLEARS)
        proxy.stall()  # this connection is left behind at the broker, with its will
        with closing(MqttBus(broker.options())) as again:
            again.connect()
            again.write(CLEARS)
            eventually(lambda: plc.read() == CLEARS)
            time.sleep(0.05)
            assert plc.read() == CLEARS
            assert late_reader(broker) == CLEARS
        proxy.resume()
        eventually(lambda: "no second lane" in error_of(lane.read))


def test_an_image_that_nobody_renews_is_forgotten(broker: Any, eventually: Eventually) -> None:
    broker.start()
    with closing(MqttBus(broker.options(expiry_s=1))) as lane:
        lane.connect()
        eventually(lambda: lane.write(CLEARS) or late_reader(broker) == CLEARS)
        eventually(lambda: not any(late_reader(broker)))  # the broker counts whole seconds


def test_what_a_dead_lane_left_at_a_broker_that_keeps_everything_clears_nothing(
    rig_modules: Any, tmp_path: Path
) -> None:
    keeps = f"persistence true\npersistence_location {tmp_path}/\nautosave_interval 1\n"
    broker = rig_modules["rig_mqtt"].Mosquitto(
        tmp_path, ("lane", "plc"), keeps + "autosave_on_changes true\n"
    )
    try:
        with closing(MqttBus(broker.options(expiry_s=60))) as lane:
            lane.connect()
            lane.write(CLEARS)
            until = time.monotonic() + 5
            kept = tmp_path / "mosquitto.db"
            while time.monotonic() < until and not (kept.exists() and CLEARS in kept.read_bytes()):
                time.sleep(0.01)
            broker.stop()  # crashes before it could publish the will
        broker.start()
        stale = late_reader(broker)
        assert stale == CLEARS, "the broker should have kept it, or this test shows nothing"
        rule = PlcRule()
        for now_ms in range(0, 500, 20):
            rule.see(to_words(stale), 1000, now_ms)
        item = rule.follow(rule.enter(100, 900))
        assert rule.answer(item).verdict is Verdict.NOT_CLEARED
        assert rule.answer(item).why is Why.SILENT
    finally:
        broker.stop()


def test_a_retained_command_is_not_obeyed(
    broker: Any, lane: MqttBus, plc: MqttPort, eventually: Eventually
) -> None:
    runs = Commands(1, 1, run=True).encode()
    assert plc._client is not None
    plc._client.publish(f"{plc.options.topic}/commands", runs, qos=1, retain=True)
    plc.write(SILENT)  # what was published before it has arrived
    lane.connect()
    time.sleep(0.05)
    assert lane.read() == SILENT
    plc.write(runs)
    eventually(lambda: lane.read() == runs)
    plc._client.publish(f"{plc.options.topic}/commands", b"", qos=1, retain=True)


def test_another_client_that_writes_the_image_is_an_error_that_names_the_topic(
    broker: Any, lane: MqttBus, plc: MqttPort, eventually: Eventually
) -> None:
    lane.connect()
    lane.write(ZEROS)
    assert plc._client is not None
    plc._client.publish(f"{plc.options.topic}/image", CLEARS, qos=1, retain=True)
    plc.read()

    eventually(lambda: "another client writes to airport/lane 1/image" in error_of(lane.read))
    with pytest.raises(BusError, match="another client writes"):
        lane.write(CLEARS)
    lane.close()
    lane.connect()
    lane.write(ZEROS)  # written over by the one who owns it
    eventually(lambda: plc.read() == ZEROS)


def test_a_link_outlives_its_broker_and_shows_everything_anew(
    broker: Any, lane: MqttBus, eventually: Eventually
) -> None:
    config = LinkConfig(valid_counts=4000, beat_s=0.02, poll_s=0.01, plc_beats=False,
                        retry_first_s=0.02, retry_most_s=0.05)  # fmt: skip
    told: list[str] = []
    rule = PlcRule()
    with Link(lane, config, new_epoch(), on_event=lambda event: told.append(event.kind)) as link:
        link.set_state(LaneState.RUNNING)
        for _ in range(2):
            with closing(MqttPort(broker.options("plc"))) as port:
                port.connect()

                def ready(port: MqttPort = port) -> bool:
                    rule.see(to_words(port.read()), 0, time.monotonic_ns() // 1_000_000 % 2**32)
                    return rule.ready

                eventually(ready)
                broker.stop()
                eventually(lambda: not link.status.connected)
                with pytest.raises(BusError):
                    port.write(SILENT)
            rule.see((), 0, time.monotonic_ns() // 1_000_000 % 2**32)
            assert not rule.ready
            broker.start()
        eventually(lambda: link.status.connected)
        assert link.status.failures
    assert told.count("bus-up") == 3


def test_messages_and_logs_hold_no_password(
    broker: Any, caplog: pytest.LogCaptureFixture, rig_modules: Any
) -> None:
    secret = rig_modules["rig_mqtt"].PASSWORD
    broker.start()
    with caplog.at_level(logging.DEBUG):
        bus = MqttBus(broker.options())
        bus.connect()
        bus.write(CLEARS)
        said = f"{bus} {bus!r} {vars(bus)!r} {bus.options!r} {vars(bus.options)!r} {bus._client!r}"
        bus.close()
        with pytest.raises(BusError) as refused:
            MqttBus(broker.options("nobody")).connect()
    assert secret not in said + caplog.text + repr(refused.value)


def write_certificate(folder: Path, name: str, signer: Any = None) -> Any:
    """Writes name.pem and name.key, of an authority or signed by one; returns both for signing."""
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography (extra `signing`)")
    from ipaddress import ip_address

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, issuer_key = signer or (subject, key)
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(signer is None, None), critical=True)
        .add_extension(x509.SubjectAlternativeName(
            [x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                       critical=False)
        .add_extension(x509.KeyUsage(True, False, False, False, False, signer is None, False,
                                     False, False), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
    (folder / f"{name}.key").touch(0o600)
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return subject, key


# paho leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*unclosed <ssl.SSLSocket")
def test_tls_needs_the_right_broker_and_the_right_client(
    rig_modules: Any, tmp_path: Path, eventually: Eventually
) -> None:
    ours = write_certificate(tmp_path, "ours")
    write_certificate(tmp_path, "theirs")
    write_certificate(tmp_path, "broker", ours)
    write_certificate(tmp_path, "client", ours)
    broker = rig_modules["rig_mqtt"].Mosquitto(
        tmp_path, ("lane", "plc"),
        f"cafile {tmp_path}/ours.pem\ncertfile {tmp_path}/broker.pem\n"
        f"keyfile {tmp_path}/broker.key\nrequire_certificate true\n",
    )  # fmt: skip
    tls = {"tls_ca": tmp_path / "ours.pem", "tls_certificate": tmp_path / "client.pem",
           "tls_key": tmp_path / "client.key"}  # fmt: skip
    try:
        with (
            closing(MqttBus(broker.options(**tls))) as lane,
            closing(MqttPort(broker.options("plc", **tls))) as plc,
        ):
            lane.connect()
            lane.write(CLEARS)
            plc.connect()
            eventually(lambda: plc.read() == CLEARS)
        for wrong, error, said in (
            ({"tls_ca": tmp_path / "theirs.pem"}, BusRefused, "not to be trusted"),
            ({"host": "localhost"}, BusRefused, "not to be trusted"),
            ({"tls_certificate": None, "tls_key": None}, BusError, "certificate"),
            (dict.fromkeys(tls), BusError, "broker"),
        ):
            bus = MqttBus(broker.options(**(tls | wrong)))
            with pytest.raises(error, match=said):
                bus.connect()
        (tmp_path / "client.key").chmod(0o644)
        with pytest.raises(ConfigError, match="others can read"):
            MqttBus(broker.options(**tls))
        (tmp_path / "client.key").chmod(0o600)
        with pytest.raises(ConfigError, match="cannot be read"):
            MqttBus(broker.options(**(tls | {"tls_ca": tmp_path / "nothing.pem"})))
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"host": ""}, "host"),
        ({"port": 0}, "1 to 65535"),
        ({"topic": "lane/+"}, "topic"),
        ({"topic": ""}, "topic"),
        ({"topic": "$SYS/x"}, "topic"),
        ({"keepalive_s": 0}, "keepalive_s"),
        ({"expiry_s": 0}, "expiry_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"password": Secret("x", "y")}, "a user with it"),
        ({"tls_certificate": Path("a")}, "together"),
        ({"tls_certificate": Path("a"), "tls_key": Path("b")}, "tls_ca with it"),
        ({"host": "10.0.0.1", "user": "a", "password": Secret("x", "y")}, "in the clear"),
        ({"host": "broker", "user": "a", "password": Secret("x", "y")}, "in the clear"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        MqttOptions(**wrong)


def test_two_buses_of_a_lane_cannot_have_one_topic() -> None:
    one, same, other = (MqttOptions(topic=topic) for topic in ("a", "a", "b"))
    assert one.claims[0].overlaps(same.claims[0])
    assert not one.claims[0].overlaps(other.claims[0])


def test_nobody_there_is_said_at_once(broker: Any) -> None:
    broker.stop()
    with pytest.raises(BusError, match="cannot be reached") as refused:
        MqttBus(broker.options()).connect()
    assert refused.value.remedy
