"""Bundles of what is deployed, pipelines that make them, and releases that are live, staged or canary."""

from llmops_jupyter.deploy.bundle import Bundle
from llmops_jupyter.deploy.opening import open_bundle
from llmops_jupyter.deploy.stage import Deploy

__all__ = ["Bundle", "Deploy", "open_bundle"]
