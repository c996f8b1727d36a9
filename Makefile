# `make demo` and `make test` set up everything that they need in .venv: several GB, mostly torch.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: demo test test-docs test-consumers test-ray lint types audit docs reference clean

demo: $(VENV)/.train
	rm -rf $(DEMO)
	$(BIN)/twl data sample $(DEMO)/shapes
	$(BIN)/twl data show $(DEMO)/shapes
	$(BIN)/twl train $(DEMO)/shapes --recipe shapes-small --out $(DEMO)/run
	$(BIN)/twl eval $(DEMO)/run
	$(BIN)/twl export $(DEMO)/run --out $(DEMO)/shapes.onnx
	$(BIN)/twl tag $(DEMO)/shapes/images --model $(DEMO)/shapes.onnx --threshold precision=0.7 --out $(DEMO)/tags.csv --gallery $(DEMO)/gallery.html
	@echo
	@echo "What to expect: in two minutes so small a network learns red, blue and yellow, and mostly circles,"
	@echo "squares and stars. Triangles, textures, relations and the rare green stay hard; the table of"
	@echo "labels above says so. --threshold precision=0.7 gives a label where seven in ten of its tags are"
	@echo "right, and those hard ones seldom or never. Without it, they would be on most images."
	@echo
	@echo "The images:    $(DEMO)/shapes/images"
	@echo "Their tags:    $(DEMO)/tags.csv, and to look at: $(DEMO)/gallery.html"
	@echo "The run:       $(DEMO)/run (recipe, metrics, report.html, weights)"
	@echo "The model:     $(DEMO)/shapes.onnx"
	@echo
	@echo "To use twl in this shell:  . $(BIN)/activate"

test: $(VENV)/.test lint types
	$(BIN)/pytest -n auto --maxprocesses 4 --max-worker-restart 0 --dist loadfile

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.test
	$(BIN)/mypy

# The commands of the README and of the pages, as they are typed.
test-docs: $(VENV)/.test
	$(BIN)/pytest tests/test_docs.py -m docs

# What other programs make of exported models: OpenVINO and transformers, added to the environment.
# Models of OpenVINO that end in another order than they began leave a stack for signals that is gone.
# They come after the pages' commands, whose environment they add to.
$(VENV)/.consumers: | $(filter test-docs,$(MAKECMDGOALS))
test-consumers: $(VENV)/.consumers
	$(BIN)/pytest tests/exporting tests/model/foreign -m consumers

# What needs Ray and Daft, in a venv of its own: 0.9 GB.
test-ray: $(VENV)-ray/.ray
	$(VENV)-ray/bin/pytest tests/cluster

# Known vulnerabilities of what is installed. What the index does not know is named, not an error.
audit: $(VENV)/.test
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)-audit/bin/pip-audit --path $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

# The site in site/: strict, with every link and anchor checked, and nothing loaded from elsewhere.
docs: $(VENV)-docs/.docs
	$(VENV)-docs/bin/zensical build --clean --strict
	! grep -rEn '<(script|img|link rel="stylesheet")[^>]* (src|href)="(https?:)?//' site --include=*.html

# The pages that are generated from the code.
reference: $(VENV)/.test
	$(BIN)/python -m tools.reference

$(VENV)/.train: pyproject.toml
	@echo "Installing twl and what training needs into $(VENV): several GB, mostly torch"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[train]'
	touch $@

$(VENV)/.test: $(VENV)/.train
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[train,test]'
	touch $@

$(VENV)/.consumers: $(VENV)/.test
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[train,test,consumers]'
	touch $@

$(VENV)-ray/.ray: pyproject.toml
	$(PYTHON) -m venv $(VENV)-ray
	$(VENV)-ray/bin/pip install --quiet --disable-pip-version-check -e '.[ray,parquet]' daft pandas pytest
	$(VENV)-ray/bin/pip install --quiet --disable-pip-version-check s3fs 'moto[server]'
	touch $@

$(VENV)-docs/.docs: pyproject.toml
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-docs $(VENV)-ray $(VENV)-audit $(DEMO) build dist site .cache
