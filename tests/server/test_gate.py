"""No route of ours can be asked by somebody unknown; and a route that could be would be noticed."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import JupyterServerAuthWarning
from traitlets.config import Config

from llmops_jupyter.server import routes

GATE = """
import sys, warnings
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import JupyterServerAuthWarning
from traitlets.config import Config

config = Config()
config.ServerApp.jpserver_extensions = {"llmops_jupyter": True}
config.ServerApp.allow_unauthenticated_access = False
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    app = ServerApp(config=config, root_dir=sys.argv[1], allow_root=True, log_level="CRITICAL")
    app.init_signal = lambda: None
    app.initialize(argv=[], new_httpserver=False, find_extensions=False)
told = [str(w.message) for w in found if issubclass(w.category, JupyterServerAuthWarning)]
assert "llmops_jupyter" in app.web_app.settings, "the extension was not loaded"
print("\\n".join(told))
sys.exit(bool(told))
"""


def gate(root: Path, *path: str) -> subprocess.CompletedProcess[str]:
    """Start a server that lets nobody unknown in, and see whether it finds a way around."""
    code = "".join(f"import sys; sys.path.insert(0, {one!r})\n" for one in path) + GATE
    return subprocess.run(
        [sys.executable, "-c", code, str(root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_gate_finds_no_route_that_anybody_may_ask(tmp_path, quiet):
    done = gate(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_gate_fails_where_a_decorator_is_taken_away(tmp_path, quiet):
    """A copy of the package, in which one verb has lost its mark."""
    import shutil

    import llmops_jupyter

    source = Path(llmops_jupyter.__file__).parent
    copy = tmp_path / "copy" / "llmops_jupyter"
    shutil.copytree(
        source, copy, ignore=shutil.ignore_patterns("__pycache__", "labextension", "*.gguf")
    )
    file = copy / "server" / "routes.py"
    text = file.read_text("utf-8")
    class_ = text.index("class Facets(")
    mark = "    @tornado.web.authenticated\n"
    place = text.index(mark, class_)
    file.write_text(text[:place] + text[place + len(mark) :], "utf-8")
    done = gate(tmp_path, str(copy.parent))
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"GET of Facets registered for .*facets", done.stdout)


@pytest.mark.parametrize("verb", ["get", "post", "put", "delete", "patch"])
def test_the_marks_stand_in_the_source_above_every_verb(verb):
    """Introspection of the source, which no wrapper can feign."""
    text = inspect.getsource(routes)
    for place in re.finditer(rf"\n    async def {verb}\(", text):
        above = text[: place.start()].splitlines()[-2:]
        assert above == ["    @tornado.web.authenticated", "    @authorized"]


def test_who_is_known_but_may_not_ask_is_turned_away(tmp_path, quiet):
    from jupyter_server.auth import Authorizer
    from servers import Server

    import llmops_jupyter as lo

    class Nobody(Authorizer):
        def is_authorized(self, handler, user, action, resource):
            return resource != "llmops" or action == "read"

    with lo.open(tmp_path / "root" / "a") as ws:
        ws.prompts.save("reply", "user: x")
    config = {"ServerApp": {"authorizer_class": Nobody}}
    with Server(tmp_path / "root", **config) as server:
        assert server.get("prompts").status_code == 200
        body = {"version": 1, "expected": None}
        got = server.send("PUT", "prompts/reply/aliases/production", body)
        assert got.status_code == 403
        assert server.get("prompts/reply").json()["aliases"] == {}


def test_a_server_loads_the_extension_from_the_file_that_enables_it(tmp_path, quiet):
    import json

    file = Path(__file__).parents[2] / "jupyter-config" / "server-config" / "llmops_jupyter.json"
    enabled = json.loads(file.read_text("utf-8"))["ServerApp"]["jpserver_extensions"]
    assert enabled == {"llmops_jupyter": True}
    with warnings.catch_warnings():
        warnings.simplefilter("error", JupyterServerAuthWarning)
        app = ServerApp(
            config=Config({"ServerApp": {"jpserver_extensions": enabled}}),
            root_dir=str(tmp_path),
            allow_root=True,
            log_level="CRITICAL",
        )
        app.init_signal = lambda: None
        app.initialize(argv=[], new_httpserver=False, find_extensions=False)
    points = app.extension_manager.extensions["llmops_jupyter"].extension_points
    assert list(points) == ["llmops_jupyter"]
    app.web_app.settings["llmops_jupyter"].service.close()


def test_importing_the_package_loads_no_server():
    code = (
        "import sys, llmops_jupyter, llmops_jupyter.workspace\n"
        "sys.exit(bool({'jupyter_server', 'tornado'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
