"""Measuring xedge: contenders interleaved, records that can be traced."""
