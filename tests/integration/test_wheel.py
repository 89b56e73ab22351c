"""The wheel: what Jupyter needs is in it, and no Node is needed to install it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="needs hatchling (extra test)")
ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "llmops_jupyter" / "labextension"
PARTS = ("llmops_jupyter", "labextension", "jupyter-config")
FILES = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore")
LAB = "share/jupyter/labextensions/llmops-jupyter"
SERVER = "etc/jupyter/jupyter_server_config.d/llmops_jupyter.json"


@pytest.fixture
def without_node(tmp_path):
    """Variables under which no node, npm or jlpm is found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git",):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    variables = {**os.environ, "PATH": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    assert shutil.which("node", path=variables["PATH"]) is None
    return variables


def wheel_of(tree, folder, variables):
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"),
            *("--wheel-dir", str(folder), str(tree)),
        ],
        check=True,
        env=variables,
    )
    (made,) = folder.glob("*.whl")
    return made


def copy_of_the_source(target, *, built):
    left_out = shutil.ignore_patterns(
        "node_modules", "lib", "__pycache__", *(() if built else ("labextension",))
    )
    for name in PARTS:
        if name == "labextension":
            shutil.copytree(
                ROOT / name, target / name, ignore=shutil.ignore_patterns("node_modules", "lib")
            )
        else:
            shutil.copytree(ROOT / name, target / name, ignore=left_out)
    for name in FILES:
        shutil.copy(ROOT / name, target / name)
    return target


def data_of(wheel):
    """Files that are installed below the environment's own folder."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    marker = ".data/data/"
    return {name.partition(marker)[2] for name in names if marker in name}, names


def test_a_source_without_the_built_panel_installs_without_node(tmp_path, without_node):
    tree = copy_of_the_source(tmp_path / "tree", built=False)
    data, _ = data_of(wheel_of(tree, tmp_path / "dist", without_node))
    assert SERVER in data
    assert not any(name.startswith(LAB) for name in data)


@pytest.mark.skipif(not BUILT.is_dir(), reason="the side panel is not built (make panel)")
def test_a_wheel_carries_the_built_panel_once_and_installs_it_without_node(tmp_path, without_node):
    tree = copy_of_the_source(tmp_path / "tree", built=True)
    wheel = wheel_of(tree, tmp_path / "dist", without_node)
    data, names = data_of(wheel)
    assert {SERVER, f"{LAB}/package.json", f"{LAB}/install.json", f"{LAB}/static/style.js"} <= data
    assert not any(name.startswith("llmops_jupyter/labextension/") for name in names)
    assert not any("node_modules" in name or name.endswith((".ts", ".tsx")) for name in names)

    home = tmp_path / "environment"
    venv.create(home, with_pip=True, symlinks=os.name != "nt")
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)],
        check=True,
        env=without_node,
    )
    assert (home / SERVER).is_file()
    package = json.loads((home / LAB / "package.json").read_text("utf-8"))
    loaded = home / LAB / package["jupyterlab"]["_build"]["load"]
    assert loaded.is_file()

    # JupyterLab itself is asked, with the new environment's folder among those where it looks.
    listed = subprocess.run(
        [sys.executable, "-m", "jupyter", "labextension", "list"],
        capture_output=True,
        text=True,
        check=True,
        env={**without_node, "JUPYTER_PATH": str(home / "share" / "jupyter")},
    )
    told = listed.stdout + listed.stderr
    ours = [line for line in told.splitlines() if "llmops-jupyter" in line]
    assert ours
    assert all("OK" in line for line in ours)


def test_the_panel_has_the_version_of_the_package():
    package = json.loads((ROOT / "labextension" / "package.json").read_text("utf-8"))
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'version = "{package["version"]}"' in text


def test_the_lock_file_names_no_registry():
    text = (ROOT / "labextension" / "package-lock.json").read_text("utf-8")
    assert '"resolved"' not in text
