"""A store with content, and a real server over it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import llmops_jupyter as lo

sys.path.insert(0, str(Path(__file__).parent))
HAS_SERVER = importlib.util.find_spec("jupyter_server") is not None
collect_ignore_glob = [] if HAS_SERVER else ["test_*.py"]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Settings of Jupyter and of this package that are those of nobody, for as long as a module's tests run."""
    folder = tmp_path_factory.mktemp("jupyter")
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "LLMOPS_HOME")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update({name: str(folder / name.lower()) for name in names})
    yield folder
    for name, value in before.items():
        if value is None:
            os.environ.pop(name)
        else:
            os.environ[name] = value


@pytest.fixture(scope="module")
def shop(tmp_path_factory, quiet):
    """A project below a root folder, with something in every section; the store is closed."""
    from contents import fill

    root = tmp_path_factory.mktemp("root")
    project = root / "shop"
    project.mkdir()
    with lo.open(project) as ws:
        made = fill(ws, root)
    return SimpleNamespace(root=root, project=project, **made)


@pytest.fixture(scope="module")
def server(shop):
    """A server over the project, shared by the tests of a module, which change nothing in it."""
    from servers import Server

    with Server(shop.root) as running:
        yield running


@pytest.fixture
def own(tmp_path, quiet):
    """A root folder with an empty workspace, and a server over it, for one test."""
    from servers import Server

    root = tmp_path / "own"
    root.mkdir()
    with lo.open(root / "project") as ws, Server(root) as running:
        yield SimpleNamespace(root=root, ws=ws, server=running)
