# Everything a user or a developer does, as one word each.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
INTIMA_DATA ?= intima-data
INTIMA_PORT ?= 8000
WORKERS ?= 2
SITE := services/api/static/index.html
# make serve VIEWER= does without, where no npm registry is reached.
VIEWER ?= $(SITE)
PACKAGES := web/node_modules/.package-lock.json
# Node is a wheel in .venv; none on the machine is asked for.
IN_WEB := cd web && PATH="$(abspath $(BIN)):$$PATH"
export INTIMA_DATA INTIMA_PORT

.PHONY: run serve setup web web-types web-check test check lint format proto stub-drift proto-lint proto-baseline faults bench audit compose-test default-model clean help

help: ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1	/' | expand -t 22

run: $(STAMP) $(VIEWER) ## start the stack, benchmark nine synthetic arteries, segment one, print the verdict, keep serving
	$(BIN)/python -m services.demo

serve: $(STAMP) $(VIEWER) ## start api, viewer, stats and the local runner on INTIMA_PORT (8000) with INTIMA_DATA (intima-data)
	$(BIN)/python -m services.local

setup: $(STAMP) $(VIEWER) ## create .venv with everything, and build the viewer

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else f"Intima needs Python 3.11; {sys.executable} is {v[0]}.{v[1]}. Give another: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing (about 2 GB with torch; a few minutes) ..."
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[dev]'
	@touch $@

web: $(SITE) ## build the viewer from web/ into services/api/static

$(PACKAGES): web/package.json web/package-lock.json web/.npmrc | $(STAMP)
	$(IN_WEB) npm ci
	@touch $@

$(SITE): $(PACKAGES) $(shell find web -name node_modules -prune -o -type f -print) $(shell find web/src web/public -type d)
	$(IN_WEB) npm run build
	@touch $@

web-types: $(STAMP) $(PACKAGES) ## generate the viewer's types from the OpenAPI documents
	$(BIN)/python deploy/generate_web_types.py

web-check: $(STAMP) $(PACKAGES) ## lint, types and unit tests of the viewer; fail when its generated types differ from the services
	$(IN_WEB) npm run check
	$(BIN)/python deploy/generate_web_types.py --check

test: $(STAMP) $(VIEWER) ## run the tests in two processes; make test WORKERS=0 runs them in one
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not faults' -n $(WORKERS) --dist loadfile

lint: $(STAMP) ## format, ruff, mypy, import contract, stub drift, protobuf lint, the viewer
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) stub-drift
	$(MAKE) proto-lint
	$(MAKE) web-check

check: lint test ## what CI runs

format: $(STAMP) $(PACKAGES) ## format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(IN_WEB) npm run format

proto: $(STAMP) ## generate the gRPC stubs from proto/
	$(BIN)/python deploy/generate_stubs.py

stub-drift: $(STAMP) ## fail when the committed stubs differ from proto/
	$(BIN)/python deploy/generate_stubs.py --check

proto-lint: $(STAMP) ## fail when proto/ breaks its style, or the clients of the last release
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against proto/baseline.txtpb

proto-baseline: $(STAMP) ## at a release: keep what proto/ says as what later versions may not break
	$(BIN)/buf build proto --exclude-source-info -o proto/baseline.txtpb

faults: $(STAMP) ## slow proofs: kill storms, crash points
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m faults tests/faults

bench: $(STAMP) ## goals of speed and memory, an hour; make bench NAME="samplers" runs another, NAME=list lists them
	$(BIN)/python -m bench $(or $(NAME),performance)

audit: $(STAMP) ## known vulnerabilities of what is installed; fails too where a package could not be looked up
	$(BIN)/python deploy/audit.py

compose-test: $(STAMP) ## the compose stack built, used and killed part by part; needs a Docker engine, or COMPOSE_RIG=script
	$(BIN)/python -m bench compose --rig '$(COMPOSE_RIG)'

default-model: $(STAMP) ## train and export the default model on synthetic arteries (about 15 minutes)
	$(BIN)/python -m services.trainer.default_model
	$(BIN)/python -m services.trainer.default_evidence

clean: ## remove the environment, the built viewer, caches and demo data
	rm -rf $(VENV) web/node_modules services/api/static build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis intima-data
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
