"""Detectors in PyTorch."""
