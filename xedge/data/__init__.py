"""Data sets of the field: readers, a verifier, splits that keep bags whole, threat projection."""

from xedge.data.formats import FORMATS, Format, open_set, parts_of
from xedge.data.image_set import ImageSet, Record, load_picture

__all__ = ["FORMATS", "Format", "ImageSet", "Record", "load_picture", "open_set", "parts_of"]
