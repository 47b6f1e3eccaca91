# Everything a person or CI runs. Each target sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo demo-stack test test-peers test-newcomer check bench soak format clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: setup          ## a whole event on this machine, with a report
	$(BIN)/redrush demo $(DEMO)

demo-stack: setup    ## the same on many processes: sets on Valkey, records on PostgreSQL, several gates
	$(BIN)/redrush demo --stack $(DEMO)

test: setup          ## every test that needs nothing but Python
	$(BIN)/python -m pytest -m "not soak and not peers and not newcomer" $(TEST)

test-peers: setup    ## the tests that need Debian packages: the peers, proxies, systemd, torn networks
	$(BIN)/python -m pytest -m peers $(TEST)

test-newcomer: setup ## the README pasted line by line on an empty machine, and an installation without extras
	$(BIN)/python -m pytest -m newcomer $(TEST)

check: setup         ## style, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup         ## figures against peers (needs nginx with Lua, redis-server and wrk)
	$(BIN)/redrush bench --save benchmarks/results $(BENCH)

soak: setup          ## the long runs that break things (torn networks need root, iproute2 and iptables)
	$(BIN)/python -m pytest -m soak --timeout 0 $(TEST)

clean:
	rm -rf $(VENV) build dist
