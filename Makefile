# Everything runs in .venv; `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
DEV := .venv/.installed-dev
# Oracles of the export; without what they ask for, as one pins an old NIR and the others bring torchvision.
SIMULATORS := norse==1.1.0 pbr==7.1.3 sinabs==3.1.3 spikingjelly==2.0.0

.PHONY: docs help demo test check settings bench bench-step bench-accuracy clean
help:
	@echo "make demo        learn a built-in scene of moving gestures, live in the terminal"
	@echo "make test        the tests"
	@echo "make check       ruff, mypy --strict on an installed copy, coverage, known vulnerabilities"
	@echo "make soak        the long tests: 200 kills, 10⁶ timesteps, faults of the disk; prints the figures"
	@echo "make fuzz        every reader with hostile input: guided by coverage where there is atheris, else by mutants"
	@echo "make docs        the documents as a site, in build/docs"
	@echo "make settings    the pages of docs/ that the classes and the commands say"
	@echo "make bench       decoding, binning and feed, against other libraries"
	@echo "make bench-step  the learning step, against other libraries"
	@echo "make screenshots pictures of the page for the docs"
	@echo "make bench-gpu   what a CUDA device gives (DATA=cifar10=FOLDER for the paper's first epochs)"
	@echo "make bench-accuracy  the replay's tables, at the scale of two cores"

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(DEV): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps $(SIMULATORS)
	@touch $@

demo: $(INSTALLED)
	$(BIN)/stream-ottt run --source 'synthetic:?presentations=120&classes=6&duration=500ms' --config demo

# The page is tested in Debian's Chromium; where it cannot be installed, those tests are left out.
.PHONY: chromium screenshots
chromium:
	@command -v chromium > /dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
		&& apt-get update > /dev/null && apt-get install -y --no-install-recommends chromium > /dev/null; } \
		|| echo "no chromium: the tests of the page in a browser are left out"

screenshots: $(DEV) chromium
	$(BIN)/python benchmarks/page_png.py docs

test: $(DEV) chromium
	$(BIN)/python -m pytest -n 2

# Type checkers resolve the mapped packages only in an installed copy.
check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/check
	$(BIN)/python -m pip install --quiet --no-deps --target build/check .
	cd build/check && ../../$(BIN)/mypy --config-file ../../pyproject.toml --python-executable ../../$(BIN)/python -p stream_ottt
	$(BIN)/python -m pytest --cov --cov-report=term
	@$(BIN)/python -c 'import numpy, sys; print("tested with NumPy", numpy.__version__, "on Python", sys.version.split()[0])'
	-$(BIN)/python -m pip install --quiet pip-audit && $(BIN)/python -m pip_audit --requirement constraints.txt --no-deps --disable-pip

.PHONY: soak fuzz
soak: $(DEV)
	SOAK=20 $(BIN)/python -m pytest -s tests/run/test_kill.py tests/run/test_checkpoint_faults.py tests/test_soak.py --timeout 3600

# Atheris has wheels for some Pythons only, and brings files of its own: it stays apart from the environment.
FUZZ_RUNS ?= 20000
fuzz: $(DEV)
	@if $(BIN)/python -m pip install --quiet --only-binary :all: --upgrade --target build/atheris atheris; then \
		echo "guided by coverage, by atheris: $(FUZZ_RUNS) runs of each reader"; \
		PYTHONPATH=tests:build/atheris $(BIN)/python -P -m fuzz.with_atheris --runs $(FUZZ_RUNS) $(TARGETS); \
	else \
		echo "no wheel of atheris for this Python: 1,000 mutants for each reader, by the tests' mutator"; \
		FUZZ=1000 $(BIN)/python -m pytest tests/fuzz/test_mutants.py --timeout 3600; \
	fi

settings: $(DEV)
	$(BIN)/python -m stream_ottt.cli.document

docs: $(DEV)
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d build/trees docs build/docs
	@echo "build/docs/index.html"

bench: $(DEV)
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/binning.py
	$(BIN)/python benchmarks/zmq_feed.py

bench-step: $(DEV)
	$(BIN)/python -m pip install --quiet --no-deps spikingjelly==2.0.0 loguru
	$(BIN)/python benchmarks/step.py

.PHONY: bench-gpu
bench-gpu: $(DEV)
	$(BIN)/python -m pip install --quiet --no-deps spikingjelly==2.0.0 loguru
	$(BIN)/python benchmarks/gpu.py $(if $(DATA),--data $(DATA))

bench-accuracy: $(DEV)
	$(BIN)/python benchmarks/accuracy.py --jobs 2

clean:
	rm -rf .venv build dist *.egg-info
