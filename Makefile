# Everything a person does here. `make` alone lists it.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# Of the tests' processes: one more than cores, since many tests mostly wait.
WORKERS ?= $(shell expr `getconf _NPROCESSORS_ONLN` + 1)
SOURCES := app alerts consumers migrations tests benchmarks
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo kafka postgres test lint types bench bench-kafka torture fmt lock lock-check wheel venv clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/run.stamp ## the whole path on this machine: events in, alerts out (DIR= keeps its data)
	@exec $(BIN)/bellwether demo $(if $(DIR),--dir '$(DIR)')

kafka: $(VENV)/dev.stamp ## a Kafka broker on 127.0.0.1:9092 until Ctrl-C (PORT= and DIR= choose)
	@exec $(BIN)/python -m tests.servers.kafka $(if $(PORT),--port $(PORT)) $(if $(DIR),--dir '$(DIR)')

postgres: $(VENV)/dev.stamp ## a PostgreSQL cluster on 127.0.0.1:5432 until Ctrl-C (PORT= and DIR= choose)
	@exec $(BIN)/python -m tests.servers.postgres $(if $(PORT),--port $(PORT)) $(if $(DIR),--dir '$(DIR)')

# Compiled tests are kept, also where the shell says no: compiling them takes each process a quarter of a minute.
test: $(VENV)/dev.stamp ## every test this machine can run, and why any was left out
	@PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(VENV)/dev.stamp ## style, formatting, and that imports point downwards
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/lint-imports

types: $(VENV)/dev.stamp ## mypy --strict over the package and the benchmarks
	$(BIN)/mypy
	$(BIN)/mypy benchmarks

bench: $(VENV)/dev.stamp ## how fast, as ratios within one run
	@$(BIN)/python -m benchmarks $(ARGS)

torture: $(VENV)/dev.stamp ## every fault that must be survived, for hours (ARGS=--short: in minutes)
	@$(BIN)/python -m tests.torture $(or $(ARGS),--long)

bench-kafka: $(VENV)/dev.stamp ## consumers, latencies and peers on a real broker (ARGS=throughput|latency|decay|peers)
	@$(BIN)/python -m benchmarks.kafka $(ARGS)

fmt: $(VENV)/dev.stamp ## format, and fix what can be fixed by itself
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

lock: $(VENV)/dev.stamp ## compile requirements/*.txt from pyproject.toml (ARGS=--upgrade: take the newest)
	PATH="$(abspath $(BIN)):$$PATH" requirements/lock.sh $(ARGS)

lock-check: $(VENV)/dev.stamp ## fail if requirements/*.txt are out of date
	PATH="$(abspath $(BIN)):$$PATH" requirements/lock.sh --check

wheel: $(VENV)/dev.stamp ## build the wheel into dist/
	PATH="$(abspath $(BIN)):$$PATH" uv build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir $(or $(DIST),dist) .

venv: $(VENV)/dev.stamp ## the development environment alone

clean: ## remove the environment and everything built
	rm -rf $(VENV) dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/run.stamp: requirements/run.txt requirements/install.sh pyproject.toml
	@echo "preparing $(VENV) (once; takes about a minute)"
	@requirements/install.sh $(VENV) run
	@requirements/install.sh $(VENV) editable
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt requirements/install.sh pyproject.toml
	@echo "preparing $(VENV) for development (once; takes about a minute)"
	@requirements/install.sh $(VENV) dev
	@requirements/install.sh $(VENV) editable
	@touch $(VENV)/run.stamp $@
