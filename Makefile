# The targets do everything themselves, on a bare Debian 12 too: each runs the set-up first, which costs nothing once done.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin

.PHONY: help setup lab test check unit test-netns test-vm deb test-deb clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## install what is missing: Debian packages (root or sudo), .venv
	@bash testbed/setup.sh

lab: setup ## handovers under plain PMIPv6 and Context Reflector, side by side, ping and iperf3 running
	@$(BIN)/python -m testbed.showcase

test: check ## all tests, the ones on real kernels included (10 to 20 minutes)
	@echo "The tests run side by side, three kinds at a time; what each kind has to say comes when it is done."
	@$(MAKE) --no-print-directory --keep-going --jobs=3 --output-sync=target test-vm test-netns-1 test-netns-2 unit

check: setup ## lint, format, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

unit: setup ## tests that need no particular kernel
	$(BIN)/python -m pytest --quiet

test-netns: setup ## tests of the data plane and the daemons, natively or in the virtual machine
	$(BIN)/python -m testbed.netns_tests --quiet

test-netns-%: setup
	$(BIN)/python -m testbed.netns_tests --quiet --part $*/2

test-vm: setup ## tests of the virtual machine itself
	$(BIN)/python -m pytest --quiet -m vm

deb: setup ## the Debian package, in build/
	@bash testbed/package/build.sh

test-deb: setup ## install the package in a machine of its own, with systemd, and hand over between the services (10 minutes)
	@$(BIN)/python -m testbed.package.trial

clean: ## remove what was made here: .venv, caches
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
