# `make demo` runs the main job, `make test` the tests; each sets itself up in .venv on a machine with Python 3.11.
PYTHON ?= python3
BIN := .venv/bin
unexport PYTHONDONTWRITEBYTECODE   # the tests start many processes, each of which would compile the package again

demo: .venv/ready
	$(BIN)/alexnet demo demo

test: .venv/ready
	$(BIN)/ruff check src tests benchmarks course
	$(BIN)/ruff format --check src tests benchmarks course
	$(BIN)/lint-imports --no-cache --no-logo
	@$(MAKE) --no-print-directory -j 2 types laws

# Side by side, since mypy leaves a core idle. Four workers, since many tests wait for a process or a timeout.
types: .venv/ready
	$(BIN)/mypy
laws: .venv/ready
	$(BIN)/pytest -n 4 --dist worksteal

# Every fault of docs/reliability.md, as often as it says there: about an hour on two cores.
torture: .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[torture]'
	$(BIN)/pytest -n 2 --torture tests/faults tests/interop tests/ops/triton tests/test_benchmarks.py tests/test_habits.py

# The notebooks of the course, whole, with the seconds of each; the first time it trains the net of the demo too.
course: .venv/ready
	PYTHONPATH=course $(BIN)/python -m coursekit.whole

# The speed of one thread of this machine, by CPU time, for the tables of README.md and docs/performance.md.
speed: .venv/ready
	@test -n "$(NAME)" || { echo "make speed NAME=a-name-for-the-file [ROUNDS=3]; then make tables"; exit 2; }
	OMP_NUM_THREADS=1 $(BIN)/alexnet bench all --rounds $(or $(ROUNDS),3) --out results/cpu/$(NAME).jsonl

# Line art in 64 colours takes a third of the bytes; tests/test_words.py bounds those of docs/images.
define FEW_COLOURS
import sys
from PIL import Image
for path in sys.argv[1:]:
    Image.open(path).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
endef
export FEW_COLOURS

# The tables of claims in README.md and docs/paper.md, the findings and the ladder, from the records in results/, those of speed, of fine-tuning, of class weights, of small folders, of fits and of habits.
tables: .venv/ready
	$(BIN)/python benchmarks/claims_table.py results README.md docs/paper.md
	$(BIN)/python benchmarks/findings_table.py results docs/findings.md
	$(BIN)/python benchmarks/ladder_table.py results docs/since-2012.md
	$(BIN)/python benchmarks/cpu_table.py results/cpu README.md docs/performance.md
	$(BIN)/python benchmarks/gpu_table.py results/gpu README.md docs/performance.md
	$(BIN)/python benchmarks/habits_table.py docs/interop.md
	$(BIN)/python benchmarks/finetune_table.py results/finetune/imagenette-64.json docs/faq.md --figure docs/images/finetune.png
	$(BIN)/python benchmarks/class_weights_table.py results/class-weights/imagenette-64.json docs/faq.md
	$(BIN)/python benchmarks/small_folders_table.py results/small-folders docs/small-folders.md
	$(BIN)/python benchmarks/fit_table.py results/small-folders results/fit src/alexnet/fitting/known.json docs/start.md
	$(BIN)/alexnet figures results docs/images > /dev/null && rm -f docs/images/claims.svg docs/images/since-2012.svg
	$(BIN)/python -c "$$FEW_COLOURS" docs/images/claims.png docs/images/since-2012.png docs/images/finetune.png

# The documentation site, in site/. Look at it: make docs-serve
docs: .venv/ready
	$(BIN)/python benchmarks/docs_site.py site

docs-serve: docs
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory site $(or $(PORT),8000)

# What the studies still want, a process a core at lowest priority, until nothing is missing or a run fails.
JOBS ?= $(shell nproc)
queue: .venv/ready
	@test -n "$(STORE)" -a -n "$(OUT)" || { echo "make queue STORE=store OUT=studies [RECORDS=results] [JOBS=2]"; exit 2; }
	RUN="$(BIN)/alexnet study all $(STORE) $(OUT) --records $(or $(RECORDS),results) --workers 1 --missing"; \
	while $$RUN > $(OUT).missing && test -s $(OUT).missing; do \
	  sed 's,^alexnet,$(BIN)/alexnet,' $(OUT).missing | OMP_NUM_THREADS=1 xargs -P $(JOBS) -L 1 nice -n 19 || exit 1; \
	done; rm -f $(OUT).missing

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	$(BIN)/python -m compileall -q -j 0 -x '/tests?/' .venv/lib > /dev/null; true   # pip does it on one core
	touch $@

clean:
	rm -rf .venv demo site

# What the tests of the lab's page need: Debian's Chromium, and playwright, which drives it. Without them they are skipped.
browser: .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt playwright
	@test -n "$(ALEXNET_BROWSER)" || command -v chromium || (apt-get update -qq && apt-get install -y -qq chromium fonts-noto-cjk)

.PHONY: demo test types laws torture course speed tables docs docs-serve queue browser clean
