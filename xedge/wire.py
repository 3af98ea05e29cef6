"""Protocol buffers on the wire: fields of a message by their number, read and written.

What reads or cuts an ONNX file needs a few of its fields, and neither the package onnx nor protobuf
is on a device. Damage raises ValueError or IndexError, which callers turn into their own errors.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def messages(values: list[int | memoryview]) -> list[memoryview]:
    """Those of a field's values that are messages, texts or packed numbers."""
    return [value for value in values if isinstance(value, memoryview)]


def text(values: list[int | memoryview]) -> str:
    """The last of the values as text; empty without one."""
    found = messages(values)
    return bytes(found[-1]).decode() if found else ""


def number(values: list[int | memoryview]) -> int:
    """The last of the values as a number; 0 without one."""
    found = [value for value in values if isinstance(value, int)]
    return found[-1] if found else 0


def values(message: memoryview) -> dict[int, list[int | memoryview]]:
    """Values of a message by field number."""
    found: dict[int, list[int | memoryview]] = {}
    for number, _, value in fields(message):
        found.setdefault(number, []).append(value)
    return found


def fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Number, wire type and value of each field of a message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, kind, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"a field of wire type {kind}")
        if not number or size > len(data) - at:
            raise ValueError("a field that reaches beyond its message")
        yield number, kind, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than ten bytes")


def varints(data: memoryview) -> Iterator[int]:
    """Numbers of a packed field."""
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _encoded(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, value: int | bytes | memoryview, kind: int = _BYTES) -> bytes:
    """A field as it is written."""
    head = _encoded(number << 3 | kind)
    if isinstance(value, int):
        return head + _encoded(value)
    return b"".join((head, _encoded(len(value)) if kind == _BYTES else b"", value))
