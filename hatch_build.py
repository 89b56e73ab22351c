"""Adds to a wheel what Jupyter finds in its own folders: the server's setting, and the JupyterLab part if it was built.

`pip install .` needs no Node: without `make wheel` or `make lab` before it, the wheel has no JupyterLab part.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = "llmops_jupyter/labextension"
LAB = "share/jupyter/labextensions/llmops-jupyter"
SERVER = "etc/jupyter/jupyter_server_config.d"


class JupyterFiles(BuildHookInterface):
    """Runs when a wheel is made, an editable one too."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to add; `version` is 'standard' or 'editable'."""
        shared = build_data["shared_data"]
        shared["jupyter-config/server-config"] = SERVER
        # An editable install shows the folder itself (`make lab`), so that a new build is seen at once.
        if version == "standard" and (Path(self.root) / BUILT / "package.json").is_file():
            shared[BUILT] = LAB
            shared["labextension/install.json"] = f"{LAB}/install.json"
