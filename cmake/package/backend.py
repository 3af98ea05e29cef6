"""scikit-build-core, with the headers of an engine where libxedge goes into the wheel.

A build has an environment of its own, and requirements that depend on what was asked for are not
among what scikit-build-core can be told in pyproject.toml. See docs/adr/0020.
"""

from __future__ import annotations

from collections.abc import Mapping

from scikit_build_core import build as _build
from scikit_build_core.build import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = Mapping[str, "str | list[str]"]


OFF = frozenset({"", "0", "off", "no", "n", "false", "ignore", "notfound"})
"""What CMake takes for false, in any case of letters; so does what ends in -NOTFOUND."""


def get_requires_for_build_wheel(config_settings: Settings | None = None) -> list[str]:
    """What a wheel needs to be built: with libxedge, the package that has OpenVINO's headers."""
    settings = dict(config_settings or {})
    return [*_build.get_requires_for_build_wheel(settings), *_headers(settings)]


def get_requires_for_build_editable(config_settings: Settings | None = None) -> list[str]:
    """As `get_requires_for_build_wheel`, for an editable installation."""
    settings = dict(config_settings or {})
    return [*_build.get_requires_for_build_editable(settings), *_headers(settings)]


def _headers(settings: Settings) -> list[str]:
    """The package with the headers of the engine that libxedge is built for, if it is."""
    wanted = _is_on(settings.get("wheel.cmake", "off")) and _is_on(
        settings.get("cmake.define.XEDGE_OPENVINO", "auto")
    )
    return ["openvino>=2025.0"] if wanted else []


def _is_on(value: str | list[str]) -> bool:
    word = str(value).strip().lower()
    return word not in OFF and not word.endswith("-notfound")
