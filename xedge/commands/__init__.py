"""The sub-commands of `xedge`."""
