"""INT8 calibration; see calibration/README.md for what exists."""
