"""Measurements beside their peers. Run them with `make bench`."""
