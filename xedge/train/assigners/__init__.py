"""Which locations each object is taught at, one file a host."""
