# Every target sets up what it needs: a virtual environment in .venv, and system packages
# (bubblewrap, chromium) where this user may install them.
.DEFAULT_GOAL := help
.PHONY: help install demo demo-nightly playground run check test test-all chaos soak bench migrate lock clean
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Tests wait for other processes half of their time: two for each core of a small build machine
PROCESSES ?= 4
PYTEST := $(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.venv/run.stamp: requirements.txt scripts/venv
	@PYTHON="$(PYTHON)" scripts/venv requirements.txt && touch $@

.venv/dev.stamp: requirements-dev.txt scripts/venv
	@PYTHON="$(PYTHON)" scripts/venv requirements-dev.txt && touch $@ .venv/run.stamp

install: .venv/run.stamp ## Set up what the service needs
	@scripts/system-packages bubblewrap:bwrap

demo: install ## A request in a thread comes to production, shown in the terminal
	@$(BIN)/python -m playground --demo

demo-nightly: install ## A night of maintenance and its digest, shown in the terminal
	@$(BIN)/python -m playground --demo-nightly

playground: install ## The same in the browser, to click and type in
	@$(BIN)/python -m playground

run: install ## The service itself, with the settings of .env and journeyman.toml
	@set -a; [ ! -f .env ] || . ./.env; set +a; $(BIN)/python -m bot serve

check: .venv/dev.stamp ## Linters and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright

test: .venv/dev.stamp ## The tests
	@scripts/system-packages bubblewrap:bwrap chromium:chromium
	@$(PYTEST) -m "not slow and not alone"
	@$(BIN)/python -m pytest -m "alone and not slow"

test-all: .venv/dev.stamp ## The tests, the long ones too
	@scripts/system-packages bubblewrap:bwrap chromium:chromium
	@$(PYTEST) -m "not alone"
	@$(BIN)/python -m pytest -m alone

chaos: .venv/dev.stamp ## Ten minutes of kills, cuts and lost answers (SEED=n repeats one)
	@scripts/system-packages bubblewrap:bwrap
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED))

soak: .venv/dev.stamp ## The same for SECONDS=n, telling what the processes use each minute
	@scripts/system-packages bubblewrap:bwrap
	@$(BIN)/python -m tests.chaos --soak --seconds $(or $(SECONDS),3600) $(if $(SEED),--seed $(SEED))

bench: .venv/dev.stamp ## Speed and memory beside their baselines; FULL=1 as in docs/scaling.md
	@scripts/system-packages bubblewrap:bwrap
	@$(BIN)/python -m benchmarks $(if $(FULL),--full)

migrate: install ## Bring the database of DATABASE_ADMIN_URL to this version
	@$(BIN)/python -m bot migrate

lock: .venv/dev.stamp ## Compile requirements*.in again
	@for name in requirements requirements-dev; do \
	  $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    $$name.in -o $$name.txt; done

clean: ## Remove the virtual environment and the playground's state
	@scripts/clean
