# `make` alone lists the targets. Works with GNU make 3.81 (macOS).
SHELL := /bin/sh
.DEFAULT_GOAL := help
BIN := .venv/bin
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PYTEST := $(BIN)/python -m pytest -m "not bench and not docker and not long"

.PHONY: help demo test test-long setup setup-dev peers fmt lint types imports check simulate mutants chaos drill stalls handover bench up down doctor docs lock fuzz guide clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: setup ## run the whole system against the simulator, live [FOR=seconds] [REPLAY=a.csv.gz,b.csv.gz] [SPEED=60]
	@$(BIN)/cq demo $(if $(FOR),--for $(FOR)) $(if $(REPLAY),--replay "$(REPLAY)") $(if $(SPEED),--speed $(SPEED))

test: lint types imports peers ## everything that must hold before a commit: rules, types, imports, all tests [JOBS=2]
	$(PYTEST) -q -n $(JOBS) tests/unit tests/conformance tests/tidy
	$(PYTEST) -q -n $(JOBS) tests/property
	PYTHONHASHSEED=0 $(PYTEST) -q -n $(JOBS) tests/simulation
	$(PYTEST) -q -n $$(($(JOBS) + 1)) --dist loadfile tests/integration # they wait for real processes more than they compute

test-long: setup-dev ## the tests that take half a minute and more each, one after the other
	$(BIN)/python -m pytest -m long -q tests/integration

check: lint types imports ## the fast part of `test`, for every save
	$(PYTEST) -q -n $(JOBS) tests/unit tests/tidy

setup: ## make .venv and install what the demo needs, pinned
	@tools/setup.sh demo

setup-dev: ## the same with the tools of the tests
	@tools/setup.sh dev

peers: setup-dev ## install the client libraries that the simulator is tested with, each apart
	@$(BIN)/python -m tools.peers

fmt: setup-dev ## format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup-dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup-dev ## mypy --strict
	$(BIN)/mypy

imports: setup-dev ## who may import whom
	@$(BIN)/lint-imports

simulate: setup-dev ## the whole system under seeded faults, going on from the last run [SEEDS=500]
	$(BIN)/python -m tests.simulation $(if $(SEEDS),--seeds $(SEEDS)) --jobs $(JOBS)

mutants: setup-dev ## break one safeguard after another: how many seeds does the simulation take to notice [SEEDS=1000]
	$(BIN)/python -m tests.simulation --mutants --seeds $(or $(SEEDS),1000) --jobs $(JOBS)

chaos: setup-dev ## break the running system in every way and compare with the broker's books [FOR=600] [SEED=1] [EVERY=2.5] [LEASE=1] [RATE=15] [TOTALS=1: only the sums of all runs] [KILLS=20: kill only the leading gateway]
	@$(if $(KILLS),$(BIN)/python -m tests.chaos.leader_kills --kills $(KILLS),$(if $(TOTALS),$(BIN)/python -m tests.chaos.totals,$(BIN)/python -m tests.chaos.run --for $(or $(FOR),600) --show $(if $(SEED),--seed $(SEED)) $(if $(EVERY),--every $(EVERY)) $(if $(LEASE),--lease $(LEASE)) $(if $(RATE),--rate $(RATE))))

stalls: setup-dev ## stall disk and CPU for up to 1 s at the lease of paper and live: nobody may lose a lease [FOR=7200]
	$(BIN)/python -m tests.chaos.stalls $(if $(FOR),--for $(FOR))

handover: setup-dev ## kill, stop, add and drain strategy workers while ticks flow; totals over all runs [FOR=60]
	$(BIN)/python -m tests.chaos.handover $(if $(FOR),--for $(FOR))

drill: setup-dev ## halt a busy system with parts of it dead and measure until nothing more passes [DRILLS=8]
	$(BIN)/python -m tests.chaos.halt_drill $(if $(DRILLS),--drills $(DRILLS))

fuzz: setup-dev ## feed bad bytes to the TWS codec and to a running exchange, and count [SECONDS=60]
	$(BIN)/python -m tests.fuzz.codec $(if $(SECONDS),--seconds $(SECONDS))

guide: setup-dev ## run every block and command of our guide and of those in ../*/guide at simulators on 7497 and 7496 [GUIDE=file] [JSON=1]
	@$(BIN)/python -m tests.guide $(or $(GUIDE),docs/guide.md $(wildcard ../*/guide/*.md)) $(if $(JSON),--json)

bench: setup-dev ## measure this machine and write the report
	$(BIN)/python -m bench

up: ## the same system in containers
	docker compose up -d --wait

down: ## stop the containers, keep their data
	docker compose down

doctor: setup ## say what is wrong on this machine and how to cure it
	@$(BIN)/cq doctor

docs: setup-dev ## write the reference pages from the code
	$(BIN)/python tools/generate_reference.py

lock: setup-dev ## resolve the lock files anew (needs python3.11, 3.12 and 3.13) [UPGRADE=1]
	$(BIN)/python tools/lock.py $(if $(UPGRADE),--upgrade)

clean: ## remove caches and .venv
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
