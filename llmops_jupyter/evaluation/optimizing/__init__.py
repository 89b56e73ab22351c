"""Optimisation of prompts: candidates, a search on training rows, one comparison on held-out ones."""
