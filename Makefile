# make demo   environment, then every step once on simulated plates; writes demo/report.html
# make test   environment, then all tests
# make docs   environment, then the documentation site, build/site
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt

.PHONY: demo test lint types lowest docs links benchmarks clean

demo: $(VENV)/.demo
	$(BIN)/cytoimagenet demo --out demo

test: $(VENV)/.test
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/deptry .

# the built wheel has the layout that type checkers know, the checkout has not
types: $(VENV)/.test
	rm -rf build/types && mkdir -p build/types
	$(BIN)/python -m build --wheel --no-isolation --outdir build/types . > build/types/log
	$(BIN)/python -m zipfile -e build/types/*.whl build/types
	cd build/types && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml -p cytoimagenet

# the tests with the lowest versions that pyproject.toml allows; needs uv
lowest:
	uv venv --quiet --python $(PYTHON) build/lowest
	uv pip install --quiet --python build/lowest/bin/python --resolution lowest-direct -e '.[all,dev]'
	build/lowest/bin/python -m pytest -q -n 2 --dist worksteal --ignore tests/wheel

# the documentation site, build/site/index.html; a warning, such as a link to nothing, is an error
docs: $(VENV)/.test
	$(INSTALL) -e '.[docs]'
	$(BIN)/python docs/generate.py
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html docs build/site

# addresses outside of the site; needs a network
links: docs
	$(BIN)/python -m sphinx -q -b linkcheck docs build/links

benchmarks: $(VENV)/.test
	for one in benchmarks/[a-z]*.py; do $(BIN)/python $$one || exit 1; done

clean:
	rm -rf $(VENV) build demo docs/generated

# torch is installed first: as a plain requirement it could be the CUDA build (several GB) where a CPU build is available
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	@touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml constraints.txt
	$(INSTALL) -e '.[imagenet,fast]'
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(INSTALL) -e '.[all,dev]'
	@touch $@
