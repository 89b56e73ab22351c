"""A real JupyterLab and a real browser; what needs them says so and is skipped where they are missing."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time

import httpx
import pytest

CHROMIUM = next(
    (p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None
)


@pytest.fixture(scope="session")
def panel_built():
    """Skips where JupyterLab would not show the side panel."""
    done = subprocess.run(
        [sys.executable, "-m", "jupyter", "labextension", "list"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "llmops-jupyter" not in done.stdout + done.stderr:
        pytest.skip("the side panel is not built (make panel, which needs Node)")


@pytest.fixture
def page():
    pytest.importorskip("jupyterlab", reason="needs JupyterLab (extra lab)")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra test)")
    if CHROMIUM is None:
        pytest.skip("no Chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 1600})
        yield tab
        browser.close()


@pytest.fixture
def lab(tmp_path):
    """Start JupyterLab in a folder of its own; call it with variables, it returns its address."""
    with labs_in(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory):
    """The same for all tests of a module, and its folder."""
    folder = tmp_path_factory.mktemp("lab")
    with labs_in(folder) as start:
        yield start, folder


@contextlib.contextmanager
def labs_in(folder):
    """Starts JupyterLabs over a folder; `python` and `application` may be those of another environment."""
    servers = []

    def start(*options, python=sys.executable, application="jupyterlab", **variables):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        token = secrets.token_hex(8)
        state = folder / "jupyter"
        server = subprocess.Popen(
            [
                *(python, "-m", application, "--no-browser", "--allow-root"),
                *(f"--port={port}", "--ServerApp.port_retries=0"),
                *(f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"),
                "--LabApp.news_url=",
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                *options,
            ],
            env={
                **os.environ,
                "LLMOPS_HOME": str(folder / ".llmops"),
                "JUPYTER_CONFIG_DIR": str(state / "config"),
                "JUPYTER_RUNTIME_DIR": str(state / "runtime"),
                "JUPYTERLAB_SETTINGS_DIR": str(state / "settings"),
                "JUPYTERLAB_WORKSPACES_DIR": str(state / "workspaces"),
                **variables,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        servers.append(server)
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            assert server.poll() is None, f"{application} ended"
            assert time.monotonic() < deadline, f"{application} does not answer"
            try:
                httpx.get(f"{address}/api/status", params={"token": token}).raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.2)
            else:
                place = "lab/tree/" if application == "jupyterlab" else "notebooks/"
                return lambda name="": f"{address}/{name and place}{name}?token={token}"

    try:
        yield start
    finally:
        for server in servers:
            server.terminate()
            server.wait(20)


@pytest.fixture
def watched(page):
    """What the page asks for, and the dialogs that it opens."""
    found = {"requests": [], "dialogs": []}

    def dismissed(dialog):
        found["dialogs"].append(dialog.message)
        dialog.dismiss()

    page.on("request", lambda request: found["requests"].append(request.url))
    page.on("dialog", dismissed)
    return found
