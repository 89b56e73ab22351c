"""Evaluation: metrics, judges, comparisons, statistics, labels, gates."""
