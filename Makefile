# Everything here does its own set-up from a fresh checkout: .venv, the package, and what else a target needs.
# `make help` lists the targets; PYTHON=/path/to/python3 chooses another Python, ARGS="..." passes arguments on.

.DEFAULT_GOAL := help
.PHONY: help demo run test pure compiled native load-test gate fuzz bench bench-full lint style types layers dependencies peers clean
.NOTPARALLEL:

PYTHON ?=
ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-13s %s\n' "$$name" "$$text"; \
	done

demo: .venv/installed  ## play real calls through the gateway, and check each
	@$(BIN)/gateway demo $(ARGS)

run: .venv/installed  ## serve with the embedded default until Ctrl-C
	@$(BIN)/gateway run $(ARGS)

test: .venv/installed-test peers  ## run the whole test suite
	@$(BIN)/python -m pytest $(ARGS)

pure: .venv/installed-test  ## run all but the system tests in pure Python
	@GATEWAY_PURE=1 $(BIN)/python -m pytest -q --ignore=tests/e2e $(ARGS)

compiled:  ## compile the call logic anew, after a change of it
	@rm -f .venv/installed
	@$(MAKE) --no-print-directory .venv/installed

native: .venv/installed-test  ## format, lints and tests of the native core, and its stub, where cargo is at hand
	@if ! command -v cargo >/dev/null; then echo "no cargo: the native core is not checked"; else \
		cd gateway/native && cargo fmt --check && \
		cargo clippy --quiet --locked --all-targets --no-default-features -- -D warnings && \
		cargo test --quiet --locked --no-default-features && \
		cd ../.. && $(BIN)/stubtest --concise gateway._native; \
	fi

load-test:  ## format, lints and tests of the benchmarks' load generator, where cargo is at hand
	@if ! command -v cargo >/dev/null; then echo "no cargo: the load generator is not checked"; else \
		cd bench/load && cargo fmt --check && \
		cargo clippy --quiet --locked --all-targets -- -D warnings && cargo test --quiet --locked; \
	fi

gate: .venv/installed-test  ## fail when a call costs 10 % more than bench/baseline.json says
	@$(BIN)/python bench/gate.py $(ARGS)

bench: .venv/installed-test peers  ## measure the hot path, rules, and calls beside other servers (five minutes)
	@$(BIN)/python bench/hotpath.py
	@$(BIN)/python bench/rules.py
	@$(BIN)/python bench/compare.py --short

bench-full: .venv/installed-test peers  ## all that make bench measures, and more, with pictures (about an hour)
	@$(PIP) install --editable '.[test,bench]'
	@$(BIN)/python bench/hotpath.py
	@$(BIN)/python bench/rules.py
	@$(BIN)/python bench/pauses.py || true
	@$(BIN)/python bench/stalls.py || true
	@$(BIN)/python bench/compare.py --minutes 50 $(ARGS)

fuzz: .venv/installed-test  ## fuzz the native core for a minute, where cargo-fuzz is at hand
	@if ! cargo fuzz --version >/dev/null 2>&1; then echo "no cargo-fuzz: cargo install cargo-fuzz"; exit 1; fi
	@mkdir -p gateway/native/fuzz/corpus/scan
	@cp tests/corpus/*/*.dat tests/corpus/*/*.sip gateway/native/fuzz/corpus/scan/
	@# What cargo-fuzz asks of the compiler is unstable: this allows it in the one that is there.
	@cd gateway/native && RUSTC_BOOTSTRAP=1 cargo fuzz run scan -- -max_total_time=60 -max_len=4096 $(ARGS)
	@$(BIN)/python -m tests.fuzz.alike gateway/native/fuzz/corpus/scan

lint: style types layers dependencies  ## all checks that run nothing

style: .venv/installed-test  ## ruff
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: .venv/installed-test  ## mypy, strict
	@$(BIN)/mypy --no-error-summary

layers: .venv/installed-test  ## imports go one way
	@$(BIN)/lint-imports --no-logo

dependencies: .venv/installed-test  ## what is imported is declared, and the other way round
	@$(BIN)/deptry .

peers:  ## install SIPp and Kamailio for the system tests, where apt-get and root are at hand
	@tools/install-peers

clean:  ## remove .venv, caches, and what the gateway and the benchmarks wrote
	rm -rf gateway/native/target gateway/native/fuzz/target bench/load/target gateway/_native*.so
	rm -rf .venv var build dist *.egg-info .*_cache .hypothesis bench/.*_cache bench/results/*
	find . -name __pycache__ -prune -exec rm -rf {} +

# .venv is made once. When pyproject.toml or the native core has changed, the package is installed into it again.
.venv/bin/python:
	@set -- $(PYTHON); [ -n "$$1" ] || set -- $$(tools/choose-python); [ -n "$$1" ] && echo "making .venv with $$1" && \
		if [ -z "$$2" ]; then "$$1" -m venv --clear .venv; else \
			"$$1" -m venv --clear --without-pip .venv && "$$2" -m pip --quiet --python .venv/bin/python install pip; \
		fi

NATIVE := $(wildcard gateway/native/Cargo.* gateway/native/src/*.rs)

.venv/installed: .venv/bin/python pyproject.toml setup.py $(NATIVE)
	@echo "installing the gateway into .venv; where it can be compiled, that takes a few minutes"
	@$(PIP) install --editable .
	@touch $@

.venv/installed-test: .venv/bin/python pyproject.toml setup.py $(NATIVE)
	@echo "installing the gateway and its test tools into .venv; where it can be compiled, that takes a few minutes"
	@$(PIP) install --editable '.[test]'
	@touch .venv/installed $@
