# `make` lists what there is. CARGO_TARGET_DIR is kept when it is set.
.DEFAULT_GOAL := help
SHELL := /bin/bash

FLIGHTS := examples/flights
# Histories that `make sim` plays, from the first on or from FROM, and the one that `make sim-one` plays.
SEEDS ?= 2000
SEED ?= 1
# From this many histories on, building them optimized takes less time than they do.
SIM_PROFILE ?= $(shell [ "$(SEEDS)" -ge 10000 ] && echo release || echo dev)
# How long each test of `make chaos` makes trouble, and how often one run is killed there. SEED decides
# when.
MINUTES ?= 3
KILLS ?= 200
# Which target `make fuzz` runs, for how long, and with which of nightly's sanitizers: `address`
# sees more, and builds and runs slower.
TARGET ?= sql
SECONDS ?= 60
SANITIZER ?= none
FUZZ := tests/fuzz/cargo-fuzz
# A folder with a pipeline.toml, and what its functions are built for: arm64 or x86_64.
PIPELINE ?= examples/ad-campaigns
ARCH ?= arm64
# One set of features for everything that compiles the AWS SDK, so that it is compiled once.
FEATURES := tidemill/aws,tidemill-advance/kafka,tidemill-lambda/virtual-time
# Cargo profile of the demo: dev builds in minutes, release runs faster and builds longer.
PROFILE ?= dev
# Events that `make bench` generates for each case.
EVENTS ?= 4000000
# Cargo profile that `make bench-aws` measures; lambda is what is deployed, and builds longest.
BENCH_PROFILE ?= release

# Random queries that `make differential` compares, and those that `make test` does.
QUERIES ?= 20000
TEST_QUERIES := 2000

TIDEMILL := cargo run --quiet --locked --profile $(PROFILE) -p tidemill --
DIFFERENTIAL = "$$(localstack/environment differential)/bin/python" tests/differential/main.py \
  --program "$${CARGO_TARGET_DIR:-target}/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/tidemill"
INPUTS := --input flights=$(FLIGHTS)/flights.jsonl.zst --input weather=$(FLIGHTS)/weather.jsonl.zst

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: tidemill ## A year of real flights: prints each window as it closes
	$(TIDEMILL) run $(FLIGHTS)/pipeline.toml $(INPUTS) --until-end --show 5

demo-kill: tidemill ## The same year, killed ten times on the way: the results stay the same
	$(FLIGHTS)/kill-ten-times $(TIDEMILL)

examples: rust ## Run all examples with expected results, and compare
	cargo test --locked --profile $(PROFILE) -p tidemill --test cli examples:: -- --nocapture

clean-demo: ## Remove the results that runs of the examples left
	rm -rf examples/*/output

test: emulators fmt-check lint ## Everything: format, lints, all tests; a warning is an error
	@if cargo nextest --version >/dev/null 2>&1; then set -ex; \
	  cargo test --workspace --features $(FEATURES) --doc --locked --quiet; \
	  cargo nextest run --workspace --features $(FEATURES) --locked; \
	else \
	  echo "cargo-nextest is not installed: using cargo test"; set -ex; \
	  cargo test --workspace --features $(FEATURES) --locked; \
	fi
	$(MAKE) --no-print-directory differential-plant
	$(MAKE) --no-print-directory differential QUERIES=$(TEST_QUERIES)

check: test sim ## What a release must pass: all tests and SEEDS random histories

fmt: ## Format the code
	cargo fmt --all

fmt-check: rust ## Fail where the code is not formatted
	cargo fmt --all --check

lint: rust ## Clippy; a warning is an error
	cargo clippy --workspace --all-targets --features $(FEATURES) --locked -- -D warnings

lint-infra: ## The template: cfn-lint, sam validate, and that it protects data
	@env=$$(localstack/environment infra)/bin; template=infra/template.yaml; \
	export AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0; set -ex; \
	$$env/cfn-lint $$template; \
	$$env/sam validate --template $$template; \
	$$env/sam validate --template $$template --lint; \
	$$env/python infra/check_template.py; \
	$$env/python infra/check_template_test.py

deny: rust ## The dependencies: their licences, where they come from, none that is banned
	@set -ex; $$(localstack/environment cargo-deny)/bin/cargo-deny --locked check \
	  --hide-inclusion-graph licenses bans sources

advisories: rust ## Known vulnerabilities of the dependencies; fetches their list from github.com
	$$(localstack/environment cargo-deny)/bin/cargo-deny --locked check advisories

sim: rust ## SEEDS random histories over a faulty store; a failure prints its seed
	SEEDS=$(SEEDS) cargo test --locked --profile $(SIM_PROFILE) -p simulation -- --nocapture

sim-one: rust ## One history, step by step: make sim-one SEED=3599
	SEED=$(SEED) cargo test --locked -p simulation -- --nocapture

differential: differential-built ## QUERIES random queries, compared with DuckDB: make differential QUERIES=20000 SEED=7
	$(DIFFERENTIAL) --queries $(QUERIES) --seed $(SEED)

differential-plant: differential-built
	$(DIFFERENTIAL) --plant --queries 100 --seed $(SEED)

# The development build is that of all tests, so that nothing is compiled twice.
differential-built: rust
	cargo build --locked --profile $(PROFILE) $(if $(filter dev,$(PROFILE)),--workspace --bins --features $(FEATURES),-p tidemill)

chaos: emulators binaries ## Real processes, killed, cut off, out of disk, for MINUTES each; KILLS of one run
	MINUTES=$(MINUTES) KILLS=$(KILLS) SEED=$(SEED) cargo test --workspace --features $(FEATURES) --locked \
	  --test end_to_end --test cli -- chaos:: disk_full:: killed_at_random --nocapture --test-threads 1

model: rust ## Every state of the protocol's model, counted: exactly once, whatever happens
	cargo run --quiet --locked -p model

fuzz: fuzz-tools ## Fuzz an entry point, guided by coverage: make fuzz TARGET=sql SECONDS=600
	@test -f $(FUZZ)/fuzz_targets/$(TARGET).rs || { \
	  echo "no target is called $(TARGET); there are:" $$(ls $(FUZZ)/fuzz_targets | sed 's/\.rs$$//') >&2; exit 1; }
	@mkdir -p $(FUZZ)/corpus/$(TARGET)
	cargo +nightly fuzz run --fuzz-dir $(FUZZ) --sanitizer $(SANITIZER) $(TARGET) \
	  $(FUZZ)/corpus/$(TARGET) tests/fuzz/seeds/$(TARGET) -- -max_total_time=$(SECONDS) \
	  -max_len=16384 -timeout=20 -rss_limit_mb=2048 \
	  $$(test -f tests/fuzz/dictionaries/$(TARGET).dict && echo "-dict=tests/fuzz/dictionaries/$(TARGET).dict")

bench: rust ## Speed, memory and bytes, against parsing alone: make bench EVENTS=4000000
	cargo build --release --locked -p tidemill -p bench
	cargo run --quiet --release --locked -p bench -- --events $(EVENTS)

bench-aws: rust ## Cost of a deployed pipeline, CPU and start of its functions, on DynamoDB Local
	cargo build --profile $(BENCH_PROFILE) --locked \
	  -p bench-aws -p tidemill-kinesis -p tidemill-kafka -p tidemill-advance
	"$${CARGO_TARGET_DIR:-target}/$(BENCH_PROFILE)/bench-aws"

build-lambda: rust ## Packages for AWS in target/lambda: make build-lambda PIPELINE=folder ARCH=x86_64
	infra/build-lambda $(PIPELINE) $(ARCH)

deploy: ## To AWS: make deploy PIPELINE=folder STACK=name PARAMETERS="CreateStream=true"
	PIPELINE=$(PIPELINE) ARCH=$(ARCH) infra/deploy $(PARAMETERS)

local-up: ## A local AWS on port 4566: with Docker, or as plain processes
	localstack/local-aws up

local-down: ## End it, with all that it holds
	localstack/local-aws down

local-demo: binaries ## Deploy the ad campaigns there, feed them, show results arrive
	localstack/local-aws demo

test-localstack: binaries ## The same as a test, on a local AWS of its own
	localstack/local-aws test

binaries: rust
	cargo build --workspace --features $(FEATURES) --bins --locked

tidemill: rust
	cargo build --locked --profile $(PROFILE) -p tidemill

emulators:
	@localstack/install >/dev/null

fuzz-tools: rust
	@cargo +nightly --version >/dev/null 2>&1 || { echo "make fuzz needs a nightly toolchain: rustup toolchain install nightly --profile minimal" >&2; exit 1; }
	@cargo +nightly fuzz --version >/dev/null 2>&1 || { echo "make fuzz needs cargo-fuzz: cargo install cargo-fuzz --locked" >&2; exit 1; }

rust:
	@command -v cargo >/dev/null || { echo "a Rust toolchain is needed: https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is needed (zstd): apt install build-essential, or xcode-select --install" >&2; exit 1; }

.PHONY: help demo demo-kill examples clean-demo test check fmt fmt-check lint lint-infra deny advisories sim \
  sim-one differential differential-plant differential-built chaos model fuzz fuzz-tools bench \
  bench-aws build-lambda deploy local-up local-down local-demo test-localstack binaries tidemill emulators rust
