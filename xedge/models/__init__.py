"""Detectors and classifiers in PyTorch, one file a mechanism or host."""
