# Everything a person or CI runs. Each target sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FITS := import sys; sys.exit(sys.version_info < (3, 11))

# An environment that a wrong Python made, or whose Python is gone, is made anew, however new it is.
ifneq ($(shell { $(BIN)/python -c '$(FITS)' && echo fits; } 2>/dev/null),fits)
.PHONY: $(READY)
ANEW := --clear
endif

# Tests start thousands of processes. Each would compile all of redrush anew, which takes longer than the rest of its start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo demo-stack test test-rules test-servers test-stacks test-peers test-browser test-newcomer check bench soak format clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c '$(FITS)' 2>/dev/null || { \
	    found=$$($(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null) || found="no $(PYTHON)"; \
	    echo "redrush needs Python 3.11 or newer (found $$found): make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(ANEW) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: setup          ## a whole event on this machine, with a report
	$(BIN)/redrush demo $(DEMO)

demo-stack: setup    ## the same on many processes: sets on Valkey, records on PostgreSQL, several gates
	$(BIN)/redrush demo --stack $(DEMO)

QUICK := $(BIN)/python -m pytest -m "not soak and not peers and not browser and not newcomer"
STACKS := tests/acceptance/rollback tests/acceptance/stack tests/client tests/docs tests/newcomer
SERVERS := $(filter-out $(STACKS),$(filter-out %/__pycache__,$(patsubst %/,%,$(wildcard tests/acceptance/*/)))) $(wildcard tests/acceptance/*.py) \
    tests/clocks tests/conformance tests/drill tests/integration tests/operate tests/processes tests/stack

ifdef TEST
test: setup          ## every test that needs nothing but Python; TEST=tests/core: those
	$(QUICK) $(TEST)
else
test: setup          ## every test that needs nothing but Python, in three parts at once
	@echo "Three parts run at once, and each shows what it found when it is done: some fourteen minutes."
	@$(MAKE) --no-print-directory --jobs 3 --output-sync=target test-rules test-servers test-stacks
endif

# Each part in a directory of its own: pytest tidies up what other runs have left.
define quickly
@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && $(QUICK) --basetemp "$$scratch/t" $(1)
endef

test-rules: setup    ## rules, gates and commands
	$(call quickly,tests $(addprefix --ignore=,$(STACKS) $(SERVERS)))

test-servers: setup  ## whole servers, stores and drills
	$(call quickly,$(SERVERS))

test-stacks: setup   ## whole stacks, what clients do, what the documents say
	$(call quickly,$(STACKS))

test-peers: setup    ## the tests that need Debian packages: the peers, proxies, systemd, torn networks
	$(BIN)/python -m pytest -m peers $(TEST)

test-browser: setup  ## the participants' page in the system's Chromium (needs chromium, fonts-noto-cjk, nginx-light and openssl)
	$(BIN)/python -m pytest -m "browser and not soak" $(TEST)

test-newcomer: setup ## the README pasted line by line on an empty machine, and an installation without extras
	$(BIN)/python -m pytest -m newcomer $(TEST)

check: setup         ## style, types, layers, and the rules about the code that tests/architecture states
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/architecture

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup         ## figures against peers (needs nginx with Lua, redis-server and wrk)
	$(BIN)/redrush bench --save benchmarks/results $(BENCH)

soak: setup          ## the long runs that break things (torn networks need root, iproute2 and iptables)
	$(BIN)/python -m pytest -m soak --timeout 0 $(TEST)

clean:
	rm -rf $(VENV) build dist
