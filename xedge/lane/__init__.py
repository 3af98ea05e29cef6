"""The streaming runtime of one belt."""
