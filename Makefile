# uv brings everything else. Where it is missing it is installed into .uv/, from the package index.
UV := $(or $(shell command -v uv),.uv/bin/uv)
RUN := $(UV) run --quiet --frozen

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: $(UV)  ## generate the default project and run its notebook, in Docker where an engine answers
	@$(RUN) tools/demo

# Two files at a time, by name, which has the slow ones early.
test: $(UV)  ## run all tests but the nightly ones; what the machine lacks is skipped, with the reason
	$(RUN) pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder $(or $(ARGS),-m "not nightly and not nvidia")

lint: $(UV)  ## check the template's own files and a generated project
	$(RUN) pytest tests/template/test_lint.py

lock: $(UV)  ## renew the lock of the tools and the four locks of generated projects
	$(UV) lock --upgrade && $(RUN) tools/lock

bench: $(UV)  ## measure beside two baselines, on a Docker engine (10 minutes); ROUNDS=3
	$(RUN) --with websocket-client python benchmarks/bench.py

.uv/bin/uv:
	python3 -m venv .uv && .uv/bin/pip install --quiet uv

.PHONY: help demo test lint lock bench
