# Two commands do everything on a fresh machine: make demo, make test.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# Many tests wait: on two cores three processes end sooner than two. 0: one process, no other.
WORKERS ?= 3
# Trust whom the machine trusts, as pip does: behind a proxy that inspects TLS uv's own list knows nobody.
export UV_SYSTEM_CERTS ?= 1

.PHONY: help demo up cluster cluster-down test test-faults test-cluster bench-git bench-proxy lint types generate lock clean

help:
	@echo "make demo   buy an agent, talk to it, change it and cancel it, on this machine"
	@echo "make up     the same system, kept running until Ctrl-C"
	@echo "make cluster      production's charts on a cluster of your own (docker, k3d, kubectl, helm); make cluster-down"
	@echo "make test   every test, against real Postgres, Valkey, Git and Helm"
	@echo "make test-faults  kills, cuts, full disks and wrong clocks, at full size (FAULTS_SCALE=0.1: a tenth)"
	@echo "make test-cluster  against a real Argo CD, in the cluster that KUBECONFIG names: every box there is deleted"
	@echo "make bench-git  what a commit and a push cost, to 50 000 boxes (ARGS=\"--boxes 100,1000 --json FILE\")"
	@echo "make bench-proxy  what a call and a chunk cost the token proxy, beside others (ARGS=\"--quick --json FILE\")"
	@echo "make lint types   ruff, import contracts; mypy --strict"
	@echo "make generate     the charts' schemas and the plan table, from the Python models"
	@echo "make lock         renew requirements.lock"

# The lock is the stamp: a new lock fills the environment anew.
.venv/filled: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "missing: Python >= 3.11, please install python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "missing: Python >= 3.11, $(PYTHON) is older"; exit 1; }
	@command -v git >/dev/null || { echo "missing: git, please install git"; exit 1; }
	@git version | $(PYTHON) -c 'import re, sys; sys.exit(tuple(map(int, re.findall(r"\d+", sys.stdin.read())[:2])) < (2, 34))' || { echo "missing: Git >= 2.34, $$(git version) is older"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "missing: Python's venv, please install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.txt
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement .venv/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch .venv/filled

demo: .venv/filled
	@$(BIN)/openclaw-cloud demo $(ARGS)

up: .venv/filled
	@$(BIN)/openclaw-cloud up $(ARGS)

cluster: .venv/filled
	@$(BIN)/python -m controller.devcluster up

cluster-down: .venv/filled
	@$(BIN)/python -m controller.devcluster down

test: .venv/filled
	$(BIN)/pytest -n $(WORKERS) $(ARGS)

test-faults: .venv/filled
	FAULTS=full $(BIN)/pytest tests/faults $(ARGS)

test-cluster: .venv/filled
	CLUSTER_TESTS=1 $(BIN)/pytest tests/cluster $(ARGS)

bench-git: .venv/filled
	@$(BIN)/python -m tests.bench.git $(ARGS)

bench-proxy: .venv/filled
	@$(BIN)/python -m tests.bench.proxy $(ARGS)

lint: .venv/filled
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/filled
	$(BIN)/mypy

generate: .venv/filled
	$(BIN)/python -m controller.gitops.chart
	$(BIN)/python -m controller.gitops.platform_chart

lock: .venv/filled
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --quiet --upgrade --output-file requirements.lock

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
