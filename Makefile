# One environment for everything: .venv, made from the pins in requirements-dev.txt.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.made-from-pins
TORCH := .venv/.has-torch
TRACKIO := .venv/trackio/.made-from-pins
# A worker per processor. Each begins with a part of its own, in order, so that what a module's tests share is made once.
PARALLEL := -n logical --maxprocesses 8 --dist worksteal

.PHONY: run env torch trackio test check bench bench-long bench-jobs test-sandbox bench-sandbox pins
run: env
	$(BIN)/python app.py

env: $(STAMP)
$(STAMP): requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "Python's venv module is missing; on Debian: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# Only for the tests of the embedded model, and for those who want one. By pip, which finds a build for the CPU where one is offered.
# Where there is none for this Python, those tests are left out.
torch: $(TORCH)
$(TORCH): $(STAMP) requirements-torch.txt
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-torch.txt; then touch $@; \
		else echo "PyTorch cannot be had for this Python: the tests of the embedded model are left out."; fi

# The real experiment tracker that jobs log to, for its tests, in an environment of its own.
trackio: $(TRACKIO)
$(TRACKIO): $(STAMP) requirements-trackio.txt
	$(PYTHON) -m venv .venv/trackio
	.venv/trackio/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-trackio.txt
	@touch $@

test: env torch trackio check
	$(BIN)/python -m tests.browser
	$(BIN)/python -m pytest $(PARALLEL) --durations=10

check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: env
	$(BIN)/python -m bench

bench-long: env
	$(BIN)/python -m bench.long

# All attacks, all honest snippets, 100,000 frames. `make test` runs a part of them.
test-sandbox: env
	ML_INTERN_SANDBOX=whole $(BIN)/python -m pytest tests/sandbox

bench-sandbox: env
	$(BIN)/python -m bench.sandbox

# The watchdog and the forecast on real small trainings; needs torch.
bench-jobs: env
	$(BIN)/python -m bench.jobs

# Compile the pins anew from pyproject.toml. requirements.txt is what a Space installs beside its own gradio.
pins: env
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header \
		--no-emit-package gradio --no-emit-package gradio-client pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header \
		--group dev pyproject.toml -o requirements-dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header \
		--group trackio -o requirements-trackio.txt
