# The two commands of the README are `make` and `make test`. Everything lives in .venv and build/.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: all setup release demo book test lint serve formgrader pictures clean

all: release book demo

setup: .venv/.ready

.venv/.ready: requirements.lock requirements-data.txt autograder/data/requirements.txt pyproject.toml scripts/setup.sh
	@bash scripts/setup.sh "$(PYTHON)"
	@touch $@

release: setup
	@$(BIN)/autograder release

book: setup
	@$(BIN)/python -m autograder.book

demo: setup
	@$(BIN)/autograder demo

test: setup lint
	@bash scripts/test.sh

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

serve: book
	@echo "The book is at http://127.0.0.1:8000 (Ctrl-C ends it)."
	@$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory build/_build/html

formgrader: setup
	@$(BIN)/autograder formgrader

pictures: setup
	@$(BIN)/python scripts/pictures.py

clean:
	rm -rf build
