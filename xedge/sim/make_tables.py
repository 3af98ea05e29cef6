"""Writes ``tables.npz``: spectra, detector responses and attenuation of the simulator's materials.

Development time only (``python -m xedge.sim.make_tables``): it needs spekpy and xraylib, the
simulator itself reads the table with numpy. Sources: spekpy (Poludniowski et al., Med. Phys.
48, 2021) for the tungsten spectra; xraylib (Schoonjans et al., Spectrochim. Acta B 66, 2011)
for cross sections; the sandwich detector is the one of dual-energy belts: a thin scintillator
for low energies, a copper filter, a thick scintillator for high energies, both integrating
energy.

Coherent scattering is counted as attenuation (``CS_Total``): at these energies it leaves an
element of 0.8 mm seen from half a metre, so a collimated line does not get it back. What does
come back is the scatter offset of `xedge.sim.physics`.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

TABLE_PATH = Path(__file__).with_name("tables.npz")
KILOVOLTS = (140, 150, 160)
ALUMINIUM_FILTER_MM = 2.0
BIN_KEV = 5.0
FIRST_KEV = 15.0
LAST_KEV = 160.0
LOW_GOS_CM = 0.03
FILTER_CU_CM = 0.06
HIGH_CSI_CM = 0.25
GOS_DENSITY = 7.3
CSI_DENSITY = 4.51
CU_DENSITY = 8.96
BASIS = ("polyethylene", "aluminium", "steel")

# Mass fractions by compound, and the density of the solid in g/cm3.
RECIPES: dict[str, tuple[dict[str, float], float]] = {
    "air": ({"N": 0.755, "O": 0.232, "Ar": 0.013}, 0.0012),
    "water": ({"H2O": 1.0}, 1.0),
    "spirit": ({"H2O": 0.67, "C2H6O": 0.33}, 0.95),
    "juice": ({"H2O": 0.88, "C12H22O11": 0.12}, 1.05),
    "cream": ({"H2O": 0.70, "CH2": 0.25, "SiO2": 0.03, "TiO2": 0.02}, 0.98),
    "polyethylene": ({"CH2": 1.0}, 0.95),
    "pet": ({"C10H8O4": 1.0}, 1.38),
    "abs": ({"C8H8": 0.75, "C3H3N": 0.25}, 1.05),
    "pvc": ({"C2H3Cl": 0.65, "C24H38O4": 0.30, "CaCO3": 0.05}, 1.35),
    "nylon": ({"C6H11NO": 1.0}, 1.14),
    "lucite": ({"C5H8O2": 1.0}, 1.18),
    "cotton": ({"C6H10O5": 1.0}, 1.5),
    "paper": ({"C6H10O5": 0.80, "CaCO3": 0.20}, 0.95),
    "leather": ({"C": 0.49, "O": 0.26, "N": 0.15, "H": 0.075, "Cr": 0.025}, 0.9),
    "rubber": ({"C5H8": 0.80, "C": 0.15, "ZnO": 0.03, "S": 0.02}, 1.15),
    "butane": ({"C4H10": 1.0}, 0.57),
    "glass": ({"SiO2": 0.73, "Na2O": 0.14, "CaO": 0.10, "MgO": 0.03}, 2.5),
    "fr4": ({"SiO2": 0.36, "CaO": 0.10, "Al2O3": 0.08, "C21H24O4": 0.46}, 1.85),
    "chip": ({"SiO2": 0.70, "C21H24O4": 0.22, "Cu": 0.08}, 2.0),
    "magnesium": ({"Mg": 0.90, "Al": 0.09, "Zn": 0.01}, 1.81),
    "aluminium": ({"Al": 1.0}, 2.70),
    "zinc": ({"Zn": 0.96, "Al": 0.04}, 6.6),
    "steel": ({"Fe": 0.98, "Mn": 0.01, "C": 0.01}, 7.85),
    "stainless": ({"Fe": 0.72, "Cr": 0.18, "Ni": 0.10}, 7.9),
    "brass": ({"Cu": 0.63, "Zn": 0.37}, 8.5),
    "copper": ({"Cu": 1.0}, 8.96),
    # Jelly roll of a lithium-ion cell taken as one mixture: cathode and its foil, copper foil
    # with graphite, electrolyte and separator.
    "cell": (
        {"LiCoO2": 0.42, "Al": 0.07, "Cu": 0.12, "C": 0.21, "C3H6O3": 0.13, "CH2": 0.05},
        2.4,
    ),
}


def mass_attenuation(fractions: dict[str, float], energies_kev: F64) -> F64:
    """Total mass attenuation of a mixture in cm2/g, one value an energy."""
    import xraylib

    total = sum(fractions.values())
    return np.array(
        [
            sum(w * float(xraylib.CS_Total_CP(f, float(e))) for f, w in fractions.items()) / total
            for e in energies_kev
        ]
    )


def _mass_absorption(formula: str, energies_kev: F64) -> F64:
    import xraylib

    return np.array([float(xraylib.CS_Energy_CP(formula, float(e))) for e in energies_kev])


def spectrum(kv: int) -> tuple[F64, F64]:
    """Energies in keV and photons per bin (any scale) of a filtered tungsten tube."""
    import spekpy

    tube = spekpy.Spek(kvp=kv, th=20, dk=0.5)
    tube.filter("Al", ALUMINIUM_FILTER_MM)
    energies, fluence = tube.get_spectrum()
    return np.asarray(energies, np.float64), np.asarray(fluence, np.float64)


def binned(kv: int) -> tuple[F64, F64]:
    """Energies and photons, the latter summing to one, in bins of ``BIN_KEV``."""
    energies, fluence = spectrum(kv)
    edges = np.arange(FIRST_KEV, LAST_KEV + BIN_KEV / 2, BIN_KEV)
    photons, _ = np.histogram(energies, edges, weights=fluence)
    return (edges[:-1] + edges[1:]) / 2, photons / photons.sum()


def detector_response(energies_kev: F64) -> F64:
    """Share of photons absorbed and mean energy they leave: ``[2, 2, energies]``.

    First axis low, high; second axis probability of absorption, keV deposited per absorbed
    photon.
    """
    gos = mass_attenuation({"Gd2O2S": 1.0}, energies_kev)
    csi = mass_attenuation({"CsI": 1.0}, energies_kev)
    copper = mass_attenuation({"Cu": 1.0}, energies_kev)
    through_low = np.exp(-gos * GOS_DENSITY * LOW_GOS_CM)
    through_filter = through_low * np.exp(-copper * CU_DENSITY * FILTER_CU_CM)
    low = 1.0 - through_low
    high = through_filter * (1.0 - np.exp(-csi * CSI_DENSITY * HIGH_CSI_CM))
    low_kev = energies_kev * _mass_absorption("Gd2O2S", energies_kev) / gos
    high_kev = energies_kev * _mass_absorption("CsI", energies_kev) / csi
    return np.array([[low, low_kev], [high, high_kev]])


def basis_coefficients(linear: F64, names: list[str]) -> F64:
    """Centimetres of each basis material that attenuate like one of each material, ``[m, 3]``.

    Least squares of the relative error over the energies. Three functions span all materials
    here to better than one percent (photoelectric, scattering, coherent); they are stored, not
    solved at run time, so that a seed gives the same bits with every LAPACK.
    """
    basis = linear[[names.index(name) for name in BASIS]]
    return np.array(
        [np.linalg.lstsq((basis / row).T, np.ones(row.size), rcond=None)[0] for row in linear]
    )


def build() -> dict[str, npt.NDArray[np.generic]]:
    """All arrays of the table, by name."""
    energies, _ = binned(KILOVOLTS[-1])
    names = sorted(RECIPES)
    mass = np.array([mass_attenuation(RECIPES[name][0], energies) for name in names])
    densities = np.array([RECIPES[name][1] for name in names])
    packages = ("spekpy", "xraylib", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return {
        "energies_kev": energies,
        "kilovolts": np.array(KILOVOLTS, np.int64),
        "spectra": np.array([binned(kv)[1] for kv in KILOVOLTS]),
        "response": detector_response(energies),
        "names": np.array(names),
        "densities_g_cm3": densities,
        "mass_attenuation_cm2_g": mass,
        "basis": np.array(BASIS),
        "coefficients": basis_coefficients(mass * densities[:, None], names),
        "provenance": np.array(
            f"{versions}; tungsten 20 degrees, {ALUMINIUM_FILTER_MM} mm Al; "
            f"{LOW_GOS_CM * 10:g} mm Gd2O2S, {FILTER_CU_CM * 10:g} mm Cu, "
            f"{HIGH_CSI_CM * 10:g} mm CsI"
        ),
    }


def main() -> None:
    """Write the table beside this module."""
    np.savez_compressed(TABLE_PATH, **build())  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
