"""xedge: detectors of prohibited items in X-ray baggage, from PyTorch to the conveyor belt."""

__version__ = "0.1.0"
