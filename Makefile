# `make demo` and `make test` work on a fresh clone. Both need make, and Python 3.11 or newer.

# A package index for PyTorch, used besides the default index of pip. It may have builds such as
# 2.13.0+cpu or 2.13.0+cu130.
TORCH_INDEX ?=
# The Python to use, 3.11 or newer; empty: the first one on PATH.
PYTHON ?=
# The extra of pyproject.toml to install; `ray-test` has Ray, too, for the tests that need it.
EXTRAS ?= dev
TEST_PROCESSES ?= 2
TEST_ARGUMENTS ?=
CHECK_ARGUMENTS ?=
SLOW_ARGUMENTS ?=
FUZZ_ARGUMENTS ?=
OPERATORS_ARGUMENTS ?=
CHAOS_ARGUMENTS ?=
LOAD_ARGUMENTS ?=
PARITY_ARGUMENTS ?=
FLOOD_ARGUMENTS ?=
SCHEMATHESIS_EXAMPLES ?= 200

BIN := .venv/bin
# Stamps: .venv exists; .venv has the packages of the demo; .venv has all packages.
CREATED := .venv/.created
DEMO_INSTALLED := .venv/.installed-demo
INSTALLED := .venv/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt --constraint requirements.lock
# mike calls mkdocs by its name.
MIKE := PATH="$(CURDIR)/$(BIN):$$PATH" DOCS_VERSIONS=mike NO_MKDOCS_2_WARNING=1 $(BIN)/mike
PIP_EDITABLE := $(PIP) --no-build-isolation $(if $(TORCH_INDEX),--extra-index-url '$(TORCH_INDEX)') --editable
RECENT := import sys; sys.exit(sys.version_info < (3, 11))

.PHONY: install demo test check check-tests check-redis check-integrations pipelines slow lint lock docs docs-version picture bench parity fuzz chaos load schemathesis clean
.DEFAULT_GOAL := install
.DELETE_ON_ERROR:

install: $(INSTALLED)

$(CREATED):
	@test -x $(BIN)/python || { \
	  for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.14 python3.13 python3.12 python3.11); do \
	    "$$python" -c '$(RECENT)' 2>/dev/null && break; \
	  done; \
	  "$$python" -c '$(RECENT)' 2>/dev/null || { echo 'make: $(or $(PYTHON),python3) is not Python 3.11 or newer; pass the path of one: make PYTHON=/path/to/python3' >&2; exit 1; }; \
	  echo "making .venv with $$("$$python" --version)"; \
	  "$$python" -m venv .venv || { rm -rf .venv; exit 1; }; \
	}
	@$(BIN)/python -c '$(RECENT)' || { echo 'make: the Python in .venv is older than 3.11; remove .venv with `make clean` and try again' >&2; exit 1; }
	@touch $@

$(DEMO_INSTALLED): $(CREATED) pyproject.toml constraints.txt requirements.lock
	@rm -f $@
	$(PIP) --quiet hatchling
	$(PIP_EDITABLE) '.[demo]'
	@touch $@

# `dev` includes the packages of the demo.
$(INSTALLED): $(CREATED) pyproject.toml constraints.txt requirements.lock
	@rm -f $@ $(DEMO_INSTALLED)
	$(PIP) --quiet hatchling
	$(PIP_EDITABLE) '.[$(EXTRAS)]'
	@touch $(DEMO_INSTALLED) $@

# The demo needs no packages of the tests, the docs and the linters. `make install` and `make test`
# install those packages.
demo: $(DEMO_INSTALLED)
	$(BIN)/unitrank demo

# Each process of the tests gets one thread, because several processes share the cores. The tests
# start hundreds of processes, so Python keeps the compiled modules even if
# PYTHONDONTWRITEBYTECODE is set.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest
PARALLEL := --numprocesses=$(TEST_PROCESSES) --dist=worksteal
# pytest exits with 5 if the markers deselect all tests that TEST_ARGUMENTS names.
OR_NONE := || test $$? -eq 5

test: install
	$(PYTEST) $(PARALLEL) -m 'not (slow or check or integrations)' $(TEST_ARGUMENTS) $(OR_NONE)

# All parts that `.ci/run` runs.
check: lint docs test check-tests check-redis check-integrations

# The tests that `make test` leaves out: the browser, the wheel, the images, killed processes, and
# each method at each place of each network. Tests marked `serial` measure time: they run last and
# alone. Only their files are collected then.
check-tests: install
	$(PYTEST) $(PARALLEL) -m 'check and not (slow or serial or integrations)' $(CHECK_ARGUMENTS) $(OR_NONE)
	$(PYTEST) -m 'check and serial and not slow' $(or $(CHECK_ARGUMENTS),$$(grep -rl --include='test_*.py' 'mark\.serial' tests)) $(OR_NONE)

# The tests of the store on Redis, which `make test` runs on Valkey; and tests of TLS and Sentinel.
# Without redis-server they are skipped, or fail if CI is set.
check-redis: install
	@if command -v redis-server > /dev/null; then \
	  UNITRANK_TEST_SERVER=redis-server $(PYTEST) $(PARALLEL) -m 'not slow' tests/store tests/e2e/stores/test_tls.py; \
	elif [ -n "$$CI" ]; then echo 'make: redis-server is not on PATH' >&2; exit 1; \
	else echo 'skipped: the tests of the store on Redis need redis-server on PATH'; fi

# Clients that other projects generate, and pipelines of other projects. Each test installs the
# other project into a folder of `.environments`. One process runs all tests of a file, because they
# share what was installed; pip and npm mostly wait for the network.
check-integrations: install
	$(PYTEST) --numprocesses=$(TEST_PROCESSES) --dist=loadfile --timeout=600 -m 'integrations and not slow' tests/e2e/integrations

# The same for all pipelines: `.ci/run` leaves out those that take minutes to install.
pipelines: install
	$(PYTEST) --timeout=1800 -m integrations tests/e2e/integrations

# Tests that take minutes: time limits and large data. SLOW_ARGUMENTS='tests/e2e/test_large.py' runs
# one file.
slow: install
	$(PYTEST) -m 'slow and not integrations' $(SLOW_ARGUMENTS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python .ci/prose.py

# Writes the version of each package that the two images install.
lock: install
	$(BIN)/python .ci/lock.py > requirements.lock.new
	mv requirements.lock.new requirements.lock

# Writes static pages into site/: `python -m http.server --directory site` shows them. A broken link
# or anchor is an error.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Adds the site of a version to the branch `gh-pages`, which a host of static pages serves. The
# pages of earlier versions stay as they are: `make docs-version VERSION=0.2`.
docs-version: install
	$(MIKE) deploy --alias-type redirect --update-aliases $(VERSION) latest
	$(MIKE) set-default latest

# Makes the pictures of docs/gallery.md and README.md from the demo's job; needs chromium.
picture: install
	UNITRANK_PICTURES=$(CURDIR)/docs/pictures $(PYTEST) tests/e2e/documentation/test_picture.py

# The paper's table and the comparison with Captum need MNIST; UNITRANK_MNIST is the folder.
bench: install
	$(BIN)/python -m benchmarks.service.latency
	$(BIN)/python -m benchmarks.calibration --jobs 20 --folder build/calibration
	$(BIN)/python -m benchmarks.loading
	$(BIN)/python -m benchmarks.reuse
	$(BIN)/python -m benchmarks.study
	$(BIN)/python -m benchmarks.paths
	$(if $(UNITRANK_MNIST),$(BIN)/python -m benchmarks.paper)
	$(if $(UNITRANK_MNIST),$(BIN)/python -m benchmarks.attribution)
	$(if $(UNITRANK_MNIST),$(BIN)/python -m benchmarks.attribution.over_http)

# Compares every method with plain formulas on many architectures, and writes docs/models.md. A run
# that was stopped goes on where it ended. PARITY_ARGUMENTS='--jobs 4' uses more processes,
# PARITY_ARGUMENTS='--only bert vit' prints the records of two architectures and writes no page.
parity: install
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.parity $(PARITY_ARGUMENTS)

# FUZZ_ARGUMENTS='--seed 1 --count 1000' changes the seed and the number of mutants;
# OPERATORS_ARGUMENTS does the same for networks. Networks run between guard pages, which needs gcc.
fuzz: install
	$(BIN)/python -m benchmarks.fuzz $(FUZZ_ARGUMENTS)
	$(BIN)/python -m benchmarks.operators $(OPERATORS_ARGUMENTS)

# CHAOS_ARGUMENTS='--seed 1 --jobs 100 --seconds 60' changes the seed, the jobs and the duration.
chaos: install
	$(BIN)/python -m benchmarks.chaos $(CHAOS_ARGUMENTS)

load: install
	$(BIN)/python -m benchmarks.service.load $(LOAD_ARGUMENTS)
	$(BIN)/python -m benchmarks.service.flood $(FLOOD_ARGUMENTS)

schemathesis: install
	SCHEMATHESIS_EXAMPLES=$(SCHEMATHESIS_EXAMPLES) $(BIN)/python -m pytest -m '' tests/service/openapi/test_schemathesis.py

clean:
	rm -rf .venv .environments build dist *.egg-info demo-result fuzz-findings parity-records site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
