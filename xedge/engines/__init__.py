"""Engines: one protocol, a table of back ends."""
