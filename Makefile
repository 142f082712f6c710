# make run    the main job: a router with two isolate hosts and the example workers
# make test   every test of the workspace
# make lint   format and lint checks
# make bench  cold starts of the FastAPI example beside a uvicorn process
#
# All of them first bring what a fresh machine may lack, at pinned hashes, into
# target/tools: CMake, which pingora's zlib-ng is built with, and for the tests etcd,
# from Debian's package. Pyodide and Python packages are brought by the programs
# themselves. Where CMake and etcd are present, plain cargo does the same:
# `cargo run --release`, `cargo test --workspace`.

SHELL := /bin/sh
PYTHON ?= python3
TOOLS := $(CURDIR)/target/tools
CONFIG ?= config/dev.toml
RUNS ?= 300

SYSTEM_CMAKE := $(shell command -v cmake 2>/dev/null)
ifeq ($(SYSTEM_CMAKE),)
CMAKE_STAMP := $(TOOLS)/cmake/.installed
export PATH := $(TOOLS)/cmake/cmake/data/bin:$(PATH)
endif

ifeq ($(shell command -v etcd 2>/dev/null),)
ETCD_STAMP := $(TOOLS)/etcd/.installed
endif

.PHONY: run test lint format tools bench clean

run: tools
	cargo run --release --locked -- --config $(CONFIG)

test: tools $(ETCD_STAMP)
	cargo test --workspace --locked

lint: tools
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

format:
	cargo fmt --all

tools: $(CMAKE_STAMP)

$(TOOLS)/cmake/.installed: .ci/tools.lock
	@echo "CMake is not installed: bringing it into target/tools"
	@rm -rf $(TOOLS)/cmake && mkdir -p $(TOOLS)
	$(PYTHON) -m pip install --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
		--target $(TOOLS)/cmake --requirement .ci/tools.lock
	@touch $@

# Debian's package, unpacked and not installed; its version and hash are in the lock file.
$(TOOLS)/etcd/.installed: .ci/etcd.lock
	@echo "etcd is not installed: bringing it into target/tools"
	@rm -rf $(TOOLS)/etcd && mkdir -p $(TOOLS)/etcd
	cd $(TOOLS)/etcd && version=$$(sed -n 's/^# version: //p' $(CURDIR)/.ci/etcd.lock) && \
		{ apt-get download etcd-server=$$version || { apt-get update && apt-get download etcd-server=$$version; }; } && \
		sha256sum --check $(CURDIR)/.ci/etcd.lock && dpkg-deb --extract *.deb . && rm *.deb
	@touch $@

# The control of the benchmark: the same app and the same packages under uvicorn.
$(TOOLS)/native/.installed: examples/fastapi/native/requirements.txt
	@rm -rf $(TOOLS)/native && mkdir -p $(TOOLS)
	$(PYTHON) -m venv $(TOOLS)/native
	$(TOOLS)/native/bin/python -m pip install --disable-pip-version-check --quiet \
		--requirement examples/fastapi/native/requirements.txt
	@touch $@

bench: tools $(TOOLS)/native/.installed
	cargo build --release --locked --package router --package loadtest
	target/release/loadtest cold-start --worker examples/fastapi --runs $(RUNS) \
		--versus '$(TOOLS)/native/bin/python -m uvicorn --app-dir examples/fastapi/native --log-level warning --port {port} app:app'

clean:
	cargo clean
