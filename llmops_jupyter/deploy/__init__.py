"""Bundles of what is deployed, pipelines that make them, and releases that are live, staged or canary."""
