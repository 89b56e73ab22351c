"""A real Jupyter server with the extension, in a thread of this process, asked over the loopback."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
from jupyter_server.serverapp import ServerApp
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from traitlets.config import Config

TOKEN = "a-token-of-the-tests"


class Server:
    """Started by entering it. `client` asks with the token, `bare` without one."""

    def __init__(self, root: Any, *, base_url: str = "/", **config: Any) -> None:
        self.root, self.base_url, self.config = root, base_url, config
        self.app: ServerApp | None = None
        self.fault: BaseException | None = None
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._serve, name="jupyter-server", daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        assert self._ready.wait(60), "the server did not start"
        if self.fault is not None:
            raise self.fault
        assert self.app is not None
        self.address = f"http://127.0.0.1:{self.app.port}{self.base_url}llmops/v1/"
        headers = {"Authorization": f"token {TOKEN}"}
        self.client = httpx.Client(base_url=self.address, headers=headers, timeout=30)
        self.bare = httpx.Client(base_url=self.address, timeout=30)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.bare.close()
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive()

    @property
    def service(self) -> Any:
        """The extension's own."""
        assert self.app is not None
        return self.app.web_app.settings["llmops_jupyter"].service

    def id_of(self, place: int = 0) -> str:
        """Of a workspace by its place in the list."""
        return self.client.get("workspaces").json()["items"][place]["id"]

    def get(self, path: str, **query: Any) -> httpx.Response:
        """Ask for something of the first workspace."""
        return self.client.get(f"workspaces/{self.id_of()}/{path}", params=query)

    def send(self, method: str, path: str, body: Any) -> httpx.Response:
        """Change something in the first workspace."""
        return self.client.request(method, f"workspaces/{self.id_of()}/{path}", json=body)

    def _serve(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as e:  # told by the thread that waits
            self.fault = e
            self._ready.set()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        socket, port = bind_unused_port()
        settings = Config(self.config)
        settings.ServerApp.jpserver_extensions = {"llmops_jupyter": True}
        settings.IdentityProvider.token = TOKEN
        app = ServerApp(
            config=settings,
            root_dir=str(self.root),
            base_url=self.base_url,
            ip="127.0.0.1",
            port=port,
            open_browser=False,
            allow_root=True,
            log_level="CRITICAL",
        )
        app.init_signal = lambda: None
        app.initialize(argv=[], new_httpserver=False, find_extensions=False)
        http = HTTPServer(app.web_app)
        http.add_socket(socket)
        self.app = app
        self._ready.set()
        await self._stop.wait()
        http.stop()
        await http.close_all_connections()
        await app._cleanup()
