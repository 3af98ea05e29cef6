"""Typed access to the simulator's tables: materials, spectra and detector responses.

Every material is written as so many centimetres of three basis materials (polyethylene,
aluminium, steel) that attenuate alike from 15 to 160 keV; the largest relative error of a
material, below one percent, is checked by a test against the table itself.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xedge.errors import ConfigError
from xedge.types import F32

F64 = npt.NDArray[np.float64]

BASIS = ("polyethylene", "aluminium", "steel")
GREY_KEV = 80.0
"""Energy at which the attenuation of one object is weighed against another's."""


@dataclass(frozen=True, eq=False)
class Tables:
    """What ``tables.npz`` holds.

    Attributes:
        energies_kev: Centres of the energy bins, ``[e]``.
        spectra: Share of the tube's photons in each bin, by tube voltage in kV.
        response: ``[2, 2, e]``: low and high; probability of absorption and keV deposited.
        names: Materials, in the order of the rows below.
        linear_per_cm: Linear attenuation of the solid materials, ``[m, e]``.
        coefficients: Centimetres of each basis material for one of each material, ``[m, 3]``.
        provenance: Library versions and settings the table was made with.
    """

    energies_kev: F64
    spectra: dict[int, F64]
    response: F64
    names: tuple[str, ...]
    linear_per_cm: F64
    coefficients: F64
    provenance: str

    def index(self, material: str) -> int:
        """Row of a material.

        Raises:
            ConfigError: When there is no such material.
        """
        if material not in self.names:
            raise ConfigError(
                "a material is not in the tables",
                expected=", ".join(self.names),
                found=material,
                remedy="Add it to RECIPES and run python -m xedge.sim.make_tables",
            )
        return self.names.index(material)

    @property
    def basis_per_cm(self) -> F64:
        """Linear attenuation of the basis materials, ``[3, e]``."""
        rows: F64 = self.linear_per_cm[[self.index(name) for name in BASIS]]
        return rows


@functools.cache
def tables() -> Tables:
    """The tables shipped with the simulator, read once."""
    with np.load(Path(__file__).with_name("tables.npz")) as data:
        mass, density = data["mass_attenuation_cm2_g"], data["densities_g_cm3"]
        loaded = Tables(
            energies_kev=data["energies_kev"],
            spectra={
                int(kv): row for kv, row in zip(data["kilovolts"], data["spectra"], strict=True)
            },
            response=data["response"],
            names=tuple(str(name) for name in data["names"]),
            linear_per_cm=mass * density[:, None],
            coefficients=data["coefficients"],
            provenance=str(data["provenance"]),
        )
    for array in (loaded.energies_kev, loaded.response, loaded.linear_per_cm, loaded.coefficients):
        array.flags.writeable = False
    return loaded


@functools.cache
def per_mm(material: str) -> tuple[float, float, float]:
    """Centimetres of polyethylene, aluminium and steel that one millimetre amounts to."""
    table = tables()
    a, b, c = 0.1 * table.coefficients[table.index(material)]
    return float(a), float(b), float(c)


@functools.cache
def grey_weights() -> F32:
    """Attenuation at `GREY_KEV` of one centimetre of each basis material, float32 ``[3]``."""
    table = tables()
    nearest = int(np.argmin(np.abs(table.energies_kev - GREY_KEV)))
    weights = table.basis_per_cm[:, nearest].astype(np.float32)
    weights.flags.writeable = False
    return weights


def grey(basis_cm: F32) -> F32:
    """Line integral of the attenuation at `GREY_KEV`, ``[...]``, of basis maps ``[3, ...]``."""
    a, b, c = grey_weights()
    total: F32 = a * basis_cm[0] + b * basis_cm[1] + c * basis_cm[2]
    return total
