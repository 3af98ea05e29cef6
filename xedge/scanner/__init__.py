"""From the detector to corrected scans."""
