"""The scanner: from thickness maps to raw counts of a dual-energy line-scan detector.

For every pixel and energy (polychromatic Beer-Lambert, energy-integrating detector)::

    S = sum_E  N(E) a(E) d(E) exp(-sum_k mu_k(E) t_k)

with N the photons of the tube, a the probability of absorption, d the energy deposited and
t_k the thickness of three basis materials (`xedge.sim.materials`). Its quantum noise has the
variance ``sum_E N a d^2 exp(...)``, which is what makes it larger than a photon counter's.
Then come scatter, cross-talk between elements, gain, offset, read-out noise, dead elements,
and 16 bits.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from xedge.errors import ConfigError, LineError
from xedge.sim.materials import BASIS, tables
from xedge.types import F32, U16

_TILE = 8192
_AIR_COUNTS = (44_000.0, 46_000.0)
_FEW_QUANTA = 50.0
_SCATTER_CELLS = 8


@dataclass(frozen=True, eq=False)
class _FixedPattern:
    gain: F32
    offset: F32
    dead: npt.NDArray[np.bool_]
    stuck: F32


@dataclass(frozen=True)
class ScannerModel:
    """A scanner with one tube and one dual-energy line, and its detector's fixed pattern.

    Attributes:
        kv: Tube voltage: 140, 150 or 160.
        elements: Detector elements in a line.
        pitch_mm: Size of an element, and belt travel of a line, at the plane of the belt.
        photons: Photons that reach one element through air during one line.
        scatter: Scattered signal as a share of the primary lost nearby.
        glare: Constant share of the mean signal that every element sees (off-focal radiation,
            light spread).
        crosstalk_sigma: Blur by focal spot and cross-talk, in elements; 0 for none.
        read_noise: Standard deviation of the electronics, counts.
        gain_spread: Relative standard deviation of the elements' gain.
        offset_counts: Mean dark counts.
        dead_share: Share of dead elements, each energy on its own.
        seed: Seed of the fixed pattern of gain, offset and dead elements.

    Raises:
        ConfigError: On values without meaning.
    """

    kv: int = 160
    elements: int = 800
    pitch_mm: float = 0.62
    photons: float = 150_000.0
    scatter: float = 0.02
    glare: float = 0.002
    crosstalk_sigma: float = 0.45
    read_noise: float = 6.0
    gain_spread: float = 0.06
    offset_counts: float = 900.0
    dead_share: float = 0.003
    seed: int = 0

    def __post_init__(self) -> None:
        known = sorted(tables().spectra)
        if self.kv not in known:
            raise ConfigError(
                "tube voltage without a spectrum", expected=f"one of {known} kV", found=str(self.kv)
            )
        if self.elements < 8 or self.pitch_mm <= 0 or self.photons <= 0:
            raise ConfigError(
                "scanner geometry cannot be used",
                expected="at least 8 elements, pitch and photons above 0",
                found=f"{self.elements} elements, {self.pitch_mm} mm, {self.photons} photons",
            )
        shares = (self.scatter, self.glare, self.gain_spread, self.dead_share)
        amounts = (self.crosstalk_sigma, self.read_noise, self.offset_counts)
        if min(shares) < 0 or max(shares) >= 1 or min(amounts) < 0:
            raise ConfigError(
                "scanner noise cannot be used",
                expected="shares in 0..1, amounts not below 0",
                found=f"shares {shares}, amounts {amounts}",
            )

    def transmission(self, basis_cm: F32) -> tuple[F32, F32, F32, F32]:
        """Primary signal and its relative variance at both energies, without noise.

        Args:
            basis_cm: Thickness of the basis materials in cm, float32 ``[3, ...]``.

        Returns:
            Low and high signal, 1 in air, and low and high variance, 1 in air: each ``[...]``.
        """
        flat = basis_cm.reshape(len(BASIS), -1)
        weights = _weights(self.kv)
        basis = (-tables().basis_per_cm).astype(np.float32)
        out = np.ones((4, flat.shape[1]), np.float32)
        present = np.flatnonzero(flat.any(axis=0))
        # Tiles that fit the cache, and only where there is matter: a third of a bag is air.
        exponent = np.empty((basis.shape[1], _TILE), np.float32)
        for start in range(0, present.size, _TILE):
            index = present[start : start + _TILE]
            tile = exponent[:, : index.size]
            np.matmul(basis.T, flat[:, index], out=tile)
            np.exp(tile, out=tile)
            out[:, index] = weights @ tile
        low, high, var_low, var_high = out.reshape(4, *basis_cm.shape[1:])
        return low, high, var_low, var_high

    def quanta_in_air(self) -> tuple[float, float]:
        """Photons of one energy that would be as noisy as air is, low and high."""
        table = tables()
        spectrum = table.spectra[self.kv] * self.photons
        absorbed, kev = table.response[:, 0], table.response[:, 1]
        mean = (spectrum * absorbed * kev).sum(axis=1)
        variance = (spectrum * absorbed * kev**2).sum(axis=1)
        low, high = mean**2 / variance
        return float(low), float(high)

    def expose(self, basis_cm: F32, seed: int) -> tuple[U16, U16]:
        """Raw counts, low and high, uint16 ``[lines, elements]``.

        Args:
            basis_cm: Thickness of the basis materials in cm, float32 ``[3, lines, elements]``.
            seed: Seed of the noise.

        Raises:
            LineError: When the maps are not as wide as the detector.
        """
        if basis_cm.ndim != 3 or basis_cm.shape[0] != 3 or basis_cm.shape[2] != self.elements:
            raise LineError(
                "thickness maps do not fit the detector",
                expected=f"[3, lines, {self.elements}]",
                found=str(list(basis_cm.shape)),
            )
        rng = np.random.Generator(np.random.PCG64([seed, 2]))
        low, high, var_low, var_high = self.transmission(basis_cm)
        quanta_low, quanta_high = self.quanta_in_air()
        return (
            self._read_out(0, low, var_low, quanta_low, rng),
            self._read_out(1, high, var_high, quanta_high, rng),
        )

    def air_run(self, lines: int, seed: int) -> tuple[U16, U16]:
        """Raw counts of ``lines`` lines of an empty belt, low and high."""
        return self.expose(np.zeros((3, lines, self.elements), np.float32), seed)

    def dark_run(self, lines: int, seed: int) -> tuple[U16, U16]:
        """Raw counts of ``lines`` lines with the tube off, low and high."""
        rng = np.random.Generator(np.random.PCG64([seed, 2]))
        dark = np.zeros((lines, self.elements), np.float32)
        return self._digitise(0, dark.copy(), rng), self._digitise(1, dark, rng)

    def _read_out(
        self, energy: int, signal: F32, variance: F32, quanta: float, rng: np.random.Generator
    ) -> U16:
        extra = self._stray(signal)
        if self.crosstalk_sigma > 0:
            cv2.GaussianBlur(signal, (3, 3), self.crosstalk_sigma, dst=signal)
        signal += extra
        # Scattered quanta are taken to be as noisy as those of air.
        variance += extra
        noisy = _quantum_noise(signal, variance, quanta, rng)
        noisy *= np.float32(_AIR_COUNTS[energy])
        return self._digitise(energy, noisy, rng)

    def _stray(self, signal: F32) -> F32:
        """Scatter and glare: smooth, so it is worked out on cells of 8 x 8."""
        lines, elements = signal.shape
        size = (max(1, elements // _SCATTER_CELLS), max(1, lines // _SCATTER_CELLS))
        coarse = cv2.resize(signal, size, interpolation=cv2.INTER_AREA)
        lost = coarse * (1.0 - coarse)
        # The collimator keeps scatter to its own line, nearly: wide across, narrow along.
        lost = cv2.GaussianBlur(lost, (0, 0), sigmaX=8.0, sigmaY=1.0) * np.float32(self.scatter)
        lost += np.float32(self.glare) * coarse.mean(axis=1, keepdims=True)
        spread = cv2.resize(lost, (elements, lines), interpolation=cv2.INTER_LINEAR)
        return np.asarray(spread, np.float32)

    def _digitise(self, energy: int, counts: F32, rng: np.random.Generator) -> U16:
        pattern = _fixed_pattern(self)
        counts *= pattern.gain[energy]
        counts += pattern.offset[energy]
        if self.read_noise > 0:
            electronics = rng.standard_normal(counts.shape, dtype=np.float32)
            electronics *= np.float32(self.read_noise)
            counts += electronics
        dead = pattern.dead[energy]
        counts[:, dead] = pattern.stuck[energy, dead]
        counts += np.float32(0.5)
        np.clip(counts, 0, 65535, out=counts)
        return counts.astype(np.uint16)


def _quantum_noise(signal: F32, variance: F32, quanta: float, rng: np.random.Generator) -> F32:
    """``signal`` with quantum noise: Gaussian, but Poisson below `_FEW_QUANTA`."""
    few = np.flatnonzero(signal * signal * np.float32(quanta / _FEW_QUANTA) < variance)
    noisy = rng.standard_normal(signal.shape, dtype=np.float32)
    noisy *= np.sqrt(variance * np.float32(1.0 / quanta))
    noisy += signal
    if few.size:
        mean = signal.ravel()[few].astype(np.float64)
        step = variance.ravel()[few] / mean / quanta
        noisy.ravel()[few] = rng.poisson(mean / step) * step
    return noisy


@functools.lru_cache(maxsize=8)
def _weights(kv: int) -> F32:
    """Rows that turn ``exp(-mu t)`` by energy into signal and variance, float32 ``[4, e]``."""
    table = tables()
    absorbed, kev = table.response[:, 0], table.response[:, 1]
    signal = table.spectra[kv] * absorbed * kev
    variance = signal * kev
    rows = np.concatenate([signal, variance])
    weights: F32 = (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


@functools.lru_cache(maxsize=8)
def _fixed_pattern(scanner: ScannerModel) -> _FixedPattern:
    rng = np.random.Generator(np.random.PCG64([scanner.seed, 1]))
    shape = (2, scanner.elements)
    # Detector cards of 64 elements differ more than their neighbours on one card do.
    cards = -(-scanner.elements // 64)
    card = np.repeat(rng.normal(0, scanner.gain_spread * 0.7, (2, cards)), 64, axis=1)
    gain = 1 + card[:, : scanner.elements] + rng.normal(0, scanner.gain_spread * 0.7, shape)
    # The fan beam is weaker at its ends (heel effect, longer path).
    across = np.linspace(-1, 1, scanner.elements)
    gain *= 1 - 0.12 * across**2
    offset = scanner.offset_counts * (1 + rng.normal(0, 0.05, shape))
    dead = rng.random(shape) < scanner.dead_share
    stuck = np.where(rng.random(shape) < 0.7, offset * 0.5, 65535.0)
    return _FixedPattern(
        np.clip(gain, 0.4, 1.35).astype(np.float32),
        offset.astype(np.float32),
        dead,
        stuck.astype(np.float32),
    )
