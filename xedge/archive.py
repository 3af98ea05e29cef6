"""A small zip of named members, read without trust: sizes and names are limited beforehand.

Zip bombs, duplicate and foreign names, odd compression and corrupt bytes all end in
`BundleError`; arrays are ``.npy`` files, read without pickle.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from xedge.errors import BundleError

LARGEST_CONTENT: Final = 512 * 2**20
"""Bytes of all members together."""
MOST_MEMBERS: Final = 64


_OTHER_KINDS: Final = MappingProxyType(
    {
        # A protobuf whose fields are ir_version, and then a producer, a graph or the opsets.
        "an ONNX graph": re.compile(rb"\x08[\x01-\x7f][\x12\x1a\x3a\x42]"),
        # A zip whose first member is torch's pickle, in a folder.
        "a checkpoint": re.compile(rb"PK\x03\x04.{26}[^/]{1,255}/data\.pkl", re.DOTALL),
    }
)
"""How other files that models come in begin."""


def corrupt(found: str) -> BundleError:
    """The error for a bundle that was changed or cut short."""
    return BundleError(
        "the bundle cannot be used",
        expected="a sound .xedge file",
        found=found,
        remedy="Get the bundle again from where it came, or export it again",
    )


def refuse_other_kinds(content: bytes) -> None:
    """Nothing, when a file does not begin as those of other kinds do.

    Raises:
        BundleError: When it does; the message names the kind.
    """
    for kind, beginning in _OTHER_KINDS.items():
        if beginning.match(content):
            raise BundleError(
                "this is no bundle",
                expected="a .xedge file",
                found=kind,
                remedy="`xedge export CHECKPOINT -o FILE.xedge` makes a bundle of a checkpoint",
            )


def pack(members: Mapping[str, bytes]) -> bytes:
    """A zip of the members in their order; equal members give equal bytes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            # A fixed date makes equal bundles equal files. Weights hardly shrink: stored.
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            stored = name.endswith(".onnx")
            entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return target.getvalue()


def unpack(content: bytes, allowed: re.Pattern[str]) -> dict[str, bytes]:
    """All members by name, from the bytes of a zip.

    Args:
        content: The whole file.
        allowed: What a member's name must match in full; nothing that is a path out of a folder.

    Raises:
        BundleError: When it is no sound zip file, or exceeds a limit of this module.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check(entries, allowed)
            # zipfile reads no more than the declared size and then compares the CRC.
            return {entry.filename: archive.read(entry) for entry in entries}
    except BundleError:
        raise
    except Exception as error:  # hostile bytes fail in zipfile, zlib, struct, codecs ...
        raise corrupt(f"it is no sound zip file ({error or type(error).__name__})") from error


def _check(entries: list[zipfile.ZipInfo], allowed: re.Pattern[str]) -> None:
    names = [entry.filename for entry in entries]
    if len(names) > MOST_MEMBERS or len(set(names)) != len(names):
        raise corrupt(f"it has {len(names)} members, {len(set(names))} of them distinct")
    if foreign := [name for name in names if not allowed.fullmatch(name)]:
        raise corrupt(f"it has a member named {foreign[0]!r}")
    size = sum(entry.file_size for entry in entries)
    if size > LARGEST_CONTENT:
        raise corrupt(f"it unpacks to {size >> 20} MiB, more than is allowed")
    if any(e.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for e in entries):
        raise corrupt("a member is compressed in another way than deflate")


def npy(array: npt.NDArray[Any]) -> bytes:
    """The array as a ``.npy`` file."""
    target = io.BytesIO()
    np.lib.format.write_array(target, np.ascontiguousarray(array), (1, 0), allow_pickle=False)
    return target.getvalue()


def read_npy(data: bytes, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The array of that dtype in a ``.npy`` file; read-only.

    Raises:
        ValueError: When it is none, or of another dtype, order or size than its header says.
    """
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array of another .npy version")
    shape, fortran, found = np.lib.format.read_array_header_1_0(stream)
    body = data[stream.tell() :]
    count = 1
    for side in shape:
        count *= int(side)
    if found != dtype or fortran or count * found.itemsize != len(body):
        raise ValueError(f"an array of {found} {list(shape)} where {dtype} belongs")
    return np.frombuffer(body, dtype).reshape(shape)
