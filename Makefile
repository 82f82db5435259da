# Everything a developer or CI runs. `make help` lists it. Downloads and compiled tools stay outside the checkout, in
# $LOCKGATE_CACHE (default ~/.cache/lockgate), by version.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
# A stamp for each content of the lock file: installing again happens when it changes, not when git touches it.
VENV := .venv/.lock-$(shell cat requirements/dev.txt pyproject.toml | sha256sum | cut -c1-16)
ARGS ?=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '  %-20s %s\n' \
	  "ARGS='-k gate'" "narrows the tests" \
	  LOCKGATE_TEST_POSTGRES= "system or embedded: only this machine's PostgreSQL, or only the newest" \
	  LOCKGATE_KUBECONFIG= "an existing cluster to use; LOCKGATE_REGISTRY= is where it pulls images from" \
	  LOCKGATE_KUBERNETES= "1.37.1 (default) or 1.36.4" \
	  LOCKGATE_NODE= "0 (default) to 99: several clusters side by side" \
	  LOCKGATE_CACHE= "downloads, compiled tools, images (default ~/.cache/lockgate)"

.PHONY: venv
venv: $(VENV) ## Python tools and libraries, as requirements/dev.txt pins them

$(VENV):
	@source cluster/packages.sh
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is needed (PYTHON=/path/to/python3.12 make ...)"
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || provide python3-venv
	[[ -x $(BIN)/python ]] || $(PYTHON) -m venv .venv
	with_progress "Python libraries (about a minute)" "$$CACHE/log/pip" $(BIN)/pip install --require-hashes -r requirements/dev.txt
	with_progress "lockgate itself" "$$CACHE/log/pip" $(BIN)/pip install --no-deps --no-build-isolation -e .
	rm -f .venv/.lock-*
	touch $@

.PHONY: lock
lock: ## write the lock files in requirements/ anew, with the newest versions allowed
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet uv
	lock=(build/lock/bin/uv pip compile --quiet --upgrade --no-header --generate-hashes --universal --python-version 3.11)
	"$${lock[@]}" --extra operator --extra psycopg --group dev pyproject.toml -o requirements/dev.txt
	"$${lock[@]}" --extra operator --extra psycopg -c requirements/dev.txt pyproject.toml -o requirements/operator.txt
	echo 'hatchling>=1.27' | "$${lock[@]}" -c requirements/dev.txt -o requirements/build.txt -

.PHONY: check
check: $(VENV) ## lint, formats, types, import contracts, shell scripts, the chart
	@[[ -z $${CI:-} ]] || cluster/tools.sh clients
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	find . \( -name .venv -o -name .git -o -path ./build \) -prune -o -type f \( -name '*.sh' -o -path ./.ci/run \) -print0 |
	  xargs -0 $(BIN)/shellcheck --external-sources --source-path=SCRIPTDIR/..
	for helm in build/tools/helm3 build/tools/helm4; do
	  if [[ -x $$helm ]]; then $$helm lint --strict --quiet charts/*/ examples/shop/chart examples/helm-hook; else echo "skipped: helm lint ($$helm is missing: make tools)"; fi
	done
	echo "check: all good"

.PHONY: test
test: $(VENV) shells database-servers cluster-if-possible ## every test, with all set-up
	@$(BIN)/pytest $(ARGS)

.PHONY: test-unit
test-unit: $(VENV) shells ## the tests that need neither database nor cluster: seconds
	@$(BIN)/pytest tests/unit $(ARGS)

.PHONY: test-database
test-database: $(VENV) database-servers ## the tests on real databases
	@$(BIN)/pytest tests/database $(ARGS)

.PHONY: test-containers
test-containers: $(VENV) ## the tests of Docker Compose, with Docker or podman
	@$(BIN)/pytest tests/containers $(ARGS)

.PHONY: test-cluster
test-cluster: $(VENV) cluster ## the tests on a real Kubernetes
	@$(BIN)/pytest tests/cluster $(ARGS)

.PHONY: bench
bench: $(VENV) postgres-server ## the figures of docs/benchmarks.md
	@$(BIN)/python bench/run.py $(ARGS)

.PHONY: tools
tools: ## kubectl, Helm 3 and Helm 4, compiled once, in build/tools
	@cluster/tools.sh clients

.PHONY: images
images: ## the operator's image; loaded into the cluster if one is up
	@cluster/images.sh operator
	[[ ! -f build/cluster/env ]] || cluster/images.sh load localhost/lockgate:dev

.PHONY: cluster
cluster: ## a real Kubernetes: build/cluster/kubeconfig
	@cluster/cluster.sh up

.PHONY: cluster-down
cluster-down: ## stop it; nothing of it stays on the machine but the cache
	@cluster/cluster.sh down

.PHONY: demo
demo: ## all set-up, then Lockgate at work on a real cluster
	@demo/run.sh

.PHONY: demo-down
demo-down: ## remove what the demo made
	@demo/down.sh

.PHONY: clean
clean: cluster-down ## remove what was built in this checkout (the cache stays)
	@rm -rf build dist .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# What the tests can do without, except in CI: they skip what needs it and say so. Exit code 3 of our scripts means that
# this machine lacks something (anything else is a failure), and they have then said what.
UNLESS_LACKING = ((code == 0)) || { ((code == 3)) && [[ -z $${CI:-} ]]; }

.PHONY: postgres-server
postgres-server:
	@missing=(); code=0; PATH=$$PATH:/usr/sbin
	[[ -n $${LOCKGATE_TEST_POSTGRES_URL:-} ]] || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
	command -v pgbouncer >/dev/null || missing+=(pgbouncer)
	(($${#missing[@]})) || exit 0
	(source cluster/packages.sh; provide "$${missing[@]}") || code=$$?
	$(UNLESS_LACKING)

.PHONY: database-servers
database-servers: postgres-server
	@code=0
	(source cluster/packages.sh; need mariadbd:mariadb-server) || code=$$?
	$(UNLESS_LACKING)

.PHONY: shells
shells:
	@missing=(); code=0
	for shell in bash zsh fish; do command -v $$shell >/dev/null || missing+=($$shell); done
	(($${#missing[@]})) || exit 0
	(source cluster/packages.sh; provide "$${missing[@]}") || code=$$?
	$(UNLESS_LACKING)

.PHONY: cluster-if-possible
cluster-if-possible:
	@code=0; cluster/cluster.sh up || code=$$?
	$(UNLESS_LACKING)
