"""Simulated dual-energy baggage scans: physics, objects, bags and a belt."""

from __future__ import annotations

CLASSES: tuple[str, ...] = (
    "gun",
    "knife",
    "scissors",
    "wrench",
    "pliers",
    "utility_knife",
    "plastic_bottle",
    "glass_bottle",
    "can",
    "lighter",
    "battery_pack",
)
"""The kinds of objects that a simulated bag labels, in the order of the models' labels."""

__all__ = ["CLASSES"]
