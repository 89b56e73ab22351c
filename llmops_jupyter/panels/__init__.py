"""Widgets. Each is a view of an object of a stage, which does the work and can be used without it."""
