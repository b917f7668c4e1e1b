# Everything a person or CI calls. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV := .local/uv/bin/uv
DIST ?= dist
BIN := .venv/bin
export PYTHONPATH := e2e:examples

# Also under -j: the targets share one machine, and tests measure on it. `make check` may run beside `make test`.
.NOTPARALLEL:

.PHONY: help setup demo test unit contracts integration integration-server integration-faults integration-cluster e2e check generate images cluster-up cluster-down bench-server bench-sync bench-polling dist release docs lock clean

help: ## List the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

NATIVE := server/src/slipway_server/_native.abi3.so
NATIVE_SOURCES := server/native/Cargo.toml server/native/crates.lock server/native/build $(wildcard server/native/src/*.rs server/native/src/*/*.rs)

setup: .local/setup.stamp $(NATIVE) ## Install uv and the locked Python packages into .venv; build the native front

$(UV): requirements/bootstrap.lock
	@echo "[setup] uv"
	@$(PYTHON) -m venv .local/uv 2>/dev/null || { apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null && $(PYTHON) -m venv --clear .local/uv; }
	@.local/uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.lock
	@touch $@

.local/setup.stamp: $(UV) requirements/dev.lock operator/pyproject.toml sync/pyproject.toml server/pyproject.toml cli/pyproject.toml
	@echo "[setup] Python packages (requirements/dev.lock)"
	@[ -x $(BIN)/python ] || $(UV) venv --quiet --python $(PYTHON) .venv
	@$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements/dev.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e sync -e operator -e server -e cli
	@touch $@

$(NATIVE): $(NATIVE_SOURCES)
	@echo "[setup] the native front (server/native)"
	@server/native/build

demo: setup ## The main job on a real cluster: install, serve, replace versions under load
	@$(BIN)/python -m demo

# What the cluster is made of is built, where it is not yet, beside the tests that need no cluster; the tests that need its
# programs start as soon as these are there. Not by `make -n`, which runs every line that names $(MAKE), and shows the order.
DRY := $(findstring n,$(firstword -$(MAKEFLAGS)))
CLUSTER_TESTS = $(BIN)/python -m cluster tools >/dev/null && exec $(MAKE) --no-print-directory integration-cluster
BESIDE = $(if $(DRY),,$(BIN)/python -m cluster prepare --beside '$(CLUSTER_TESTS)' --)

test: setup ## All tests; as root
	@$(BESIDE) $(MAKE) --no-print-directory unit contracts integration-server integration-faults
	@$(if $(DRY),$(MAKE) --no-print-directory integration-cluster)
	@$(MAKE) --no-print-directory e2e

unit: setup ## Pure parts; no network, no cluster
	@server/native/build test
	@$(BIN)/pytest tests/unit

# What asks a server, once more with the native front.
FRONT_TESTS := $(addprefix tests/contracts/test_server_,answers.py batching.py deadlines.py exchanges.py grpc.py kinds.py lifecycle.py models.py oip.py reflection.py rest.py tables.py) tests/contracts/test_hostile_inputs.py

contracts: setup ## What the parts, and the protocols, agree on
	@$(BIN)/pytest tests/contracts
	@SLIPWAY_FRONT=native $(BIN)/pytest $(FRONT_TESTS)

integration: integration-server integration-faults integration-cluster ## Against a real kube-apiserver, object stores and TensorFlow

# These need none of the cluster's programs.
SERVER_TESTS := tests/integration/test_server_*.py tests/integration/test_tutorials.py

# These need its object stores, and no control plane.
FAULT_TESTS := $(filter-out %_operator.py,$(wildcard tests/integration/test_sync_faults*.py))

integration-server: setup ## The part of it that needs no cluster: server processes, tutorials
	@$(BIN)/pytest $(SERVER_TESTS)

integration-faults: setup ## The agent's syncs from object stores that fail
	@$(BIN)/python -m cluster tools >/dev/null
	@$(BIN)/pytest $(FAULT_TESTS)

integration-cluster: setup ## The rest: operator, chart, sync against control plane and stores
	@$(BIN)/pytest tests/integration $(addprefix --ignore=,$(wildcard $(SERVER_TESTS)) $(FAULT_TESTS))

e2e: setup ## Scenarios on a real node; prints what they measured
	@$(BIN)/pytest -rA e2e/scenarios

check: setup ## Formatting, lint, types, layers, chart, generated files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy
	@server/native/build check
	@$(MAKE) --no-print-directory generate
	@git diff --exit-code -- crds charts sync/src/slipway_sync/wire server/src/slipway_server/wire cli/src/slipway_cli/wire docs/reference || { echo "generated files are out of date: commit what 'make generate' wrote"; exit 1; }
	@$$($(BIN)/python -m cluster which helm) lint --strict --quiet charts/slipway
	@$(MAKE) --no-print-directory docs

# write FILE,COMMAND: the file is what the command prints. A file that is as it should be is not touched: tests and image builds may be
# reading it.
define write
@$(2) > .local/generated
@cmp -s .local/generated $(1) || mv .local/generated $(1)
endef

generate: setup ## Write the CRD, the reference pages and the generated protobuf code
	@protos/generate
	$(call write,crds/models.slipway.dev.yaml,$(BIN)/python -m slipway_operator crd)
	$(call write,charts/slipway/files/models.slipway.dev.yaml,cat crds/models.slipway.dev.yaml)
	$(call write,docs/reference/model.md,$(BIN)/python -m slipway_operator reference)
	$(call write,docs/reference/cli.md,$(BIN)/python -m slipway_cli.commands.reference)
	$(call write,docs/reference/server-flags.md,$(BIN)/python -m slipway_server --help=markdown)
	$(call write,docs/reference/chart-values.md,PYTHONPATH=docs $(BIN)/python -m reference_pages chart-values)
	$(call write,docs/reference/metrics.md,PYTHONPATH=docs $(BIN)/python -m reference_pages metrics)
	$(call write,docs/reference/reasons.md,PYTHONPATH=docs $(BIN)/python -m reference_pages reasons)
	@rm -f .local/generated

images: setup ## Build the images and load them into the local cluster
	@$(BIN)/python -m cluster images

cluster-up: setup ## Start the local cluster; kubeconfig in .local/kubeconfig
	@$(BIN)/python -m cluster up

cluster-down: setup ## Stop it and leave nothing behind
	@$(BIN)/python -m cluster down

bench-server: setup ## Measure the model server beside its floor and its peers; needs a quiet machine
	@PYTHONPATH=benchmarks:tests/support $(BIN)/python -m server_bench

bench-sync: setup ## Measure a sync beside s5cmd and KServe's storage initializer; needs a quiet machine
	@PYTHONPATH=benchmarks:tests/support:e2e $(BIN)/python -m sync_bench

bench-polling: setup ## Measure what polling 1 000 Models costs
	@PYTHONPATH=benchmarks:tests/support:e2e $(BIN)/python -m polling --models 1000 --interval 30 --rounds 3

# The same commit gives the same bytes: every file in them has the time of the commit. Those of the native front depend on the
# compiler and its home as well. --sdist --wheel: the wheel is made from the folder and not from the sdist, which has
# nothing that was compiled.
dist: setup ## Build the Python packages (wheels and sdists) into dist/, and check them
	@rm -rf $(DIST)
	@for package in sync operator server cli; do \
	  SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || date +%s) $(UV) build --quiet --sdist --wheel --no-build-isolation --python $(BIN)/python --out-dir $(DIST) $$package; \
	done
	@rm -f $(DIST)/.gitignore
	@$(BIN)/twine check --strict $(DIST)/*

release: setup ## Make the files of a release from its tag, in dist/: TAG=v0.1.0, IMAGES=1 for archives of the images
	@$(BIN)/python -m release --tag='$(TAG)' --out=$(DIST) $(if $(IMAGES),--images)

docs: setup ## Build the guide as a site into .local/site; every warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict > .local/docs.log 2>&1 || { cat .local/docs.log; exit 1; }

lock: $(UV) ## Write requirements/*.lock and server/native/crates.lock anew (UPGRADE=1 takes newer versions)
	@PATH="$$PWD/.local/uv/bin:$$PATH" requirements/compile
	@server/native/build lock

clean: ## Remove what the targets above have built in this folder
	@rm -rf .venv dist .local/setup.stamp .local/uv .local/native .local/native-asan $(NATIVE)
