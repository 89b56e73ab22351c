"""Bundles for engines of others, and for more machines than one: vLLM, Ray Serve, Ray Data."""
