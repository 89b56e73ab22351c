"""Tests of drift, exact by permutation; martingales of streams. Each is checked by simulation."""
