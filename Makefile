# Each target sets up what it needs; `make setup` does nothing when .venv is fresh.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.svlm-stamp
# one compute thread: the embedded model is small, and a robot has other work for its cores
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo test lint format clean
help:
	@echo "make demo    a camera node and a stream node, one minute, each event beside the truth"
	@echo "make test    all tests"
	@echo "make lint    format, lint, import layers and type checks"
	@echo "make setup   the virtual environment in $(VENV)"

setup: $(STAMP)
$(STAMP): setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[model,ros,bags,serve,train,qlora,log,dev]'
	# only for its copy of the Qwen vocabulary, which the tests against the reference need
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt dashscope
	@touch $(STAMP)

demo: setup
	$(BIN)/python -m svlm_ros.demo

test: setup lint
	$(BIN)/python -m pytest -q

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
