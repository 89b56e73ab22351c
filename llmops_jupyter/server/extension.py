"""The extension as a Jupyter server loads it, configures it and stops it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from traitlets import Bool, Int

from llmops_jupyter.server.routes import routes
from llmops_jupyter.server.service import Service


class LLMOpsExtension(ExtensionApp):
    """Serves the side panel. It is an `ExtensionApp` because only those are told when the server stops."""

    name = "llmops_jupyter"
    # Settings may be given as c.LLMOpsExtension.threads in jupyter_llmops_jupyter_config.py.
    threads = Int(4, min=1, max=64, config=True, help="Threads that read and write stores.")
    workspaces = Int(
        8, min=1, max=256, config=True, help="Workspaces that are kept open for reading."
    )
    enclosing = Bool(
        default_value=True,
        config=True,
        help="Also show the workspace that kernels started in the root folder use, where that lies above it.",
    )

    def initialize_handlers(self) -> None:
        """Called once by the server."""
        self.service = Service(
            root_of(self.serverapp),
            threads=self.threads,
            handles=self.workspaces,
            enclosing=self.enclosing,
        )
        self.handlers.extend(routes(self.service))

    async def stop_extension(self) -> None:
        """Close stores and threads when the server stops; what runs still is waited for, beside the event loop."""
        service = self.__dict__.get("service")
        if service is not None:
            await asyncio.get_running_loop().run_in_executor(None, service.close)


def root_of(serverapp: Any) -> Path:
    """The folder that the server shows."""
    contents = getattr(serverapp.contents_manager, "root_dir", "")
    return Path(contents or serverapp.root_dir).expanduser().absolute()
