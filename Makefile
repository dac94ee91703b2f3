# `make run` and `make test` need Python 3.11 and make; they set up everything else, once.

PYTHON ?= python3
WORKERS ?= 3
ROUNDS ?= 2000
CASES ?= 20000
EVENTS ?= 100000
KILLS ?= 50
VENV := .venv
BIN := $(VENV)/bin
CATALOGUES := $(wildcard translations/*/LC_MESSAGES/messages.po)
STRANGERS := tests/strangers
RECEIVER := examples/receiver-node

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Or each process, of which the tests start some hundred, would compile the whole application anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev strangers run test prove-story prove-webhooks prove-print prove-reconciliation screenshots fuzz-api check bench lock translations clean
.DELETE_ON_ERROR:

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.runtime $(CATALOGUES:.po=.mo) ## what `make run` needs: virtual environment, packages, translations

setup-dev: setup $(VENV)/.dev ## what `make test` and `make check` need besides

strangers: $(VENV)-strangers/.ready $(STRANGERS)/node_modules/.ready $(RECEIVER)/node_modules/.ready ## clients that nobody here wrote, for tests

run: setup ## start Mafu and print where it listens
	@exec $(BIN)/python -m flask --app wsgi serve

# A file stays on one worker (loadfile), so that its servers and databases start once; there is one more
# of them than two cores have work for, because a third of the time a test waits.  The workers
# are named here and not in pyproject.toml, so that a single test by hand starts at once.  What of the
# strangers cannot be had here is said, and their tests skip.
test: setup-dev ## run all tests; STRICT=1 fails on skips, ARGS="-k settle" goes to pytest, WORKERS=0 runs in one process
	@.ci/system-packages
	-@$(MAKE) --no-print-directory --keep-going strangers
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

prove-story: setup-dev ## tell ROUNDS random stories (10,000 take about 40 minutes of a core); SEED=7 begins there
	$(BIN)/python -m tests.simulator_campaign --rounds $(ROUNDS) --workers $(WORKERS) $(if $(SEED),--seed $(SEED))

# An operation of each mode gets CASES / 160 requests: there are over eighty of them, in two modes.
fuzz-api: setup-dev ## CASES (20,000) requests drawn from the OpenAPI document: no 5xx, nothing that it does not say
	FUZZ_CASES=$$(( $(CASES) / 160 )) $(BIN)/python -m pytest -q tests/api/test_document.py -k "drawn_from_the_document"

prove-webhooks: setup-dev ## EVENTS events to a receiver that fails, workers killed KILLS times (about half an hour)
	EVENTS=$(EVENTS) KILLS=$(KILLS) $(BIN)/python -m pytest -s -p no:schemathesis tests/webhooks/test_storm.py

prove-print: setup-dev ## every printable by three readers after every spoiling, and 500 labels by the clock (two minutes)
	@.ci/system-packages
	$(BIN)/python -m tests.qr.print.prove
	$(BIN)/python -m bench.printing

prove-reconciliation: setup-dev ## bills of 20,000 lines with every mistake planted 50 times: all found, none invented (five minutes)
	$(BIN)/python -m tests.reconciliation.campaign

screenshots: setup-dev ## take the documentation's pictures anew, of the application itself (a minute; needs chromium)
	@.ci/system-packages
	$(BIN)/python -m tests.screenshots

check: setup-dev ## lint, format, types: all three, even if the first finds something
	@failed=0; for step in 'ruff check' 'ruff format --check' 'mypy'; do \
		echo "$$step"; $(BIN)/python -m $$step || failed=1; done; exit $$failed

bench: setup-dev ## measure speed, as ratios to a floor in the same run, and with 100,000 charges in the tables
	$(BIN)/python -m bench
	$(BIN)/python -m bench.rooms

# No index address is written down: whoever installs brings their own, and the hashes hold for all.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --annotation-style line --custom-compile-command "make lock"

lock: setup-dev ## renew all lock files; ARGS=--upgrade takes newer versions
	$(COMPILE) $(ARGS) requirements.txt -o requirements.lock
	$(COMPILE) $(ARGS) -c requirements.lock requirements-dev.txt -o requirements-dev.lock
	$(COMPILE) $(ARGS) $(STRANGERS)/requirements.txt -o $(STRANGERS)/requirements.lock
	for place in $(STRANGERS) $(RECEIVER); do (cd $$place && \
		npm $(if $(findstring --upgrade,$(ARGS)),update,install) --package-lock-only) || exit 1; done

translations: setup ## collect the texts of code and templates into translations/zh
	@mkdir -p build
	$(BIN)/python -m babel.messages.frontend -q extract -F babel.cfg -k _l --sort-output --no-location \
		--project Mafu -o build/messages.pot .
	$(BIN)/python -m babel.messages.frontend -q update -i build/messages.pot -d translations -l zh \
		--init-missing --no-fuzzy-matching --ignore-pot-creation-date
	$(MAKE) --no-print-directory setup

clean: ## remove what make made; your data stays
	rm -rf $(VENV) $(VENV)-* $(STRANGERS)/node_modules $(RECEIVER)/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis
	rm -f translations/*/LC_MESSAGES/messages.mo
	find app sandbox tests migrations bench -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: each is touched once its step has succeeded, so a step cut short is taken again.

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo 'Mafu needs Python 3.11 or newer; "$(PYTHON)" is' "$$($(PYTHON) -V 2>&1 || echo not there)." \
			'Name another: make PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: requirements.lock $(VENV)/.created
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

# Alipay's own client for Python and the one in requirements-dev.txt are both the module "alipay".
$(VENV)-strangers/.ready: $(STRANGERS)/requirements.lock $(VENV)/.created
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --require-hashes -r $<
	@touch $@

%/node_modules/.ready: %/package-lock.json
	cd $* && npm ci --loglevel=error
	@touch $@

%.mo: %.po | $(VENV)/.runtime
	$(BIN)/python -m babel.messages.frontend -q compile -i $< -o $@
