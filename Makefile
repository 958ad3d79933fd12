## usage: make TARGET [NAME=value ...]
##
## The first target that needs it makes the environment (.venv); after that nothing has to be activated.
##

# What a user may set; `make help` prints the lines with two hashes.
PYTHON ?= python3
SCHEDULE ?= short
SEEDS ?= 0
ARGS ?=

SUPPORTED = 3.11 3.12 3.13
READY = .venv/ready
RUN = .venv/bin/python -m
PIP = $(RUN) pip install --quiet --quiet --no-input --disable-pip-version-check

.DEFAULT_GOAL = help
.DELETE_ON_ERROR:
.PHONY: help setup reproduce-figure1 report benchmark test lint soak

help: ## list the targets (this)
	@awk -F ':[^#]*## ' '/^## ?/ { sub(/^## ?/, ""); print } \
	    /^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## make .venv with the pinned requirements and the package; nothing when nothing changed

reproduce-figure1: $(READY) ## train the runs of Figure 1 that are missing, then draw it
	$(RUN) experiments.reproduce figure=figure1 schedule=$(SCHEDULE) 'seeds=[$(SEEDS)]' $(ARGS)

report: $(READY) ## draw Figure 1 again from the runs that are there, without training
	$(RUN) experiments.report figure=figure1 schedule=$(SCHEDULE) $(ARGS)

benchmark: $(READY) ## measure the training speed here, side by side with other ways
	$(RUN) experiments.benchmark $(ARGS)

test: $(READY) ## run the tests
	$(RUN) pytest $(ARGS)

lint: $(READY) ## check style and formatting
	$(RUN) ruff check $(ARGS)
	$(RUN) ruff format --check $(ARGS)

soak: $(READY) ## kill a run twenty times and compare it with one left in peace (ten minutes)
	.venv/bin/python tests/soak.py $(ARGS)

##
## settings
##   PYTHON=python3     interpreter for .venv (3.11, 3.12 or 3.13)
##   SCHEDULE=short     paper, medium, short or smoke
##   SEEDS=0            for reproduce-figure1: one seed, or several (0,1,2)
##   ARGS=              more for the command: Hydra overrides such as ARGS="data=synthetic", or pytest's options

# .venv/ready is written last and names the folder that the environment was made in. Without it (a set-up that was cut
# short), in another folder (a copied checkout), without its interpreter, or when PYTHON is given and is not the one it
# was made with, the environment is made anew.
identity = import sys; print("%s %s.%s" % ((sys.base_prefix,) + sys.version_info[:2]))
same_python = $(if $(filter file,$(origin PYTHON)),true,\
    [ "$$(.venv/bin/python -c '$(identity)')" = "$$("$(PYTHON)" -c '$(identity)' 2>&1)" ])
intact := $(shell [ -x .venv/bin/python ] && [ "$$(cat $(READY) 2>&1)" = "$$(pwd -P)" ] && $(same_python) && echo yes)

# Empty when PYTHON can make the environment; otherwise it stops make with one line, before anything is written.
version = $(shell "$(PYTHON)" -c 'import sys; print("%s.%s" % sys.version_info[:2])' 2>/dev/null)
has_venv = $(shell "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null && echo yes)
choose = choose another with make setup PYTHON=python3.12
check_python = $(if $(version),,$(error "$(PYTHON)" is no Python that runs here: install Python 3.11 to 3.13, or $(choose)))\
    $(if $(filter $(SUPPORTED),$(version)),,\
        $(error "$(PYTHON)" is Python $(version), but TensorFlow needs one of $(SUPPORTED): $(choose)))\
    $(if $(has_venv),,\
        $(error "$(PYTHON)" has no ensurepip: install python$(version)-venv with your package manager, or $(choose)))

ifneq ($(intact),yes)
.PHONY: $(READY)
endif
$(READY): requirements.txt pyproject.toml
ifneq ($(intact),yes)
	$(check_python)
	@echo "Set-up 1/3: .venv with Python $(version)"
	@rm -rf .venv
	@"$(PYTHON)" -m venv .venv
endif
	@rm -f $@
	@echo "Set-up 2/3: the pinned requirements (a few minutes; the first time 0.8 GB to download)"
	@$(PIP) --constraint requirements.txt setuptools wheel
	@$(PIP) --no-build-isolation --requirement requirements.txt
	@echo "Set-up 3/3: the package"
	@$(PIP) --no-build-isolation --no-deps --editable .
	@pwd -P > $@
