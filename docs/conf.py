"""Sphinx settings. The option tables are made from the package's own table at every build."""

from __future__ import annotations

from pathlib import Path

from llmops_jupyter import __version__, errors
from llmops_jupyter.commands import options
from llmops_jupyter.store.migrations import MIGRATIONS

project = "llmops-jupyter"
author = "The llmops-jupyter founders"
copyright = "2026, The llmops-jupyter founders"
release = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
exclude_patterns = ["_build", "_generated"]
myst_enable_extensions = ["colon_fence", "deflist"]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
autodoc_typehints = "none"
nitpicky = True

generated = Path(__file__).parent / "_generated"
generated.mkdir(exist_ok=True)
for magic in options.MAGICS:
    (generated / f"{magic}.md").write_text(options.markdown_of(magic), encoding="utf-8")
kinds = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.LLMOpsError)
]
rows = "".join(f"| `{k.__name__}` | {(k.__doc__ or '').strip().splitlines()[0]} |\n" for k in kinds)
(generated / "errors.md").write_text(f"| error | when |\n|---|---|\n{rows}", encoding="utf-8")
steps = "".join(f"`{m.__name__}`\n: {' '.join((m.__doc__ or '').split())}\n\n" for m in MIGRATIONS)
(generated / "schema.md").write_text(steps, encoding="utf-8")
