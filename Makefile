# Everything runs in .venv, which the first target makes. `make` alone lists the targets.
SHELL := /bin/bash
PYTHON ?= python3.11
HOST ?= 127.0.0.1
PORT ?= 8000
WORKERS ?= 1
MLFLOW_PORT ?= 5000
# pip options for torch alone; docs/how-to/install.md names the index of its CPU build, which on Linux saves several GB.
TORCH_INDEX ?=
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DO_NOT_TRACK := true

.DEFAULT_GOAL := help
.PHONY: help install run report test test-fast coverage check reference pictures serve mlflow bench lock tune experiments verify data aihub dataset test-packages system-packages

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST) | sort

install: .venv/installed  ## make .venv and install requirements.txt into it

.venv/installed: requirements.txt serving/requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: install it, or name it with PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "$(PYTHON) is not Python 3.11: name one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	pip install --quiet --upgrade pip
	pip install --quiet $(TORCH_INDEX) "$$(grep -oE '^torch==[0-9.]+' requirements.txt)"
	pip install --quiet -r requirements.txt
	pip check
	python -m commands.offline_plots
	@touch $@

run: install  ## run the graph, then print the report and what differs from the committed metrics
	@python -m commands.run

report: install  ## print the saved report
	@python -m commands.report

test: install system-packages test-packages  ## run all tests; installs what they need
	@test -e models/serving/bundle.json || SENTIMENT_REPORT=later dvc repro export
	python -m pytest --numprocesses 2 --dist worksteal

test-fast: install system-packages test-packages  ## run the tests that take under two minutes together
	python -m pytest --numprocesses 2 --dist worksteal -m "not slow"

coverage: install system-packages test-packages  ## run all tests and list the lines that none of them runs
	python -m pytest --numprocesses 2 --dist worksteal --cov --cov-report term-missing

check: install test-packages  ## lint, format, spelling, types and import rules
	ruff check .
	ruff format --check .
	typos
	mypy
	lint-imports

reference: install test-packages  ## write the generated pages of docs/
	@python -m commands.reference

pictures: install test-packages  ## take screenshots of the reports for the README
	@python -m commands.pictures

serve: install  ## serve models/serving on HOST:PORT, with WORKERS processes
	@python -m serving --host $(HOST) --port $(PORT) --workers $(WORKERS)

mlflow: install  ## open the MLflow UI on the project's store, on HOST:MLFLOW_PORT
	@uri="$$(python -m stages.shared.mlflow_store http://$(HOST):$(MLFLOW_PORT))" || exit 1; case "$$uri" in \
	  http*) echo "MLFLOW_TRACKING_URI names a server, which runs already";; \
	  *) MLFLOW_BACKEND_STORE_URI="$$uri" mlflow server --host $(HOST) --port $(MLFLOW_PORT) --workers 1 --default-artifact-root mlartifacts;; esac

bench: install test-packages  ## measure what docs/ states
	@command -v wrk >/dev/null || { echo "The benchmarks need wrk. Type: sudo apt-get install wrk"; exit 1; }
	python -m benchmarks.preprocess
	python -m benchmarks.containment
	python -m benchmarks.label_noise
	python -m benchmarks.transfer
	python -m benchmarks.training
	python -m benchmarks.scaling
	python -m benchmarks.inference
	python -m benchmarks.packing
	python -m benchmarks.serving
	python -m benchmarks.score
	python -m benchmarks.overload
	RELIABILITY_TIMES=10 python -m pytest tests/serving/test_reliability.py

lock: install  ## re-run the graph so that dvc.lock and metrics/ are ready to commit
	dvc repro
	git status --short dvc.lock metrics

tune: install  ## search params: make tune TRIALS=20 SPACE=<file like commands/search_space.yaml>
	@python -m commands.tune $(if $(TRIALS),--trials "$(TRIALS)") $(if $(SPACE),--space "$(SPACE)")

experiments: install  ## compare the experiments: accuracy, gain over the baseline, F1, and the params that differ
	@dvc exp show --only-changed --drop 'Created|best|machine|recipe|served|validation|.*/'

verify: install  ## train the committed project again and compare the model with dvc.lock
	@python -m commands.verify

data: install  ## look at a file of labelled texts: make data FILE=mine.csv [SET=label_column=stars]
	@python -m commands.data $(if $(FILE),"$(FILE)") $(SET)

aihub: install  ## take the AI Hub corpus in: make aihub FILE='..._Training.json'
	@python -m commands.import_aihub $(if $(FILE),"$(FILE)")

dataset: install  ## take a data set of the Hugging Face Hub in: make dataset HUB=<id>@<revision> [CONFIG=<name>]
	@python -m commands.import_hub $(if $(HUB),"$(HUB)") $(if $(CONFIG),"$(CONFIG)")

BROWSERS := chromium chromium-browser google-chrome google-chrome-stable
test-packages: install
	@pip install --quiet -r tests/requirements.txt

system-packages:
	@missing=""; if command -v dpkg >/dev/null; then \
	  missing="$$(for name in fonts-nanum postgresql; do dpkg -s $$name >/dev/null 2>&1 || echo -n "$$name "; done)"; \
	elif ! command -v initdb >/dev/null; then missing=postgresql; fi; \
	command -v $(BROWSERS) >/dev/null || missing="chromium $$missing"; \
	if [ -n "$$missing" ] && ! command -v apt-get >/dev/null; then \
	  echo "The tests need Chromium or Chrome, a font with Hangul and PostgreSQL. Type what installs them here, e.g.:"; \
	  echo "  brew install --cask chromium font-nanum-gothic && brew install postgresql@15"; \
	elif [ -n "$$missing" ]; then \
	  install="apt-get install -y --no-install-recommends $$missing"; \
	  if [ "$$(id -u)" = 0 ]; then apt-get -qq update && DEBIAN_FRONTEND=noninteractive $$install >/dev/null; \
	  else echo "The tests need system packages. Type: sudo $$install"; exit 1; fi; fi
