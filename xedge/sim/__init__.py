"""Simulated dual-energy baggage scans."""
