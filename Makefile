# Everything runs in .venv, which `make env` makes and keeps up to date. CI calls the same targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export PYTHONDONTWRITEBYTECODE ?=

.PHONY: help env demo test soak lint format constraints bench-udf bench-tracking bench-registry bench-scoring bench-evaluators clean
.DEFAULT_GOAL := help

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

env: $(STAMP)  ## make or update .venv with everything that demo, tests and benches need

$(STAMP): pyproject.toml conf/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the packages of conf/constraints.txt into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' conf/constraints.txt)"
	@# compiled once here, or every worker of Spark compiles scikit-learn anew where writing bytecode is off
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint conf/constraints.txt --editable '.[dev]'
	@touch $(STAMP)

java:
	@java -version >/dev/null 2>&1 || { echo "Java 17 or newer is needed: install a JRE (Debian, Ubuntu: apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17) and run make again" >&2; exit 1; }

demo: java env  ## train three models on real flights, track them, score all flights with spark-submit
	@$(BIN)/sparkml demo

test: java env  ## lint, types and all tests
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	@$(BIN)/python -m pytest -n 2 --dist loadfile

soak: java env  ## the long fault and growth runs
	@$(BIN)/python -m pytest tests/soak -m soak

bench-udf: java env  ## rows a second of spark_udf for each flavor, MLflow's beside it in the same run
	@$(BIN)/python -m tests.bench.udf

bench-tracking: env  ## tracking beside MLflow with SQLite, some ten minutes
	@$(BIN)/python -m tests.bench.tracking

bench-registry: env  ## the model registry beside MLflow with SQLite
	@$(BIN)/python -m tests.bench.registry

bench-scoring: java env  ## scoring jobs table to table beside MLflow, Spark by hand, DuckDB, Polars and the limit
	@$(BIN)/python -m tests.bench.scoring

bench-evaluators: java env  ## one core: the second evaluators beside each framework's own predict
	@$(BIN)/python -m tests.bench.evaluators

lint: env  ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: env  ## ruff, mending what it can
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

constraints: env  ## resolve every extra anew into conf/constraints.txt
	@{ echo "# The exact versions that the tests ran with: names and versions only. \`make constraints\` writes it anew."; \
	   $(BIN)/uv pip compile --quiet --all-extras --upgrade --no-annotate --no-header pyproject.toml; } > conf/constraints.new
	@mv conf/constraints.new conf/constraints.txt

clean:  ## remove what demo and tests left, not .venv
	@rm -rf mllake demo-data build dist .pytest_cache .mypy_cache .ruff_cache spark-warehouse metastore_db derby.log
