"""NVIDIA GPUs through cuda-core: a device, its stream, and memory that host and GPU exchange.

A graphics card has memory of its own, so a tensor lives twice and is copied through pinned memory.
On a Jetson host and GPU share one memory (`properties.integrated`): the pinned buffer is mapped,
and the GPU reads and writes it where it is. Managed memory is never used: on Orin the host must not
touch it while any kernel runs.
"""

from __future__ import annotations

import ctypes
import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from xedge.engines.base import TensorSpec
from xedge.errors import EngineLoadError, EngineNotInstalled


class Gpu:
    """The first NVIDIA GPU that this process sees; ``CUDA_VISIBLE_DEVICES`` chooses another."""

    def __init__(self, core: Any, extra: str) -> None:
        self._core = core
        try:
            device = core.Device(0)
            device.set_current()
            capability = device.compute_capability
            self.name = str(device.name)
            self.capability = (int(capability.major), int(capability.minor))
            properties = device.properties
            # Only under unified addressing is a pinned buffer's address the GPU's as well.
            self.shares_memory = bool(
                properties.integrated
                and properties.can_map_host_memory
                and properties.unified_addressing
            )
        except Exception as error:  # the driver's own errors share no base class but this
            raise EngineLoadError(
                "there is no NVIDIA GPU that can be used",
                expected="a GPU and its driver",
                found=str(error) or type(error).__name__,
                remedy=f"Check `nvidia-smi`, or use an engine without the extra {extra!r}",
            ) from error

    def make_current(self) -> None:
        """Make it the device of this thread: an engine may be loaded in one and run in another."""
        self._core.Device(0).set_current()

    def stream(self) -> Any:
        """A stream of its own; the default stream would wait for everything else on the GPU."""
        options = self._core.StreamOptions(nonblocking=True)
        return self._core.Device(0).create_stream(options=options)

    def exchange(self, spec: TensorSpec, stream: Any) -> Exchange:
        """Memory of one tensor, on the host and for the GPU."""
        # An empty tensor would be refused by the allocator.
        nbytes = max(int(np.prod(spec.shape, dtype=np.int64)) * spec.dtype.itemsize, 1)
        pinned = self._core.LegacyPinnedMemoryResource().allocate(nbytes)
        if self.shares_memory:
            return Exchange(spec, pinned, None)
        return Exchange(spec, pinned, self._core.Device(0).allocate(nbytes, stream=stream))


class Exchange:
    """One tensor's memory: what the host writes or reads, and the address that the GPU knows.

    Args:
        spec: Of the tensor.
        pinned: A buffer of pinned host memory.
        device: A buffer on the GPU; None where the GPU uses the pinned one.
    """

    def __init__(self, spec: TensorSpec, pinned: Any, device: Any) -> None:
        self._pinned, self._device = pinned, device
        count = int(np.prod(spec.shape, dtype=np.int64))
        raw = (ctypes.c_uint8 * (count * spec.dtype.itemsize)).from_address(int(pinned.handle))
        seen: npt.NDArray[np.uint8] = np.ctypeslib.as_array(raw)
        self.host: npt.NDArray[Any] = seen.view(spec.dtype).reshape(spec.shape)

    @property
    def address(self) -> int:
        """Where the GPU finds the tensor."""
        return int((self._device or self._pinned).handle)

    def upload(self, stream: Any) -> None:
        """Queue the copy to the GPU; nothing where the memory is one."""
        if self._device is not None:
            self._device.copy_from(self._pinned, stream=stream)

    def download(self, stream: Any) -> None:
        """Queue the copy from the GPU; nothing where the memory is one."""
        if self._device is not None:
            self._pinned.copy_from(self._device, stream=stream)

    def close(self) -> None:
        """Free both buffers; no view of ``host`` may be used afterwards."""
        for buffer in (self._device, self._pinned):
            if buffer is not None:
                buffer.close()


def open_gpu(extra: str) -> Gpu:
    """The GPU.

    Args:
        extra: The extra of xedge that installs cuda-core, for the remedy.

    Raises:
        EngineNotInstalled: When cuda-core is absent.
        EngineLoadError: When there is no GPU, or no driver.
    """
    try:
        core = importlib.import_module("cuda.core")
    except ImportError as error:
        raise EngineNotInstalled(
            "cuda-core is not installed", remedy=f"Run: pip install 'xedge[{extra}]'"
        ) from error
    return Gpu(core, extra)
