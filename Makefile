# The verbs of this repository. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DISTRIBUTIONS := . services/inference services/topic-bridge services/opcua-bridge services/forwarder services/exporter services/deployer fleet bench
ARGS ?=
# Tests start thousands of our processes, and none of them shall compile our code anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup bench up test faults check fix lock benchmark benchmark-inference benchmark-grpc-v2 benchmark-opcua benchmark-spool benchmark-exporter benchmark-containers benchmark-greengrass benchmark-agent benchmark-hostile benchmark-footprint benchmark-fleet benchmark-models benchmark-gate benchmark-pixels benchmark-cameras benchmark-capacity benchmark-history clean

help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 22

setup: $(VENV)/.ready .venv-triton/.ready ## make both environments

bench: setup ## run parts over the simulated line and report (ARGS="--parts 60 --rate 10")
	$(BIN)/lineside bench $(ARGS)

up: setup ## keep the simulated line running until Ctrl-C (ARGS="--state state.json")
	$(BIN)/lineside up $(ARGS)

# Lanes: tests mostly wait, so three of them keep two cores busy. The tests of a file stay in one, in their order.
LANES ?= 3
test: setup ## run all tests, in lanes (ARGS="-k bridge"; LANES=0: one after the other, as for ARGS=--update)
	$(BIN)/pytest -n $(LANES) --no-loadscope-reorder $(ARGS)

faults: setup ## kill, fill, cut and damage for hours what `test` does for minutes (ARGS="-k spool")
	TESTS_FAULTS=long $(BIN)/pytest --timeout 14400 tests/faults tests/integration/spool/test_damage.py \
	  tests/integration/forwarder/test_forwarder_process.py tests/integration/inference/test_agent_fuzz.py \
	  tests/e2e/test_edge_manager_seed.py tests/docker/test_deployed_failures.py $(ARGS)

check: $(VENV)/.ready ## lint, types, who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	services/inference/page-tools/check

fix: $(VENV)/.ready ## mend what the linter can mend, and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	services/inference/page-tools/check --write

benchmark: setup ## measure the line against one hand-written script (ARGS="--quick --json out.json")
	$(BIN)/python benchmarks/line.py $(ARGS)

benchmark-inference: setup .venv-mlserver/.ready ## measure the inference service against its alternatives
	$(BIN)/python benchmarks/inference.py $(ARGS)

benchmark-grpc-v2: setup ## measure the Open Inference Protocol over gRPC against Triton's own port
	$(BIN)/python benchmarks/grpc_v2.py $(ARGS)

benchmark-opcua: $(VENV)/.ready bench/node_opcua/node_modules ## measure the OPC UA bridge against asyncua and node-opcua
	$(BIN)/python benchmarks/opcua.py $(ARGS)

benchmark-spool: $(VENV)/.ready ## measure the spool against bare SQLite at the same durability
	$(BIN)/python benchmarks/spool.py $(ARGS)

benchmark-exporter: $(VENV)/.ready ## measure a scrape of the box against asking each service when it comes
	$(BIN)/python benchmarks/exporter.py $(ARGS)

benchmark-containers: $(VENV)/.ready ## measure the containers: size, memory, time to the first verdict
	$(BIN)/python benchmarks/containers.py $(ARGS)

benchmark-greengrass: setup ## measure the line over Greengrass IPC against mosquitto, and deployments of its recipes
	$(BIN)/python benchmarks/greengrass.py $(ARGS)

benchmark-agent: setup ## measure Edge Manager's agent against tritonclient straight to Triton
	$(BIN)/python benchmarks/agent.py $(ARGS)

benchmark-hostile: setup ## attack the line and measure what the PLC saw, and the inference service's memory
	$(BIN)/python benchmarks/hostile.py $(ARGS)

benchmark-models: setup ## measure a signed package to a served model against Triton's own load
	$(BIN)/python benchmarks/models.py $(ARGS)

benchmark-footprint: $(VENV)/.ready ## measure each service's import time and its memory at rest
	$(BIN)/python benchmarks/footprint.py $(ARGS)

benchmark-fleet: $(VENV)/.ready ## measure a rollout over 1,000 simulated core devices: processor time, calls of AWS
	$(BIN)/python benchmarks/fleet.py $(ARGS)

benchmark-gate: $(VENV)/.ready ## measure how often the gate between stages is wrong, over simulated rollouts
	$(BIN)/python benchmarks/gate.py $(ARGS)

benchmark-capacity: setup ## measure the line at 1.5, 2 and 4 times its capacity: late, missing, judged (ARGS="--seconds 30 --capacity 40")
	$(BIN)/python benchmarks/capacity.py $(ARGS)

benchmark-pixels: $(VENV)/.ready ## measure raw buffers of cameras to pixels against numpy and OpenCV by hand
	$(BIN)/python benchmarks/pixels.py $(ARGS)

benchmark-cameras: $(VENV)/.ready ## measure a 5 megapixel GigE camera to the model's input against Aravis and OpenCV by hand
	$(BIN)/python benchmarks/cameras.py $(ARGS)

benchmark-history: $(VENV)/.ready ## measure the history of 10 million parts against JSON lines by DuckDB (ARGS="--parts 200000")
	$(BIN)/python benchmarks/history.py $(ARGS)

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-annotate
OURS := --no-emit-package lineside
lock: $(VENV)/.ready ## resolve the requirements again (ARGS="--upgrade")
	$(COMPILE) $(OURS) $(ARGS) pyproject.toml services/*/pyproject.toml fleet/pyproject.toml bench/pyproject.toml requirements/dev.in --all-extras \
		-o requirements/dev.txt
	for service in inference topic-bridge opcua-bridge forwarder exporter; do \
		$(COMPILE) $(OURS) $(ARGS) services/$$service/pyproject.toml --extra greengrass -c requirements/dev.txt \
			-o requirements/$$service.txt || exit 1; done
	$(COMPILE) $(OURS) $(ARGS) services/deployer/pyproject.toml services/inference/pyproject.toml --extra greengrass \
		-c requirements/dev.txt -o requirements/deployer.txt
	$(COMPILE) $(OURS) $(ARGS) bench/pyproject.toml --extra greengrass -c requirements/dev.txt -o requirements/bench.txt
	$(COMPILE) $(OURS) $(ARGS) pyproject.toml services/*/pyproject.toml --extra cli -c requirements/dev.txt \
		-o requirements/tools.txt
	for tool in build s3-sim; do \
		$(COMPILE) $(ARGS) requirements/$$tool.in -c requirements/dev.txt -o requirements/$$tool.txt || exit 1; done
	$(COMPILE) $(ARGS) --no-deps requirements/triton.in -o requirements/triton.txt
	$(COMPILE) $(ARGS) requirements/mlserver.in -o requirements/mlserver.txt
	$(COMPILE) $(ARGS) requirements/stream-manager.in -o requirements/stream-manager.txt
	$(COMPILE) $(ARGS) requirements/plc.in -o requirements/plc.txt
	$(COMPILE) $(ARGS) requirements/stores.in -o requirements/stores.txt

bench/node_opcua/node_modules: bench/node_opcua/package-lock.json
	cd bench/node_opcua && npm ci --no-audit --no-fund
	@touch $@

clean: ## remove the environments and what tools left behind
	rm -rf $(VENV) .venv-triton .venv-mlserver .venv-plc .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# A lock is whole, so pip resolves nothing (a package with an extra, of which the lock has the name alone, stops older ones).
$(VENV)/.ready: requirements/dev.txt pyproject.toml $(wildcard services/*/pyproject.toml) fleet/pyproject.toml bench/pyproject.toml
	@$(PYTHON) requirements/check_python.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		$(addprefix -e ,$(DISTRIBUTIONS))
	@$(BIN)/python -m pip check --disable-pip-version-check >$(VENV)/.check || { cat $(VENV)/.check; exit 1; }
	@touch $@

.venv-triton/.ready: requirements/triton.txt
	@$(PYTHON) requirements/check_python.py
	$(PYTHON) -m venv .venv-triton
	.venv-triton/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/triton.txt
	@touch $@

.venv-mlserver/.ready: requirements/mlserver.txt
	$(PYTHON) -m venv .venv-mlserver
	.venv-mlserver/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/mlserver.txt
	@touch $@
