# `make` lists the targets. Needs Python >= 3.11 with its headers, gcc and make; everything else goes into .venv.
# A newer interpreter is chosen with PYTHON=python3.13 (after `make clean`).

PYTHON ?= python3
SECONDS ?= 600
FUZZ_SECONDS ?= 5
CORES := $(shell nproc 2>/dev/null || echo 1)
JOBS ?= $(shell expr $(CORES) + 1)
# Unless this make was told how many.
ALL_CORES = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(CORES))

BIN := .venv/bin
STAMP := .venv/.installed
BENCH_STAMP := .venv/.installed-bench
BUILT_FROM := pyproject.toml setup.py $(wildcard csrc/*.c csrc/*.h src/execwire/*.pyx src/execwire/*.pxd)
LINTED := src tests benchmarks docs setup.py

# The tests start hundreds of processes: without it each would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-c test-python check lint types stubtest sanitize workflows fuzz bench \
    bench-instructions clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

demo: $(STAMP) ## live sessions with every venue of a local exchange, recorded and checked; offline
	@$(BIN)/execwire demo

test: test-c test-python ## the C tests, then the Python tests

test-c: ## the C tests alone (no Python needed)
	@$(MAKE) --no-print-directory -C csrc $(ALL_CORES) check

# One more than there are processors: a quarter of their time tests wait.
test-python: $(STAMP) ## the Python tests alone, JOBS=N at a time
	@$(BIN)/python -m pytest -q -n $(JOBS) --maxprocesses 8 --dist worksteal

check: lint types stubtest workflows sanitize ## lint, types, stubs, C tests under sanitizers, a short fuzz
	@$(MAKE) --no-print-directory -C csrc fuzz SECONDS=$(FUZZ_SECONDS)

lint: $(STAMP) ## ruff: rules and format
	@$(BIN)/ruff check $(wildcard $(LINTED))
	@$(BIN)/ruff format --check $(wildcard $(LINTED))

types: $(STAMP) ## mypy
	@$(BIN)/mypy

stubtest: $(STAMP) ## the stubs against the compiled modules
	@MYPYPATH=src $(BIN)/stubtest $(patsubst src/execwire/%.pyi,execwire.%,$(wildcard src/execwire/*.pyi))

workflows: $(STAMP) ## .github/workflows against GitHub's published schema
	@$(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml

sanitize: ## the C tests under AddressSanitizer and UBSan, and ThreadSanitizer
	@$(MAKE) --no-print-directory -C csrc $(ALL_CORES) check-threads check SANITIZE=1

fuzz: ## every fuzzer, long: SECONDS=600 each, SEED=1
	@$(MAKE) --no-print-directory -C csrc fuzz SECONDS=$(SECONDS)

bench: $(BENCH_STAMP) ## every contender in turns, checked first; README=1 writes the README's tables
	@$(BIN)/python benchmarks/report.py $(if $(README),--readme) $(BENCH_ARGS)

bench-instructions: $(STAMP) ## instructions per message, compared with benchmarks/instructions.json; RECORD=1 writes it
	@$(BIN)/python benchmarks/instructions.py $(if $(RECORD),--record)

clean: ## remove .venv and everything that was built
	@$(MAKE) --no-print-directory -C csrc clean
	@rm -rf .venv build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@rm -f src/execwire/*.so
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# MARK: the virtual environment

# The package is installed editable: Python changes take effect at once, changes of compiled sources through this stamp.
$(STAMP): $(BUILT_FROM) | $(BIN)/python
	@command -v "$${CC:-gcc}" >/dev/null || { echo "make: no C compiler; install gcc (or set CC)" >&2; exit 1; }
	@echo "installing execwire and its development tools into .venv (once, and after changes of compiled sources)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

# Peers are nice to have: what cannot be installed here is skipped, with a word.
$(BENCH_STAMP): $(STAMP)
	@echo "installing what execwire is compared with into .venv (once)"
	@for peer in $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"])'); do \
	    $(BIN)/python -m pip install -q --disable-pip-version-check "$$peer" || echo "bench: no $$peer"; \
	done
	@touch $@

# Distributions that split ensurepip off (Debian's python3-venv) still give a venv without pip; what is there fills it.
$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { echo "make: $(PYTHON) not found; set PYTHON=/path/to/python3.11 or newer" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "make: execwire needs Python 3.11 or newer, $(PYTHON) is" \
	         "$$("$(PYTHON)" -c 'import platform; print(platform.python_version())'); set PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || { \
	    echo "make: $(PYTHON) has no C headers; install python3-dev (Debian) or python3-devel" >&2; exit 1; }
	@rm -rf .venv
	@if "$(PYTHON)" -c 'import ensurepip' 2>/dev/null && "$(PYTHON)" -m venv .venv; then exit 0; fi; \
	rm -rf .venv; \
	if "$(PYTHON)" -m virtualenv -q .venv 2>/dev/null; then exit 0; fi; \
	rm -rf .venv; \
	if "$(PYTHON)" -m venv --without-pip .venv 2>/dev/null \
	    && "$(PYTHON)" -m pip --python .venv/bin/python install -q pip 2>/dev/null; then exit 0; fi; \
	rm -rf .venv; \
	if "$(PYTHON)" -m pip install -q --target build/virtualenv virtualenv 2>/dev/null \
	    && PYTHONPATH=build/virtualenv "$(PYTHON)" -m virtualenv -q .venv; then exit 0; fi; \
	rm -rf .venv; \
	echo "make: cannot create a virtual environment; install python3-venv (Debian) or virtualenv" >&2; exit 1
