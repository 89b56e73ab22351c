"""The extension of the Jupyter server: what the side panel asks of the store, as routes under ``llmops/v1``.

The modules of `sections` answer and know no server; `routes` has a few lines for each of them.
"""

from llmops_jupyter.server.extension import LLMOpsExtension

_load_jupyter_server_extension = LLMOpsExtension._load_jupyter_server_extension  # noqa: SLF001 - where servers look

__all__ = ["LLMOpsExtension"]
