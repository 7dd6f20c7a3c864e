# make demo, make test, make lint, make bench: each makes .venv itself.

PYTHON ?= python3
BIN := .venv/bin
# One set of versions for everything, build requirements included.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := $(BIN)/python -m pip install --quiet
SOURCES := $(shell git ls-files csrc kernels python CMakeLists.txt pyproject.toml README.md LICENSE LICENSE-THIRD-PARTY 2>/dev/null)

.PHONY: help demo test lint format bench quality docs soak fuzz wheel sdist clean

help:
	@echo "make demo    train on the shipped jets, freeze, score a stream, write report.html"
	@echo "make test    every test"
	@echo "make lint    ruff, mypy on the installed wheel, clang-format"
	@echo "make format  let ruff and clang-format rewrite the sources"
	@echo "make bench   the benchmarks: checked first, then timed beside their peers"
	@echo "make quality the tables of detection and generation; goes on where it was stopped"
	@echo "make docs    build/site: the documents as a site, without a warning"
	@echo "make soak    ten minutes of a stream under load: memory must stay flat"
	@echo "make fuzz    libFuzzer over the reader of model files, for FUZZ_SECONDS (60); needs clang"
	@echo "make wheel   dist/*.whl; make sdist: dist/*.tar.gz"

.venv/made: constraints.txt
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11)' || \
	  { echo "vaelocity needs Python 3.11 or newer; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv .venv || \
	  { echo "no venv module: apt-get install python3-venv" >&2; exit 1; }
	# torch alone and first: asked for by another package, pip would take a build with CUDA.
	$(PIP) torch
	@touch $@

# The package with what each target needs beside it; a changed source installs it again.
.venv/demo .venv/test .venv/lint .venv/bench .venv/docs: .venv/made $(SOURCES)
	$(PIP) '.[$(notdir $@)]'
	@touch $@

demo: .venv/demo
	$(BIN)/vaelocity demo --output-dir demo

test: .venv/test
	$(BIN)/python -m pytest

lint: .venv/lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	cd tests && ../$(BIN)/mypy -p vaelocity
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.cpp' '*.h' '*.hpp')

format: .venv/lint
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $$(git ls-files '*.cpp' '*.h' '*.hpp')

bench: .venv/bench
	$(BIN)/python bench/bench_score.py
	$(BIN)/python bench/bench_ops.py
	$(BIN)/python bench/bench_fit.py
	$(BIN)/python bench/bench_histogram.py
	$(BIN)/python bench/bench_stream.py
	$(BIN)/python bench/tables.py

quality: .venv/bench .venv/demo
	$(BIN)/python bench/quality/tabular.py
	$(BIN)/python bench/quality/images.py

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

soak: .venv/bench
	$(BIN)/python bench/soak.py

# Starts from small models that are made anew and goes on from what build/corpus holds.
FUZZ_SECONDS ?= 60
FUZZ_CXX ?= $(firstword $(foreach v,22 21 20 19 18 17 16 15 14,$(shell command -v clang++-$(v))) clang++)
fuzz: .venv/test
	$(BIN)/python tests/cpp/fuzz/corpus.py build/corpus
	$(BIN)/cmake -S . -B build/fuzz -DCMAKE_CXX_COMPILER=$(FUZZ_CXX) \
	  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DVAELOCITY_FUZZ=ON -DVAELOCITY_BUILD_TESTS=ON \
	  -DVAELOCITY_BUILD_SHARED=OFF -DVAELOCITY_SANITIZE=address,undefined \
	  -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python
	$(BIN)/cmake --build build/fuzz --target fuzz_bundle
	build/fuzz/tests/cpp/fuzz_bundle -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=10 \
	  -rss_limit_mb=4096 -artifact_prefix=build/fuzz/ build/corpus

wheel: .venv/made
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

sdist: .venv/made
	$(PIP) build
	$(BIN)/python -m build --sdist --outdir dist .

clean:
	rm -rf .venv build dist demo
