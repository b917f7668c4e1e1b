# What the Makefile of every example has: run its README from top to bottom.
EXAMPLE := $(notdir $(CURDIR))
ROOT := $(abspath $(CURDIR)/../..)
export PYTHONPATH := $(ROOT)/examples

.DEFAULT_GOAL := run
.PHONY: run

run:
	@$(MAKE) --no-print-directory -C $(ROOT) setup
	@$(ROOT)/.venv/bin/python -m run_readme README.md

# On a cluster: the local one, or that of KUBECONFIG and IMAGE_PREFIX, as for `make demo`.
.PHONY: cluster
cluster:
	@$(MAKE) --no-print-directory -C $(ROOT) setup
	@PYTHONPATH=$(ROOT)/e2e:$(ROOT)/examples $(ROOT)/.venv/bin/python -m demo.tutorial $(EXAMPLE)
