# make detect [SCAN=scan.nii.gz OUT=results]   find anomalies in a scan; in a made-up one when none is given
# make test                                    lint, type check, all tests
# make lint                                    the first two alone
# make benchmark [QUICK=1 JSON=file.json]      time every engine on this machine; figures and plot into docs/benchmarks
# make train DATA=folder OUT=runs/t1           train a generator on healthy scans
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
SCAN ?=
OUT ?= results
DATA ?=
QUICK ?=
CPU = $(or $(shell lscpu 2>/dev/null | sed -n 's/^Model name: *//p' | tr -cs '[:alnum:]\n' '-'),$(shell uname -m))
JSON ?= docs/benchmarks/$(shell date +%Y-%m-%d)-$(CPU)$(if $(QUICK),-quick).json

.PHONY: detect test lint benchmark train clean

detect: .venv/run.stamp
ifeq ($(SCAN),)
	$(BIN)/brain-inpaint-ad phantom --out $(OUT)/phantom --overwrite
	$(BIN)/brain-inpaint-ad detect $(OUT)/phantom/t1.nii.gz --out $(OUT) --overwrite
else
	$(BIN)/brain-inpaint-ad detect "$(SCAN)" --out "$(OUT)"
endif

test: lint
	$(BIN)/python -m pytest

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: .venv/run.stamp
	$(BIN)/brain-inpaint-ad benchmark $(if $(QUICK),--quick) --json "$(JSON)"

train: .venv/dev.stamp
	$(BIN)/brain-inpaint-ad train inpainting --data "$(DATA)" --out "$(OUT)"

# torch first and by its exact version: where a CPU build of it is at hand, pip then takes that one
.venv/run.stamp: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=…")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $$(grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[fast]'
	touch $@

.venv/dev.stamp: .venv/run.stamp
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[fast,dicom,train,evaluate,dev]'
	touch $@

clean:
	rm -rf .venv build dist
