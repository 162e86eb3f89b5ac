# `make demo` and `make test` each work alone on a fresh clone: Python 3.11 or newer and make are all that must be there.

# Where PyTorch comes from, beside pip's own index: a package index with builds such as 2.13.0+cpu or 2.13.0+cu130.
TORCH_INDEX ?=
# Any Python >= 3.11; empty: the first one found.
PYTHON ?=
TEST_PROCESSES ?= 2
TEST_ARGUMENTS ?=
CHECK_ARGUMENTS ?=
SLOW_ARGUMENTS ?=
FUZZ_ARGUMENTS ?=
CHAOS_ARGUMENTS ?=
LOAD_ARGUMENTS ?=
FLOOD_ARGUMENTS ?=
SCHEMATHESIS_EXAMPLES ?= 200

BIN := .venv/bin
# Stamps: the environment exists, it has what the demo needs, it has everything.
CREATED := .venv/.created
DEMO_INSTALLED := .venv/.installed-demo
INSTALLED := .venv/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt --constraint requirements.lock
PIP_EDITABLE := $(PIP) --no-build-isolation $(if $(TORCH_INDEX),--extra-index-url '$(TORCH_INDEX)') --editable
RECENT := import sys; sys.exit(sys.version_info < (3, 11))

.PHONY: install demo test check check-tests check-redis slow lint lock docs picture bench fuzz chaos load schemathesis clean
.DEFAULT_GOAL := install
.DELETE_ON_ERROR:

install: $(INSTALLED)

$(CREATED):
	@test -x $(BIN)/python || { \
	  for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.14 python3.13 python3.12 python3.11); do \
	    "$$python" -c '$(RECENT)' 2>/dev/null && break; \
	  done; \
	  "$$python" -c '$(RECENT)' 2>/dev/null || { echo 'make: $(or $(PYTHON),python3) is not Python 3.11 or newer; name one: make PYTHON=/path/to/python3' >&2; exit 1; }; \
	  echo "making .venv with $$("$$python" --version)"; \
	  "$$python" -m venv .venv || { rm -rf .venv; exit 1; }; \
	}
	@$(BIN)/python -c '$(RECENT)' || { echo 'make: the Python of .venv is older than 3.11; `make clean` removes it' >&2; exit 1; }
	@touch $@

$(DEMO_INSTALLED): $(CREATED) pyproject.toml constraints.txt requirements.lock
	@rm -f $@
	$(PIP) --quiet hatchling
	$(PIP_EDITABLE) '.[demo]'
	@touch $@

# The packages of the demo are among those of `dev`.
$(INSTALLED): $(CREATED) pyproject.toml constraints.txt requirements.lock
	@rm -f $@ $(DEMO_INSTALLED)
	$(PIP) --quiet hatchling
	$(PIP_EDITABLE) '.[dev]'
	@touch $(DEMO_INSTALLED) $@

# The demo needs no packages of the tests, the docs or the linters: `make install` and `make test` add those.
demo: $(DEMO_INSTALLED)
	$(BIN)/unitrank demo

# One thread a process: there are as many processes as cores, and every worker of the tests has its own.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
PARALLEL := --numprocesses=$(TEST_PROCESSES) --dist=worksteal
# pytest ends with 5 where the markers leave no test of those named by TEST_ARGUMENTS.
OR_NONE := || test $$? -eq 5

test: install
	$(PYTEST) $(PARALLEL) -m 'not (slow or check)' $(TEST_ARGUMENTS) $(OR_NONE)

# Everything that `.ci/run` runs.
check: lint docs test check-tests check-redis

# The tests that `make test` leaves out: a browser, the wheel, the images, killed processes, each method at each place of every net.
# Those marked `serial` come last, one after the other: they time processes, and would share the cores with all others.
check-tests: install
	$(PYTEST) $(PARALLEL) -m 'check and not (slow or serial)' $(CHECK_ARGUMENTS) $(OR_NONE)
	$(PYTEST) -m 'check and serial and not slow' $(CHECK_ARGUMENTS) $(OR_NONE)

# The store's tests on Redis, where `make test` takes Valkey. Without redis-server they are skipped, or fail where CI is set.
check-redis: install
	@if command -v redis-server > /dev/null; then \
	  UNITRANK_TEST_SERVER=redis-server $(PYTEST) $(PARALLEL) -m 'not slow' tests/store; \
	elif [ -n "$$CI" ]; then echo 'make: redis-server is not on PATH' >&2; exit 1; \
	else echo 'skipped: the tests of the store on Redis need redis-server on PATH'; fi

# Tests of minutes: bounds of time as they come, large data. SLOW_ARGUMENTS='tests/e2e/test_large.py' for one file.
slow: install
	$(PYTEST) -m slow $(SLOW_ARGUMENTS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Every package that the two images install, with its version.
lock: install
	$(BIN)/python .ci/lock.py > requirements.lock.new
	mv requirements.lock.new requirements.lock

# Into site/, to be served by anything: python -m http.server --directory site. A link or an anchor that leads nowhere is an error.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# The picture of the page in README.md, from the demo's job; it needs chromium.
picture: install
	UNITRANK_PICTURE=docs/page.png $(PYTEST) tests/e2e/documentation/test_picture.py

# The paper's table and the comparison with Captum need its data: UNITRANK_MNIST names the folder.
bench: install
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.calibration
	$(BIN)/python -m benchmarks.loading
	$(BIN)/python -m benchmarks.reuse
	$(if $(UNITRANK_MNIST),$(BIN)/python -m benchmarks.paper)
	$(if $(UNITRANK_MNIST),$(BIN)/python -m benchmarks.attribution)

# FUZZ_ARGUMENTS='--seed 1 --count 1000' for others, or fewer.
fuzz: install
	$(BIN)/python -m benchmarks.fuzz $(FUZZ_ARGUMENTS)

# CHAOS_ARGUMENTS='--seed 1 --jobs 100 --seconds 60' for others, or fewer.
chaos: install
	$(BIN)/python -m benchmarks.chaos $(CHAOS_ARGUMENTS)

load: install
	$(BIN)/python -m benchmarks.load $(LOAD_ARGUMENTS)
	$(BIN)/python -m benchmarks.flood $(FLOOD_ARGUMENTS)

schemathesis: install
	SCHEMATHESIS_EXAMPLES=$(SCHEMATHESIS_EXAMPLES) $(BIN)/python -m pytest -m '' tests/service/openapi/test_schemathesis.py

clean:
	rm -rf .venv build dist *.egg-info demo-result fuzz-findings site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
