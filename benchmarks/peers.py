"""Peers that are no dependency of ours: each in an environment of its own, made when it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
FOLDER = Path(os.environ.get("LLMOPS_BENCH_PEERS") or ROOT / "build" / "peers")
PACKAGES = {
    "xllamacpp": ("xllamacpp",),
    "torch": ("torch==2.13.0", "transformers", "gguf"),
    "jupyter_ai_magics": ("jupyter_ai_magics",),
    "mlflow": ("mlflow",),
    "openai": ("openai",),
    "deepeval": ("deepeval",),
    "sentence-transformers": ("torch==2.13.0", "sentence-transformers"),
    "bm25s": ("bm25s", "PyStemmer"),
    "chromadb": ("chromadb",),
    "trl": ("torch==2.13.0", "transformers", "peft", "trl", "gguf"),
    "minhash": ("datasketch", "rensa"),
    "evidently": ("evidently", "pandas<3"),
    # Our own package, since Ray's workers import it.
    "ray": ("-c", str(ROOT / "constraints.txt"), "-e", f"{ROOT}[demo,ray]"),
    "sqlite-vec": ("sqlite-vec", "apsw", "numpy"),
}


class PeerMissing(Exception):  # noqa: N818 - a reason for a row, not a fault
    """The peer cannot be had here; the message says why."""


def peer_python(name: str) -> str:
    """The Python of an environment in which the peer is installed.

    Raises:
        PeerMissing: it cannot be installed.
    """
    folder = FOLDER / name
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    done = folder / "installed"
    if not done.is_file():
        print(f"  installing {name} in {folder} (some minutes, once)", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        result = subprocess.run(
            [*command, *PACKAGES[name]], check=False, capture_output=True, text=True
        )
        if result.returncode:
            last = (result.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise PeerMissing(f"not run: {name} could not be installed ({last[:120]})")
        done.touch()
    return str(python)


def peer_version(name: str, package: str | None = None) -> str:
    """The version of a peer, or of one of its packages."""
    code = f"import importlib.metadata as m; print(m.version({package or name!r}))"
    return subprocess.check_output([peer_python(name), "-c", code], text=True).strip()
