"""TensorRT 10.3 to 11.4 and TensorRT-RTX behind one face: what a version has is asked, not guessed.

The two modules `tensorrt` and `tensorrt_rtx` differ from version to version by names that come
and go. `Features` says which are there, by looking for them; no code compares version numbers.
What is left is the same everywhere, and tests hold every name that is used against every version.
"""

from __future__ import annotations

import collections
import importlib
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from xedge.engines.build import Progress
from xedge.errors import EngineError, EngineNotInstalled

KEPT_MESSAGES: Final = 20

_Kind = TypeVar("_Kind", bound=EngineError)


@dataclass(frozen=True)
class Features:
    """What a version of TensorRT has beyond what all have.

    Attributes:
        weak_typing: Precision can be left to the library, by flags (10.x).
        targets: A plan is built for named compute capabilities, without a GPU (RTX).
        kernel_cache: Kernels compiled at the first run can be kept (RTX).
        own_graphs: CUDA graphs are a setting of the library (RTX).
        validity: A plan can be judged before it is opened (RTX).
    """

    weak_typing: bool
    targets: bool
    kernel_cache: bool
    own_graphs: bool
    validity: bool

    @classmethod
    def of(cls, trt: Any) -> Features:
        """What this module has."""
        settings = getattr(trt, "IRuntimeConfig", None)
        return cls(
            weak_typing=hasattr(trt.BuilderFlag, "FP16"),
            targets=hasattr(trt.IBuilderConfig, "set_compute_capability"),
            kernel_cache=hasattr(settings, "create_runtime_cache"),
            own_graphs=hasattr(settings, "cuda_graph_strategy"),
            validity=hasattr(trt.Runtime, "get_engine_validity"),
        )


@dataclass(frozen=True)
class Api:
    """One of the two modules.

    Attributes:
        trt: The module.
        name: ``TensorRT`` or ``TensorRT-RTX``, for people.
        features: What this version has.
    """

    trt: Any
    name: str
    features: Features

    @property
    def version(self) -> str:
        """The module's version."""
        return str(self.trt.__version__)

    def dtypes(self) -> dict[Any, np.dtype[Any]]:
        """The library's types that an input or output of a graph may have, in numpy's."""
        trt = self.trt
        pairs = {
            trt.DataType.FLOAT: np.float32,
            trt.DataType.HALF: np.float16,
            trt.DataType.UINT8: np.uint8,
            trt.DataType.INT32: np.int32,
        }
        return {theirs: np.dtype(ours) for theirs, ours in pairs.items()}


def open_api(module: str, name: str, extra: str) -> Api:
    """The module, imported.

    Args:
        module: ``tensorrt`` or ``tensorrt_rtx``.
        name: For people.
        extra: The extra of xedge that installs what belongs to it.

    Raises:
        EngineNotInstalled: When it is absent, or one of its libraries is.
    """
    try:
        trt = importlib.import_module(module)
    except Exception as error:  # its wheels fail in many ways where a library is missing
        where = (
            "Run: pip install 'xedge[tensorrt-rtx]'"
            if module == "tensorrt_rtx"
            else "On a Jetson it comes with JetPack: make the environment with "
            "--system-site-packages; elsewhere: pip install tensorrt"
        )
        raise EngineNotInstalled(
            f"{name} is not installed",
            expected=f"the module {module}, and xedge[{extra}]",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            remedy=where,
        ) from error
    return Api(trt, name, Features.of(trt))


def make_logger(api: Api) -> Any:
    """A logger of the library that prints nothing, and keeps its last errors in ``errors``.

    What TensorRT has to say goes into our exceptions, once, and not onto stderr. The lines that
    describe the layers of a plan are kept in ``layers``.
    """
    trt = api.trt
    serious = {trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR}

    class Logger(trt.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: collections.deque[str] = collections.deque(maxlen=KEPT_MESSAGES)
            self.layers: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in serious:
                self.errors.append(" ".join(msg.split()))
            elif ", LayerType: " in msg:
                self.layers += msg.splitlines()

    return Logger()


def make_monitor(api: Api, progress: Progress) -> Any:
    """A progress monitor of the library that calls ``progress``.

    Phases nest; what is told is the outermost one, and how much of it is done with the phases
    within it. An exception of ``progress``, Ctrl-C for one, must not cross the library: it is kept
    in ``interrupted`` and ends the build.
    """
    trt = api.trt

    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.interrupted: BaseException | None = None
            self._phases: dict[str, list[int]] = {}
            self._parents: dict[str, str | None] = {}
            self._told = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not self._phases:
                self._told = 0.0
            self._phases[phase_name] = [0, max(int(num_steps), 1)]
            self._parents[phase_name] = parent_phase

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._phases:
                self._phases[phase_name][0] = int(step) + 1
            return self._tell(phase_name)

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)
            self._parents.pop(phase_name, None)

        def _tell(self, phase: str) -> bool:
            share, name = 0.0, phase
            while name in self._phases:
                done, steps = self._phases[name]
                share = min((done + share) / steps, 1.0)
                phase, name = name, self._parents[name] or ""
            # A phase may begin again within the same step of the one around it.
            self._told = max(self._told, share)
            try:
                progress(phase, self._told)
            except BaseException as error:
                self.interrupted = error
            return self.interrupted is None

    return Monitor()


def failed(
    kind: type[_Kind], what: str, logger: Any, *, expected: str = "", remedy: str = ""
) -> _Kind:
    """The error of ``kind`` for what the library said while it failed."""
    said = list(dict.fromkeys(logger.errors))  # it repeats itself on the way up
    logger.errors.clear()
    return kind(what, expected=expected, found="; ".join(said[:3]) or "no reason", remedy=remedy)
