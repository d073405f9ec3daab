# make demo: the main job on real text.   make test: lint, types and all tests.   make quick: lint and the quick tests.
PYTHON ?= python3
JOBS ?= 2  # processes that run tests
ROWS ?=  # of the table of speeds; all by default
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE ?= 1
export TORCH_INDEX

.PHONY: demo test quick slow lint types check pages docs bench signals pretrain torture clean

$(VENV)/installed: pyproject.toml constraints.txt tools/install.sh
	@sh tools/install.sh $(PYTHON) $(VENV)
	@touch $@

$(VENV)/developed: $(VENV)/installed
	@$(BIN)/python -m pip --disable-pip-version-check install -qq --constraint constraints.txt --editable ".[train,dev,track]"
	@touch $@

demo: $(VENV)/installed  ## documents in, a better retriever out, on the documentation of your Python packages
	@$(BIN)/pretrieve demo

test: lint types check  ## everything CI runs

lint: $(VENV)/developed
	@$(BIN)/ruff check src tests benchmarks examples tools
	@$(BIN)/ruff format --check src tests benchmarks examples tools

types: $(VENV)/developed
	@$(BIN)/mypy

check: $(VENV)/developed
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

quick: lint  ## for daily work, in three minutes: all but the tests of tests/slow.txt
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow"

slow: $(VENV)/developed  ## run all tests, and write down which are slow
	@$(BIN)/python -m pytest --write-slow

pages: $(VENV)/developed  ## what tests of pages need, so that `make test` runs them; the browser is the system's: apt-get install chromium
	@$(BIN)/python -m pip --disable-pip-version-check install -qq --constraint constraints.txt --editable ".[train,dev,track,mcp,pages]"
	@command -v chromium >/dev/null || echo "Chromium is missing, and tests of pages are skipped: apt-get install chromium"

$(VENV)/documented: $(VENV)/developed tools/docs-constraints.txt
	@$(BIN)/python -m pip --disable-pip-version-check install -qq --constraint constraints.txt \
		--constraint tools/docs-constraints.txt --editable ".[train,dev,track,docs]"
	@touch $@

docs: $(VENV)/documented  ## the documentation site, in build/site/html; warnings are errors
	@$(BIN)/python tools/site_pages.py build/site/pages
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "build/site/html/index.html"

$(VENV)/benched: $(VENV)/developed
	@$(BIN)/python -m pip --disable-pip-version-check install -qq --constraint constraints.txt --editable ".[train,dev,track,bench]"
	@touch $@

bench: $(VENV)/benched  ## speed, side by side with what a user would pick instead; make bench ROWS="training cache"
	@$(BIN)/python benchmarks/speed.py -o records/speed $(if $(ROWS),--only $(ROWS))

signals: $(VENV)/developed  ## does every method learn what it asks for? make signals DATA=documents.jsonl
	@$(BIN)/python benchmarks/pretraining_signals.py $(DATA) -o records/pretraining-signals

pretrain: $(VENV)/developed  ## a small BERT from nothing and what four methods add: make pretrain DATA=folder
	@$(BIN)/python benchmarks/gpu_pretrain.py $(DATA) -o records/gpu-pretrain

torture: $(VENV)/developed  ## property tests look for examples that nobody has tried, five times over
	@for round in 1 2 3 4 5; do \
		HYPOTHESIS_PROFILE=new $(BIN)/python -m pytest $$(grep -rl '^@given' tests) || exit 1; done

clean:
	rm -rf $(VENV) demo
