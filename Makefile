# Two commands do all set-up: `make serve` and `make test`.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
# A machine whose driver answers gets the CUDA set; everything else the CPU set.
LOCK ?= requirements/$(shell nvidia-smi >/dev/null 2>&1 && echo cuda || echo cpu).lock
SERVE ?=
TEST ?=
export OMP_WAIT_POLICY := passive

.PHONY: serve test lint format bench bench-compare bench-docs gpu gpu-check weights client demo programs clean

serve: $(VENV)/.warm client_web/dist/index.html avatars/demo.avatar
	$(PY) run_server.py serve $(SERVE)

test: $(VENV)/.dev $(VENV)/.warm $(VENV)/.voice client_web/dist/index.html avatars/demo.avatar programs
	cd client_web && npm test --silent
	$(PY) -m pytest $(TEST)

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(VENV)/.warm avatars/demo.avatar
	$(PY) run_server.py bench

# Fails where a stage takes over a fifth longer, beside the frozen reference, than in bench/baseline.json.
bench-compare: $(VENV)/.warm avatars/demo.avatar
	$(PY) -m bench.compare

# Measures everything docs/benchmarks.md says of a frame and writes it there, with its plot; on a quiet machine.
bench-docs: $(VENV)/.warm avatars/demo.avatar
	$(PY) -m bench.docs

# gsplat's package is sources: compile its kernels now (minutes, once) instead of at the first start with a GPU.
gpu: $(VENV)/.packages
	$(PY) -m avatar.render.gpu

gpu-check: $(VENV)/.warm avatars/demo.avatar
	$(PY) run_server.py bench --device cuda

$(VENV)/.packages: $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Talkshot needs Python 3.11; set PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q "$$(grep '^torch==' $(LOCK))" -c $(LOCK)
	$(PY) -m pip install -q --no-deps -r $(LOCK)
	touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.packages
	$(PY) -m pip install -q --no-deps -r requirements/dev.lock
	touch $@

$(VENV)/.weights: models/manifest.toml $(VENV)/.packages
	$(PY) run_server.py weights --fetch
	touch $@

# Kokoro's voice is an option for serving; its tests need it.
$(VENV)/.voice: models/manifest.toml $(VENV)/.weights
	$(PY) run_server.py weights --fetch voice
	touch $@

# Numba kernels are compiled once, here, and cached beside their sources.
$(VENV)/.warm: $(VENV)/.weights $(wildcard avatar/*.py avatar/render/*.py models/skinning.py)
	$(PY) run_server.py doctor --warm
	touch $@

client_web/dist/index.html: $(VENV)/.packages client_web/package-lock.json client_web/index.html $(wildcard client_web/src/* client_web/public/*)
	scripts/build_client

# The demo person: the public-domain astronaut portrait that scikit-image carries. Whatever a build uses makes it anew.
BUILDER := $(wildcard avatar/*.py avatar/build/*.py avatar/build/*.npy avatar/build/arms/*.py avatar/render/*.py) \
	$(wildcard models/*.py models/manifest.toml models/open_human/*.npz)
avatars/demo.avatar: $(BUILDER) | $(VENV)/.warm
	$(PY) run_server.py demo -o $@

weights: $(VENV)/.weights
client: client_web/dist/index.html
demo: avatars/demo.avatar

programs:
	@scripts/install_test_programs

clean:
	rm -rf $(VENV) .cache client_web/node_modules client_web/dist avatars/demo.avatar
