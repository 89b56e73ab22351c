"""Files that start vLLM on an exported folder: a shell script, a Dockerfile, a compose file.

The image has no registry in its name: whoever runs it says where it comes from, by the variable VLLM_IMAGE.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

IMAGE = "vllm/vllm-openai"
SCRIPT, DOCKERFILE, COMPOSE, IGNORE = "serve.sh", "Dockerfile", "compose.yaml", ".dockerignore"
PORT = 8000
# Where the model lies in a container, and for the script.
INSIDE, BESIDE = "/model", "model"


def script(words: Sequence[str]) -> str:
    """A shell script that starts the server in the folder that it lies in, and hands on what it is given."""
    command = " ".join(shlex.quote(word) for word in words)
    return (
        "#!/bin/sh\n"
        "# Starts vLLM on the folder of this script; what follows its name is handed on.\n"
        "set -eu\n"
        'cd "$(dirname "$0")"\n'
        f'exec vllm serve {BESIDE} {command} "$@"\n'
    )


def dockerfile(words: Sequence[str]) -> str:
    """An image that has the model in it; the base image's entry point is `vllm serve` or its like."""
    command = ", ".join(_quoted(word) for word in ["vllm", "serve", INSIDE, *words])
    return (
        "# docker build --build-arg VLLM_IMAGE=NAME:TAG -t NAME .\n"
        f"ARG VLLM_IMAGE={IMAGE}:latest\n"
        "FROM ${VLLM_IMAGE}\n"
        f"COPY {BESIDE}/ {INSIDE}/\n"
        "# Nothing is fetched: the model is here.\n"
        "ENV HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1\n"
        f"EXPOSE {PORT}\n"
        f"ENTRYPOINT [{command}]\n"
    )


def compose(name: str, words: Sequence[str]) -> dict[str, Any]:
    """A compose file as a value: one service with the folder mounted to be read, and one GPU."""
    probe = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{PORT}/health')"
    service: Mapping[str, Any] = {
        "image": f"${{VLLM_IMAGE:-{IMAGE}:latest}}",
        "entrypoint": ["vllm", "serve"],
        "command": [INSIDE, *(word.replace("$", "$$") for word in words)],
        "volumes": [{"type": "bind", "source": f"./{BESIDE}", "target": INSIDE, "read_only": True}],
        # Only this machine reaches it; put a server with keys before it, or change the address.
        "ports": [f"${{VLLM_ADDRESS:-127.0.0.1:{PORT}}}:{PORT}"],
        "environment": {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
        "ipc": "host",
        "restart": "unless-stopped",
        "healthcheck": {
            "test": ["CMD", "python3", "-c", probe],
            "interval": "15s",
            "timeout": "5s",
            "retries": 4,
            "start_period": "600s",
        },
        "deploy": {
            "resources": {
                "reservations": {
                    "devices": [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
                }
            }
        },
    }
    return {"name": name, "services": {"vllm": dict(service)}}


def _quoted(word: str) -> str:
    """A word in the JSON form of a Dockerfile."""
    import json

    return json.dumps(word, ensure_ascii=False)
