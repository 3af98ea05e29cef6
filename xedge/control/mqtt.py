"""MQTT 5: the lane is a client of a broker, and so is the PLC or the gateway in front of it.

The lane publishes its image, retained and acknowledged, under ``<topic>/image`` and hears commands
under ``<topic>/commands``. A broker keeps what was published last, so a lane that is gone must not
be read as one that is there. Three things see to it, whatever the PLC's rule does: the last will is
an image of zeros, and the broker publishes it however the connection ends, because this end never
says goodbye; the image expires at the broker; and a command that was retained is not obeyed.

paho-mqtt is driven from the thread of the bus: no second thread and no event loop (see docs).
"""

from __future__ import annotations

import ipaddress
import math
import socket
import ssl
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xedge.control.bus import Claim, Secret, fit, machine, require_option, require_private
from xedge.control.commands import COMMAND_BYTES
from xedge.control.image import IMAGE_BYTES
from xedge.errors import BusError, BusNotInstalled, BusRefused, ConfigError

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

LARGEST_PACKET: Final = 1024
"""Bytes that a broker may send at once; an image is far smaller, and memory is bounded."""

MOST_MESSAGES: Final = 1000
"""Messages that one `read` takes in; whoever floods the topic must not hold the lane's thread."""

REFUSALS: Final = frozenset({0x86, 0x87, 0x8A, 0x8C})
"""Reason codes that speak of rights: bad user or password, not authorized, banned, bad method."""


@dataclass(frozen=True, kw_only=True)
class MqttOptions:
    """How to reach a broker.

    Attributes:
        host: Name or address of the broker.
        port: Its TCP port; 8883 is usual with TLS.
        topic: What both topics begin with.
        user: User name at the broker; empty for none.
        password: Its password.
        tls_ca: Certificates (PEM) of who vouches for the broker; None for a connection without TLS.
        tls_certificate: Our own certificate (PEM), for a broker that asks for one.
        tls_key: Its private key (PEM).
        keepalive_s: Seconds; half as many again without a word, and the broker publishes the will.
        expiry_s: Seconds after which the broker forgets an image that was not renewed.
        timeout_s: Seconds that one call may take.

    Raises:
        ConfigError: When one of them cannot be used.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    topic: str = "xedge/lane"
    user: str = ""
    password: Secret | None = None
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    keepalive_s: int = 5
    expiry_s: int = 5
    timeout_s: float = 1.0

    def __post_init__(self) -> None:
        require = partial(require_option, "mqtt")
        require(bool(self.host), "host", "a name or an address", "nothing")
        require(0 < self.port < 65536, "port", "1 to 65535", self.port)
        wild = not self.topic or any(c in self.topic for c in "+#\0") or self.topic[0] == "$"
        require(not wild, "topic", "a name without +, # and a leading $", self.topic or "nothing")
        for name in ("keepalive_s", "expiry_s"):
            value = getattr(self, name)
            require(1 <= value <= 65535, name, "1 to 65535", value)
        require(math.isfinite(self.timeout_s) and self.timeout_s > 0, "timeout_s", "above 0",
                self.timeout_s)  # fmt: skip
        require(self.password is None or bool(self.user), "password", "a user with it", "no user")
        require((self.tls_certificate is None) == (self.tls_key is None), "tls_certificate",
                "tls_certificate and tls_key together", "one of them")  # fmt: skip
        require(self.tls_certificate is None or self.tls_ca is not None, "tls_certificate",
                "tls_ca with it", "no tls_ca")  # fmt: skip
        if self.password is not None and self.tls_ca is None and not _is_loopback(self.host):
            raise ConfigError(
                f"mqtt: the password would cross the network to {self.host} in the clear",
                expected="tls_ca, or a broker on this machine", found="neither",
                remedy="Give the broker a certificate, and name who vouches for it in tls_ca",
            )  # fmt: skip

    @property
    def waits_s(self) -> float:
        """Seconds for which a call may wait for the network."""
        return self.timeout_s

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What no other bus of the lane may have: the topic of its image, at this broker."""
        topic = f"{self.topic}/image at {machine(self.host)}:{self.port}"
        return (Claim(topic, 0, IMAGE_BYTES - 1),)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _library() -> Any:
    try:
        import paho.mqtt.client
        import paho.mqtt.packettypes
        import paho.mqtt.properties
        import paho.mqtt.subscribeoptions
    except ModuleNotFoundError as error:
        raise BusNotInstalled("MQTT needs the package paho-mqtt",
                              remedy="Run: pip install 'xedge[mqtt]'") from error  # fmt: skip
    return paho.mqtt


def _tls(options: MqttOptions) -> ssl.SSLContext | None:
    if options.tls_ca is None:
        return None
    try:
        context = ssl.create_default_context(cafile=options.tls_ca)
        if options.tls_certificate is not None and options.tls_key is not None:
            require_private(options.tls_key)
            # An empty password, or OpenSSL would ask a person for that of an encrypted key.
            context.load_cert_chain(options.tls_certificate, options.tls_key, password="")
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigError(
            "mqtt: a certificate or key cannot be read",
            expected="PEM files, the key not encrypted",
            found=f"{type(error).__name__} among {options.tls_ca}, {options.tls_certificate}, "
            f"{options.tls_key}",
        ) from error  # fmt: skip
    return context


@dataclass(frozen=True)
class _Role:
    """One end: what it publishes under which name, and what it hears."""

    name: str
    speaks: str
    hears: str
    heard_bytes: int
    keeps: bool  # the broker retains what this end publishes, until its will replaces it


_LANE: Final = _Role("lane", "image", "commands", COMMAND_BYTES, keeps=True)
_PLC: Final = _Role("plc", "commands", "image", IMAGE_BYTES, keeps=False)


class _End:
    """A connection to a broker that speaks under one topic and hears under another."""

    def __init__(self, options: MqttOptions, role: _Role) -> None:
        self.options, self._role = options, role
        self._speaks, self._hears = (f"{options.topic}/{t}" for t in (role.speaks, role.hears))
        self._paho = _library()
        self._tls = _tls(options)
        self._client: Client | None = None
        self._forget()

    def _forget(self) -> None:
        self._heard = b""
        self._messages = 0
        self._answers: dict[int, Any] = {}  # reason codes by message id; 0 for the connection's
        self._foreign = False
        self._goodbye = ""

    def __str__(self) -> str:
        return f"MQTT {self.options.topic} at {self.options.host}:{self.options.port}"

    def connect(self) -> None:
        """Be known at the broker, and hear; see `xedge.control.bus.Bus.connect`."""
        if self._client is not None:
            return
        self._forget()
        until = time.monotonic() + self.options.timeout_s
        self._client = client = self._new_client()
        try:
            self._open(client)
            self._await(0, until, "the broker does not answer")
            # Of its own topic the lane hears what others write there, which nobody should.
            for topic in (self._hears, self._speaks) if self._role.keeps else (self._hears,):
                _, number = client.subscribe(topic, options=self._subscription())
                self._await(number or 0, until, f"{topic} cannot be heard")
        except BaseException:
            self.close()
            raise

    def _new_client(self) -> Client:
        mqtt, options = self._paho.client, self.options
        client: Client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            # The same name at every start: the broker then ends a connection that was left behind.
            client_id=f"xedge-{self._role.name}-{options.topic}",
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = options.timeout_s
        if options.user:
            client.username_pw_set(
                options.user, options.password.reveal() if options.password else None
            )
        if self._tls is not None:
            client.tls_set_context(self._tls)
        if self._role.keeps:
            client.will_set(self._speaks, bytes(IMAGE_BYTES), qos=1, retain=True)
        client.on_connect = lambda _c, _u, _f, code, _p: self._answers.__setitem__(0, code)
        client.on_subscribe = lambda _c, _u, number, codes, _p: self._answers.__setitem__(
            number, codes[0]
        )
        client.on_publish = lambda _c, _u, number, code, _p: self._answers.__setitem__(number, code)
        client.on_disconnect = lambda _c, _u, _f, code, _p: setattr(self, "_goodbye", str(code))
        client.on_message = lambda _c, _u, message: self._take(message)
        # A small packet behind one that is not acknowledged would wait for 40 ms otherwise.
        client.on_socket_open = lambda _c, _u, wire: wire.setsockopt(  # type: ignore[attr-defined]
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        return client

    def _properties(self, packet: str, **values: int) -> Any:
        kind = getattr(self._paho.packettypes.PacketTypes, packet)
        properties = self._paho.properties.Properties(kind)
        for name, value in values.items():
            setattr(properties, name, value)
        return properties

    def _subscription(self) -> Any:
        kind = self._paho.subscribeoptions.SubscribeOptions
        kept = kind.RETAIN_DO_NOT_SEND if self._role.keeps else kind.RETAIN_SEND_ON_SUBSCRIBE
        return kind(qos=1, noLocal=True, retainHandling=kept)

    def _open(self, client: Client) -> None:
        options = self.options
        limit = self._properties("CONNECT", MaximumPacketSize=LARGEST_PACKET)
        try:
            client.connect(options.host, options.port, options.keepalive_s, properties=limit)
        except ssl.SSLCertVerificationError as error:
            raise BusRefused(
                f"{self}: the broker's certificate is not to be trusted",
                expected=f"one for {options.host} that {options.tls_ca} vouches for",
                found=error.verify_message, remedy="Check tls_ca, and the name in host",
            ) from error  # fmt: skip
        except ssl.SSLError as error:
            raise BusError(
                f"{self}: no TLS connection", found=error.reason or "no answer in TLS",
                remedy="Check that the broker speaks TLS at this port",
            ) from error  # fmt: skip
        except OSError as error:
            raise BusError(
                f"{self}: the broker cannot be reached", found=error.strerror or str(error),
                remedy="Check that the broker runs, its host and its port",
            ) from error  # fmt: skip

    def _await(self, number: int, until: float, failing: str) -> None:
        """Return when the broker has said yes to a message of ours."""
        assert self._client is not None
        while number not in self._answers:
            left = until - time.monotonic()
            if left <= 0:
                raise BusError(
                    f"{self}: {failing}", expected=f"an answer within {self.options.timeout_s} s",
                    found="none", remedy="Check the network and the broker",
                )  # fmt: skip
            self._turn(left, number)
        code = self._answers.pop(number)
        if code.is_failure:
            kind = BusRefused if code.value in REFUSALS else BusError
            raise kind(
                f"{self}: {failing}", found=str(code),
                remedy="Check user, password and the broker's access list",
            )  # fmt: skip

    def _turn(self, wait_s: float, number: int | None = None) -> None:
        """Exchange with the broker what there is, after waiting for it."""
        assert self._client is not None
        failed = self._client.loop(wait_s)
        if failed and number not in self._answers:  # a refusal comes as an answer, and says why
            also = ", and that it takes our certificate" if self._tls is not None else ""
            raise BusError(
                f"{self}: the broker is gone", found=self._goodbye or failed.name,
                remedy=f"Check the broker, that no second lane has this topic{also}",
            )  # fmt: skip

    def _take(self, message: MQTTMessage) -> None:
        self._messages += 1
        if message.topic == self._speaks:
            self._foreign = True
        elif message.retain and self._role.keeps:
            return  # a command is for the moment in which it was given
        else:
            self._heard = bytes(message.payload)

    def _send(self, data: bytes) -> None:
        client = self._check()
        until = time.monotonic() + self.options.timeout_s
        keeps = self._role.keeps
        info = client.publish(
            self._speaks, data, qos=1, retain=keeps,
            properties=self._properties("PUBLISH", MessageExpiryInterval=self.options.expiry_s),
        )  # fmt: skip
        self._await(info.mid, until, f"{self._speaks} was not taken")
        self._check()

    def _listen(self) -> bytes:
        self._check()
        first = self._messages
        while self._messages - first < MOST_MESSAGES:
            before = self._messages
            self._turn(0)
            if self._messages == before:
                break
        self._check()
        return fit(self._heard, self._role.heard_bytes)

    def _check(self) -> Client:
        if self._client is None:
            raise BusError(f"{self}: not connected", remedy="Call connect() first")
        if self._foreign:
            raise BusError(
                f"{self}: another client writes to {self._speaks}",
                remedy="Find it, and let the broker's access list keep this topic for the lane",
            )
        return self._client

    def close(self) -> None:
        """Drop the connection without a goodbye, so that the broker publishes the will."""
        client, self._client = self._client, None
        if client is not None and (wire := client.socket()) is not None:
            client.on_disconnect = None
            wire.close()


class MqttBus(_End):
    """The lane's end.

    Args:
        options: How to reach the broker.

    Raises:
        BusNotInstalled: When paho-mqtt is absent.
        ConfigError: When a certificate or key cannot be read.
    """

    def __init__(self, options: MqttOptions) -> None:
        super().__init__(options, _LANE)

    def write(self, image: bytes) -> None:
        """Publish an image and have it acknowledged; see `xedge.control.bus.Bus.write`."""
        self._send(image)

    def read(self) -> bytes:
        """The commands that were heard last; see `xedge.control.bus.Bus.read`."""
        return self._listen()


class MqttPort(_End):
    """The PLC's end: another client of the same broker.

    Args:
        options: How to reach the broker.

    Raises:
        BusNotInstalled: When paho-mqtt is absent.
        ConfigError: When a certificate or key cannot be read.
    """

    def __init__(self, options: MqttOptions) -> None:
        super().__init__(options, _PLC)

    def read(self) -> bytes:
        """The image that the broker has; see `xedge.control.bus.PlcPort.read`."""
        return self._listen()

    def write(self, commands: bytes) -> None:
        """Publish commands and have them acknowledged; see `xedge.control.bus.PlcPort.write`."""
        self._send(commands)
