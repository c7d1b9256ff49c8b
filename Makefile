# make demo    colour the embedded photos (small install, no torch)
# make test    install everything, run every notebook and pytest; each part says how much memory it took
# make course  open JupyterLab on the notebooks
# make docs    build the site from the notebooks into _docs/ (needs npm)
# CONTRIBUTING.md says how the notebooks, the library and the README hang together.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# torch in every worker would otherwise take all cores for itself
THREADS := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

.DEFAULT_GOAL := help
.PHONY: help demo test course docs export readme outputs

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3,10))' || { echo "colorizer needs Python 3.10 or newer; set it with: make PYTHON=python3.12 ..."; exit 1; }
	@echo "• creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "no venv here: install it first (on Debian and Ubuntu: apt install python3-venv)"; rm -rf $(VENV); exit 1; }

# The stamps record what is installed, so that a second run is quick and a changed requirement is noticed.
$(VENV)/.demo: settings.ini setup.py pyproject.toml | $(BIN)/python
	@echo "• installing what colouring needs: $$(sed -n '/^requirements/,/^$$/p' settings.ini | tail -n +2 | tr -s ' \n' ' ')"
	@$(BIN)/python -m pip install --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: settings.ini setup.py pyproject.toml | $(BIN)/python
	@echo "• installing everything for the course and the tests (torch is several GB; a few minutes)"
	@$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	@$(BIN)/colorizer demo -o demo

# Asked before several GB are installed: JupyterLab refuses to start as root, because whoever reaches its page could run anything.
.PHONY: not_root
not_root:
	@[ "$$(id -u)" != 0 ] || { echo "JupyterLab does not start as root: use an ordinary account. In a container that has none:"; \
	echo "  make $(VENV)/.dev && $(BIN)/jupyter lab --allow-root --ip 127.0.0.1 nbs"; exit 1; }

course: not_root $(VENV)/.dev
	@$(BIN)/colorizer course

# How many notebooks and tests run at a time; 1 needs less memory.
PROCESSES ?= 2

test: $(VENV)/.dev
	@echo "• running the notebooks"
	@$(THREADS) $(BIN)/python tools/peak.py $(BIN)/python tools/run_notebooks.py --workers $(PROCESSES)
	@echo "• running the tests"
	@$(THREADS) $(BIN)/python tools/peak.py $(BIN)/python -m pytest -q -rs -n $(PROCESSES) --dist loadfile --no-loadscope-reorder tests

docs: $(VENV)/.dev
	@$(THREADS) $(BIN)/python docs/build.py

# After editing notebooks:
export: $(VENV)/.dev
	@$(BIN)/nbdev-export && $(BIN)/nbdev-clean

readme: $(VENV)/.dev
	@$(BIN)/python tools/readme.py

outputs: $(VENV)/.dev
	@$(THREADS) $(BIN)/python tools/run_notebooks.py --save && $(BIN)/nbdev-clean
