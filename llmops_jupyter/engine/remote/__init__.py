"""Models behind any OpenAI-compatible interface: hosted ones, vLLM, llama-server, Ollama, Ray Serve."""

from llmops_jupyter.engine.remote.engine import RemoteEngine

__all__ = ["RemoteEngine"]
