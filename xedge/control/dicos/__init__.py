"""DICOS files (NEMA IIC 1, v03): a bag's scan as X-ray images, its decision as a threat report.

`words` has the table of reasons, `machine` what the files say of the scanner, `document` what they
share, `image` and `report` the two kinds of file, `readback` reports that were read, `bag` all
files of one bag and the thread that writes them beside a lane. docs/dicos.md tells the rest.
"""
