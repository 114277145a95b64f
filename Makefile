# Every target sets up .venv itself. Variables: PYTHON (3.11 to 3.13), ENGINE (cpu, cuda or cuda12).
PYTHON ?= python3
ENGINE ?= cpu
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# nnU-Net's own defaults start a dozen processes; two are plenty for tests and the demonstration.
export nnUNet_def_n_proc ?= 2
# Threads that spin while they wait make everything slower as soon as there are more of them than cores.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint types package bench docs-losses openapi evidence evidence-quick format clean

help:
	@echo "make demo    phantom data, training, export, proof, service, overview (about 10 minutes)"
	@echo "make test    all tests"
	@echo "make check   lint, types, wheel contents, import arrows"
	@echo "make bench   speed of the losses and of the runtime, beside their peers"
	@echo "make docs-losses  measure every loss and write docs/losses (2 minutes)"
	@echo "make openapi  write the description of the service, docs/openapi.json"
	@echo "make evidence    the papers' claims on phantoms (49 minutes of processors)"
	@echo "make evidence-quick  the papers' claims in small, on phantoms: a check of the machinery (15 minutes on 2 cores)"
	@echo "make format  rewrite the code in the house style"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v[:2] <= (3, 13) and f"Python 3.11 to 3.13 is needed, {sys.executable} is {v.major}.{v.minor}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch --editable ".[export,serve,$(ENGINE),dev]"
	$(BIN)/nnunet-losses doctor --mend
	@touch $@

demo: $(READY)
	$(BIN)/python tools/demo/run.py --output demo-output

# Several processes: all tests in one ended in a segmentation fault. The likely cause, which a test of its own shows,
# is that OpenVINO unmapped the stack of signal handlers, and a child's end is a signal where Ray has run;
# serve/backends/openvino_network.py keeps that stack now. One process for everything was not tried since.
APART := tests/benchmarks tests/compare tests/corpus tests/demo tests/deploy
LAST := tests/serve tests/trainers
RAY := tests/compare/test_executors.py

test: $(READY)
	$(BIN)/python -m pytest $(APART) --ignore=$(RAY)
	$(BIN)/python -m pytest $(addprefix --ignore=,$(APART) $(LAST))
	$(BIN)/python -m pytest $(LAST)
	$(BIN)/python -m pytest $(RAY)

check: lint types package

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/python tools/link_tree.py
	$(BIN)/mypy --package nnunet_losses

package: $(READY)
	$(BIN)/python -m pytest -q tests/test_packaging.py tests/test_arrows.py

bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[peers]"
	$(BIN)/python benchmarks/geometry.py --json benchmarks/results/geometry.json
	$(BIN)/python benchmarks/losses.py --json benchmarks/results/losses.json --table docs/loss_speed.md

docs-losses: $(READY)
	$(BIN)/python -m tools.loss_pages

openapi: $(READY)
	$(BIN)/python -m tools.openapi

evidence: $(READY)
	$(BIN)/python benchmarks/evidence.py evidence-phantoms --full

evidence-quick: $(READY)
	$(BIN)/python benchmarks/evidence.py evidence-quick

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .typecheck build dist *.egg-info demo-output evidence-quick
