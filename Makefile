# `make` lists what there is. CARGO_TARGET_DIR is kept when it is set.
.DEFAULT_GOAL := help
SHELL := /bin/bash

FLIGHTS := examples/flights
# Histories that `make sim` plays, and the one that `make sim-one` plays.
SEEDS ?= 2000
SEED ?= 1
# Cargo profile of the demo: dev builds in minutes, release runs faster and builds longer.
PROFILE ?= dev
# Events that `make bench` generates for each case.
EVENTS ?= 4000000
# Cargo profile that `make bench-aws` measures; lambda is what is deployed, and builds longest.
BENCH_PROFILE ?= release

TIDEMILL := cargo run --quiet --locked --profile $(PROFILE) -p tidemill --
INPUTS := --input flights=$(FLIGHTS)/flights.jsonl.zst --input weather=$(FLIGHTS)/weather.jsonl.zst

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: tidemill ## A year of real flights: prints each window as it closes
	$(TIDEMILL) run $(FLIGHTS)/pipeline.toml $(INPUTS) --until-end --show 5

demo-kill: tidemill ## The same year, killed ten times on the way: the results stay the same
	$(FLIGHTS)/kill-ten-times $(TIDEMILL)

clean-demo: ## Remove the results that runs of the examples left
	rm -rf examples/*/output

test: fmt-check lint ## Everything: format, lints, all tests; a warning is an error
	@if cargo nextest --version >/dev/null 2>&1; then set -ex; \
	  cargo test --workspace --doc --locked --quiet; \
	  cargo nextest run --workspace --locked; \
	else \
	  echo "cargo-nextest is not installed: using cargo test"; set -ex; \
	  cargo test --workspace --locked; \
	fi

check: test sim ## What a release must pass: all tests and SEEDS random histories

fmt: ## Format the code
	cargo fmt --all

fmt-check: rust ## Fail where the code is not formatted
	cargo fmt --all --check

lint: rust ## Clippy; a warning is an error
	cargo clippy --workspace --all-targets --locked -- -D warnings

sim: rust ## SEEDS random histories over a faulty store; a failure prints its seed
	SEEDS=$(SEEDS) cargo test --locked -p simulation -- --nocapture

sim-one: rust ## One history, step by step: make sim-one SEED=3599
	SEED=$(SEED) cargo test --locked -p simulation -- --nocapture

bench: rust ## Speed, memory and bytes, against parsing alone: make bench EVENTS=4000000
	cargo build --release --locked -p tidemill -p bench
	cargo run --quiet --release --locked -p bench -- --events $(EVENTS)

bench-aws: rust ## Cost of a deployed pipeline, CPU and start of its functions, on DynamoDB Local
	cargo build --profile $(BENCH_PROFILE) --locked \
	  -p bench-aws -p tidemill-kinesis -p tidemill-kafka -p tidemill-advance
	"$${CARGO_TARGET_DIR:-target}/$(BENCH_PROFILE)/bench-aws"

tidemill: rust
	cargo build --locked --profile $(PROFILE) -p tidemill

rust:
	@command -v cargo >/dev/null || { echo "a Rust toolchain is needed: https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is needed (zstd): apt install build-essential, or xcode-select --install" >&2; exit 1; }

.PHONY: help demo demo-kill clean-demo test check fmt fmt-check lint sim sim-one bench bench-aws tidemill rust
