"""llama-server of the very sources that the installed llama-cpp-python was made of: built once, then run."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers import FOLDER, PeerMissing
from benchmarks.slots import CELLS, SLOTS

OFF = ("TESTS", "EXAMPLES", "APP", "UI")
# As in the Makefile: GCC before 14 may lose the set-up of the matrix unit.
AMX_TRIAL = "#if defined(__AMX_TILE__) && !defined(__clang__) && __GNUC__ < 14\naffected\n#endif\n"
AMX_FLAGS = "-DCMAKE_CXX_FLAGS='-fno-tree-dse -fno-dse'"
START_S = 60


def built() -> Path:
    """The program; built the first time.

    Raises:
        PeerMissing: the sources cannot be had or built.
    """
    version = importlib.metadata.version("llama-cpp-python")
    folder = FOLDER / "llama-server"
    program = folder / "out" / "bin" / "llama-server"
    done = folder / "installed"
    if not done.is_file() or done.read_text("ascii") != version:
        print(f"  building llama-server in {folder} (about ten minutes, once)", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            _build(_sources(folder, version), folder / "out")
        except (OSError, subprocess.CalledProcessError) as e:
            raise PeerMissing(f"not run: llama-server could not be built ({e!s:.120})") from e
        done.write_text(version, "ascii")
    return program


def _sources(folder: Path, version: str) -> Path:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--disable-pip-version-check",
    ]
    name = "llama-cpp-python"
    _run([*pip, "--no-binary", name, "-d", str(folder), f"{name}=={version}"])
    archive = next(folder.glob("*.tar.gz"))
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()
    return next(folder.glob("llama_cpp_python-*/vendor/llama.cpp"))


def _build(source: Path, out: Path) -> None:
    off = [f"-DLLAMA_BUILD_{name}=OFF" for name in OFF]
    off += ["-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_OPENSSL=OFF"]
    given = shlex.split(os.environ.get("CMAKE_ARGS") or (AMX_FLAGS if _amx_affected() else ""))
    _run(["cmake", "-S", str(source), "-B", str(out), "-DCMAKE_BUILD_TYPE=Release", *off, *given])
    jobs = str(os.cpu_count() or 1)
    _run(["cmake", "--build", str(out), "--target", "llama-server", "-j", jobs])


def _amx_affected() -> bool:
    compiler = os.environ.get("CXX", "g++")
    command = [compiler, "-march=native", "-E", "-P", "-x", "c++", "-"]
    found = subprocess.run(command, input=AMX_TRIAL, capture_output=True, text=True, check=False)
    return "affected" in found.stdout


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def running(path: str, threads: int) -> Iterator[str]:
    """The address of the server, with a model loaded.

    Raises:
        PeerMissing: it cannot be built or does not come up.
    """
    program = built()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(program), "-m", path, "-np", str(SLOTS), "-c", str(SLOTS * CELLS)]
    command += ["-t", str(threads), "--host", "127.0.0.1", "--port", str(port), "--log-disable"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tempfile.gettempdir(),
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    while time.monotonic() - began < START_S and process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            return
        time.sleep(0.2)
    raise PeerMissing("not run: llama-server did not come up")
