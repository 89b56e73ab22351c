"""Serving a bundle or a deployment with OpenAI's interface; see docs/serve.md."""
