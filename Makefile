# mimrun's commands. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test test-heavy check bench docs pictures lock packages venv clean

BIN := .venv/bin
CODE := mimrun connectors flows
# Tests that hold the documentation and the shape of the code; the rest is `make test`.
SHAPE := $(wildcard tests/architecture tests/docs)
export DO_NOT_TRACK := 1

help:  ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

demo:  ## set up, break a real PostgreSQL pair, fail it over through a gate (ARGS="service-restart" for another)
	@deploy/bin/install-packages demo
	@deploy/bin/make-venv demo
	@$(BIN)/mimrun demo $(ARGS)

test: setup  ## set up, and run the tests (ARGS="-k gate" for some of them)
	@$(BIN)/pytest -n 2 --dist worksteal $(ARGS)

test-heavy: setup  ## the tests that take long: a tenth of all kills and schedules (HEAVY_PERCENT=100 for all)
	@$(BIN)/pytest -m heavy -n 2 --dist worksteal $(ARGS) || { [ $$? = 5 ] && echo "no heavy test fits"; }

check: venv  ## lint, format, types, imports, shape and documentation
	@failed=0; run() { echo "-- $$*"; "$(BIN)/$$@" || failed=1; }; \
	run ruff check .; \
	run ruff format --check .; \
	run mypy $(CODE); \
	run lint-imports --no-logo; \
	run pytest -q $(SHAPE); \
	exit $$failed

bench: setup  ## measure; prints figures and asserts none
	@for each in bench/*.py; do echo "== $$each"; $(BIN)/python "$$each" $(ARGS) || exit 1; done

docs: venv  ## write the reference pages that come from the code
	@deploy/bin/write-docs

pictures: setup  ## have the browser tests play the story, and take its pictures into the documentation
	@$(BIN)/pytest -q tests/browser/test_story.py
	@$(BIN)/python deploy/docs/pictures.py

lock: venv  ## renew the hash-pinned requirement files
	@deploy/bin/lock-requirements

packages:  ## install the Debian packages that the demo and the tests use
	@deploy/bin/install-packages demo test

venv:  ## make .venv with everything for development
	@deploy/bin/make-venv dev

clean:  ## remove .venv and everything that the tools have made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: setup
setup:
	@deploy/bin/install-packages demo test
	@deploy/bin/make-venv dev
