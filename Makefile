# Run `make` for the list of targets. Each makes .venv by itself if there is none, with faiss for the CPU; an active
# conda or virtual environment is left alone and not used. With a GPU: make setup FAISS=gpu
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What `make setup` chose last holds until FAISS is given again.
FAISS ?= $(or $(patsubst $(VENV)/.ready-%,%,$(firstword $(wildcard $(VENV)/.ready-*))),cpu)
FAISS := $(FAISS)
READY := $(VENV)/.ready-$(FAISS)

.DEFAULT_GOAL := help
.PHONY: help setup demo weak test train eval report data-check lint clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv and install everything into it (FAISS=cpu|gpu, PYTHON=python3.12)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11. Name a newer one: make setup PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	@rm -f $(VENV)/.ready-*
	@# The two faiss wheels fill the same folder: the other one must go first.
	$(BIN)/python -m pip uninstall -qq -y faiss-cpu faiss-gpu-cu12
	$(BIN)/python -m pip install -q -e ".[$(FAISS),weights,heic,export,local,dev]"
	@touch $@

SEED ?= 0
DEMO := runs/demo

demo: $(READY) ## a drawn city: train a teacher, a student alone, a student distilled: minutes on a laptop (SEED=1)
	$(BIN)/python train.py experiment=demo seed=$(SEED) hydra.run.dir=$(DEMO)
	$(BIN)/python train.py experiment=demo_student seed=$(SEED) hydra.run.dir=$(DEMO)/alone
	$(BIN)/python train.py experiment=kd_toycity seed=$(SEED) hydra.run.dir=$(DEMO)/distilled \
	  distillation.teacher.ckpt=$(DEMO)/best.ckpt
	$(BIN)/python evaluate.py ckpt=$(DEMO)/distilled/best.ckpt dataset=toycity out=$(DEMO)/evaluation
	@$(BIN)/python -m vpr.report $(DEMO) --latency --title "make demo"
	@$(BIN)/python benchmarks/demo_figure.py --runs $(DEMO)

WEAK := dataset=toycity_pittsburgh
STUDENT := backbone=resnet18 backbone.weights=none 'backbone.crop=[4]' 'image.size=[96,128]'
ONCE := train.py -m hydra.sweep.dir=runs/weak

weak: $(READY) ## train on a drawn city from positions alone; distil by WAKD: < 10 minutes on two cores (SEED=1)
	$(BIN)/python -m vpr.toycity.layouts "$${VPR_DATA:-data}" --city
	$(BIN)/python cluster.py $(WEAK) clusters=16 backbone=tf_efficientnet_lite0 backbone.weights=package 'backbone.crop=[5,6]'
	$(BIN)/python $(ONCE) experiment=weak_toycity hydra.sweep.subdir=teacher
	$(BIN)/python cluster.py $(WEAK) clusters=16 $(STUDENT) seed=$(SEED) overwrite=true
	$(BIN)/python $(ONCE) experiment=weak_toycity_student seed=$(SEED) hydra.sweep.subdir=alone-seed$(SEED)
	$(BIN)/python $(ONCE) experiment=wakd_toycity seed=$(SEED) hydra.sweep.subdir=wakd-seed$(SEED) \
	  distillation.teacher.ckpt=runs/weak/teacher/best.ckpt
	for run in alone-seed$(SEED) wakd-seed$(SEED); do \
	  $(BIN)/python evaluate.py ckpt=runs/weak/$$run/best.ckpt $(WEAK) out=runs/weak/$$run/evaluation || exit; done
	@$(BIN)/python benchmarks/weak_toycity.py --seed $(SEED)

test: $(READY) ## run all tests, with coverage
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses=8 --dist loadfile --no-loadscope-reorder --cov=vpr --cov-report=term:skip-covered --cov-fail-under=90

train: $(READY) ## train: make train ARGS="backbone=mobilenet_v2 agg=mixvpr"
	$(BIN)/python train.py $(ARGS)

eval: $(READY) ## evaluate: make eval DATA=pitts250k CKPT=runs/x/best.ckpt
	@test -n "$(DATA)" -a -n "$(CKPT)" || { echo "Say what on what: make eval DATA=pitts250k CKPT=runs/x/best.ckpt" >&2; exit 2; }
	$(BIN)/python evaluate.py "ckpt=$(CKPT)" "dataset=$(DATA)" $(ARGS)

report: $(READY) ## one page that compares runs: make report RUNS=multirun/DATE [ARGS=--pictures]
	@test -n "$(RUNS)" || { echo "Say which runs: make report RUNS=multirun/DATE" >&2; exit 2; }
	$(BIN)/python -m vpr.report $(RUNS) $(ARGS)

data-check: $(READY) ## list all data sets, found or not: make data-check [DATA=pitts30k] [ARGS=paths.data=/disk]
	@$(BIN)/python -m vpr.catalog $(if $(DATA),"dataset=$(DATA)") $(ARGS)

lint: $(READY) ## check style (ruff) and types (mypy)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy vpr

clean: ## remove caches and build leftovers; runs/, data/ and .venv stay
	rm -rf .mypy_cache .pytest_cache .ruff_cache .coverage build dist *.egg-info
	find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -rf {} +
