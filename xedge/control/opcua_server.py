"""The nodes that a lane offers over OPC UA; everything here runs in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from xedge.control.commands import COMMAND_BYTES, SILENT
from xedge.control.image import IMAGE_BYTES, IMAGE_WORDS, PLACES, Header, Place, decode
from xedge.control.opcua_gate import Gate, Identity, guarded_server
from xedge.control.opcua_vision import VisionSystem
from xedge.control.words import to_bytes, to_words
from xedge.errors import ImageRefused

if TYPE_CHECKING:
    from asyncua import Server, ua

    from xedge.control.opcua import OpcUaOptions

NAMESPACE: Final = "urn:xedge:control"
NAME: Final = "xedge lane"
LARGEST_MESSAGE: Final = 1 << 20
"""Bytes that a stranger can make the server collect."""

MIRRORS: Final = (
    ("State", "String", "", "What the lane is doing"),
    ("Epoch", "UInt32", 0, "Which start of the lane this is"),
    ("Heartbeat", "UInt16", 0, "Changes at every beat of the lane"),
    ("Decisions", "UInt32", 0, "Decisions made since the lane was started"),
    ("PlcHeartbeat", "UInt16", 0, "The last heartbeat of the PLC that the lane has heard"),
    ("Bags", "UInt32", [0] * PLACES, "Numbers of the bags whose decisions stand; 0 is none"),
    ("Verdicts", "String", [""] * PLACES, "What was decided of each of them"),
    ("Reasons", "String", [""] * PLACES, "Why they are not cleared"),
    ("Heads", "Int32", [0] * PLACES, "Encoder at the first line of each"),
    ("Tails", "Int32", [0] * PLACES, "Encoder at the last line of each"),
    ("ValidUntil", "Int32", [0] * PLACES, "Encoder at which a CLEAR ends"),
)
"""For people and screens: name, type, value at rest, description. A PLC acts on Image alone."""


def mirrored(header: Header | None, places: Sequence[Place | None]) -> dict[str, Any]:
    """What the mirrors show of an image; at rest without one."""
    if header is None:
        return {name: rest for name, _, rest, _ in MIRRORS}
    return {
        "State": header.state.name,
        "Epoch": header.epoch,
        "Heartbeat": header.heartbeat,
        "Decisions": header.decisions,
        "PlcHeartbeat": header.plc_heartbeat,
        "Bags": [p.bag if p else 0 for p in places],
        "Verdicts": [p.verdict.name if p else "" for p in places],
        "Reasons": [p.reason.name if p else "" for p in places],
        "Heads": [p.head if p else 0 for p in places],
        "Tails": [p.tail if p else 0 for p in places],
        "ValidUntil": [p.valid_until if p else 0 for p in places],
    }


class LaneServer:
    """A server with the nodes of one lane.

    Args:
        options: Where to listen.
        gate: Who may speak with it.
        identity: Its own certificate; None for a server without security.
    """

    def __init__(self, options: OpcUaOptions, gate: Gate, identity: Identity | None) -> None:
        self._options, self._gate, self._identity = options, gate, identity
        self._server: Server | None = None
        self._nodes: dict[str, ua.NodeId] = {}
        self._shown = mirrored(None, ())
        self._vision: VisionSystem | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._zeroing: asyncio.Task[None] | None = None
        self.commands: bytes = SILENT

    async def start(self) -> None:
        """Make the nodes, and listen."""
        from asyncua import Server, ua
        from asyncua.common.connection import TransportLimits

        options, identity = self._options, self._identity
        server = self._server = Server(iserver=guarded_server(self._gate))
        server.limits = TransportLimits(
            max_chunk_count=LARGEST_MESSAGE // 65535 + 1, max_message_size=LARGEST_MESSAGE
        )
        await server.init()
        server.set_endpoint(f"opc.tcp://{options.host}:{options.port}/xedge")
        server.set_server_name(NAME)
        server.product_uri, server.manufacturer_name = "urn:xedge", "xedge"
        policy = ua.SecurityPolicyType.NoSecurity
        if identity is not None:
            policy = ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt
            server.iserver.certificate = identity.certificate
            server.iserver.private_key = identity.key
        await server.set_application_uri(identity.uri if identity else "urn:xedge:lane")
        server.set_security_policy([policy])
        await self._make_nodes(server)
        if options.vision_nodeset is not None:
            self._vision = await VisionSystem.install(server, options.vision_nodeset)
        await server.start()

    async def _make_nodes(self, server: Server) -> None:
        from asyncua import ua

        index = await server.register_namespace(NAMESPACE)
        lane = await server.nodes.objects.add_object(
            ua.NodeId("Lane", index), ua.QualifiedName("Lane", index)
        )

        async def add(name: str, kind: str, value: Any, description: str) -> Any:
            node = await lane.add_variable(ua.NodeId(name, index), ua.QualifiedName(name, index),
                                           value, ua.VariantType[kind])  # fmt: skip
            await node.write_attribute(
                ua.AttributeIds.Description, ua.DataValue(ua.Variant(ua.LocalizedText(description)))
            )
            self._nodes[name] = node.nodeid
            return node

        await add("Image", "UInt16", [0] * IMAGE_WORDS, "The decision image, in one block")
        commands = await add("Commands", "UInt16", [0] * (COMMAND_BYTES // 2),
                             "The command image, to be written in one block")  # fmt: skip
        await commands.set_writable()
        server.set_attribute_value_setter(commands.nodeid, self._commanded)
        for mirror in MIRRORS:
            await add(*mirror)

    def _commanded(self, node: Any, attribute: ua.AttributeIds, value: ua.DataValue) -> None:
        """Take in what a client wrote, sound or not."""
        node.attributes[attribute].value = value
        said = value.Value.Value if value.Value is not None else None
        self.commands = to_bytes(said) if isinstance(said, list) else SILENT

    async def show(self, image: bytes) -> None:
        """Put an image into the nodes; it turns to zeros when none follows in time."""
        if self._expiry is not None:
            self._expiry.cancel()
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(self._options.expiry_s, self._expire)
        await self._put(image)

    def _expire(self) -> None:
        """The thread that should renew the image hangs: nothing may be read as cleared."""
        self._zeroing = asyncio.get_running_loop().create_task(self._put(bytes(IMAGE_BYTES)))

    async def _put(self, image: bytes) -> None:
        await self._write("Image", "UInt16", list(to_words(image)))
        try:
            header, places = decode(image)
        except ImageRefused:
            header, places = None, ()
        now = mirrored(header, places)
        for name, kind, _, _ in MIRRORS:
            if now[name] != self._shown[name]:
                await self._write(name, kind, now[name])
        self._shown = now
        if self._vision is not None:
            await self._vision.show(header, places)

    async def _write(self, name: str, kind: str, value: Any) -> None:
        from asyncua import ua

        assert self._server is not None
        now = datetime.datetime.now(datetime.timezone.utc)
        variant = ua.Variant(value, ua.VariantType[kind])
        await self._server.write_attribute_value(
            self._nodes[name], ua.DataValue(variant, SourceTimestamp=now, ServerTimestamp=now)
        )

    async def stop(self) -> None:
        """Turn everybody away, and end."""
        server, self._server = self._server, None
        if self._expiry is not None:
            self._expiry.cancel()
        if server is None:
            return
        # Its clock would end by itself only at the end of its second.
        clock, server.iserver.time_task = server.iserver.time_task, None
        if clock is not None:
            clock.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await clock
        await server.stop()
