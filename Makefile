# `make demo` and `make test` set up everything that they need in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: demo test lint types clean

demo: $(VENV)/.train
	rm -rf $(DEMO)
	$(BIN)/twl data sample $(DEMO)/shapes
	$(BIN)/twl data show $(DEMO)/shapes
	$(BIN)/twl train $(DEMO)/shapes --recipe shapes-small --out $(DEMO)/run
	$(BIN)/twl eval $(DEMO)/run
	$(BIN)/twl export $(DEMO)/run --out $(DEMO)/shapes.onnx
	$(BIN)/twl tag $(DEMO)/shapes/images --model $(DEMO)/shapes.onnx --out $(DEMO)/tags.csv
	@echo
	@echo "The pictures:  $(DEMO)/shapes/images"
	@echo "Their tags:    $(DEMO)/tags.csv"
	@echo "The run:       $(DEMO)/run (recipe, metrics, weights)"
	@echo "The model:     $(DEMO)/shapes.onnx"

test: $(VENV)/.test lint types
	$(BIN)/pytest

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.test
	$(BIN)/mypy

$(VENV)/.train: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[train]'
	touch $@

$(VENV)/.test: $(VENV)/.train
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[train,test]'
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) build dist
