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
    get_requires_for_build_editable,
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


def get_requires_for_build_wheel(config_settings: Settings | None = None) -> list[str]:
    """What a wheel needs to be built: with libxedge, the package that has OpenVINO's headers."""
    settings = config_settings or {}
    requires = list(_build.get_requires_for_build_wheel(dict(settings)))
    if _is_on(settings.get("wheel.cmake")) and settings.get("cmake.define.XEDGE_OPENVINO") != "OFF":
        requires.append("openvino>=2025.0")
    return requires


def _is_on(value: str | list[str] | None) -> bool:
    return str(value).lower() in {"1", "on", "true", "yes"}
