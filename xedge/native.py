"""Where libxedge is, the library for programs in C and C++, when this installation has it.

>>> import xedge.native
>>> xedge.native.find_libxedge().cmake_dir                            # doctest: +SKIP
PosixPath('/opt/venv/lib/python3.11/site-packages/xedge/libxedge/lib/cmake/xedge')
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xedge.errors import ConfigError

FOLDER: Final = Path(__file__).resolve().parent / "libxedge"
"""Where a wheel that was built with libxedge has it."""

HOW: Final = "pip install . --config-settings wheel.cmake=true"
"""Command, in a checkout, that installs xedge with libxedge; pip before 23.1 knows no ``-C``."""


@dataclass(frozen=True)
class LibXedge:
    """An installation of libxedge.

    Attributes:
        prefix: What ``CMAKE_PREFIX_PATH`` takes.
    """

    prefix: Path

    @property
    def include_dir(self) -> Path:
        """Folder of ``xedge/xedge.h``."""
        return self.prefix / "include"

    @property
    def lib_dir(self) -> Path:
        """Folder of the library, for ``-L`` and the loader's path."""
        return self.prefix / "lib"

    @property
    def library(self) -> Path:
        """The library by the name that programs are linked with, ``libxedge.so``."""
        return self.lib_dir / "libxedge.so"

    @property
    def cmake_dir(self) -> Path:
        """Folder of the CMake package, for ``xedge_DIR``."""
        return self.lib_dir / "cmake" / "xedge"

    @property
    def pkgconfig_dir(self) -> Path:
        """Folder of ``xedge.pc``, for ``PKG_CONFIG_PATH``."""
        return self.lib_dir / "pkgconfig"


def find_libxedge(folder: Path = FOLDER) -> LibXedge:
    """The libxedge that was installed with this package.

    Args:
        folder: Where it would be.

    Raises:
        ConfigError: When this installation is of Python alone.
    """
    found = LibXedge(folder)
    if not found.library.is_file():
        raise ConfigError(
            "this installation of xedge has no libxedge",
            expected=f"{found.library}",
            found="an installation of Python alone",
            remedy=f"Run in a checkout: {HOW} (or build it with cmake, see docs/embed.md)",
        )
    return found
