"""torch to ONNX, with the special operations unrolled."""
