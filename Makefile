# Every verb works as the first thing ever run in a clone. `make` lists them.
PYTHON ?= python3
ARGS ?=
VENV := .venv/bin
# `platform/` is a source root; what is not manage.py or pytest has to be told.
check: export PYTHONPATH := $(CURDIR)/platform
check: export COUNTERSIGN_SECRET_KEY := check

.DEFAULT_GOAL := help
.PHONY: help run test check format messages bench faults conformance audit lock setup

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Start everything on this machine; PORT=8001 for another port, Ctrl-C stops it
	@$(PYTHON) bootstrap.py run

# Hundreds of processes start here: what they import is compiled once, even where Python is told to keep nothing.
test faults: export PYTHONDONTWRITEBYTECODE :=
test: setup ## Run the tests; ARGS="tests/embedded -x" for some of them
	$(VENV)/python -m pytest -m "not faults" -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup ## Lint, types, layers, migrations, templates: what must hold before a commit
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/lint-imports
	$(VENV)/python manage.py makemigrations --check --dry-run --settings tests.offline
	@find templates apps platform -name '*.html' | xargs -r $(VENV)/djade --target-version 5.2 --check

format: setup ## Put code and templates in shape
	$(VENV)/ruff format .
	$(VENV)/ruff check --fix .
	@find templates apps platform -name '*.html' | xargs -r $(VENV)/djade --target-version 5.2

messages: setup ## Bring the Chinese catalogue up to date; fails while something is not translated
	$(VENV)/python templates/locale/extract.py

bench: ## Measure; the last tables are in docs/
	@$(PYTHON) bootstrap.py setup --bench
	$(VENV)/python -m benchmarks $(ARGS)

faults: export FAULTS_ROUNDS ?= 60
faults: setup ## Kill, cut off and freeze it for 20 minutes; FAULTS_ROUNDS=20 for less, FAULTS_SEED=... replays
	$(VENV)/python -m pytest -m faults tests/faults -n 2 --dist load --timeout 3600 $(ARGS)

conformance: ## Drive the API with LangGraph's own clients, JavaScript's too; the last table is in docs/compatibility.md
	@$(PYTHON) bootstrap.py setup --conformance
	$(VENV)/python -m tests.conformance $(ARGS)

audit: ## Ask for known holes in the locked packages; ends with 1 when there are, with 2 when it could not be asked
	@$(PYTHON) bootstrap.py setup --audit
	@.venv-audit/bin/python requirements/audit.py $(ARGS)

lock: ## Compile requirements/*.in to exact, hashed *.txt; ARGS=--upgrade for newer versions
	@$(PYTHON) bootstrap.py lock $(ARGS)

setup:
	@$(PYTHON) bootstrap.py setup --dev
