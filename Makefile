## usage: make TARGET [NAME=value ...]
##
## The first target that needs it makes the environment (.venv); after that nothing has to be activated.
##

# What a user may set; `make help` prints the lines with two hashes.
PYTHON ?= python3
SCHEDULE ?= short
SEEDS ?= 0
ARGS ?=
GPU ?= 0

SUPPORTED = 3.11 3.12 3.13
READY = .venv/ready
RUN = .venv/bin/python -m
# Whatever the user's own settings make pip do elsewhere (PIP_USER, PIP_TARGET, pip.conf).
PIP = env -u PIP_TARGET -u PIP_PREFIX -u PIP_ROOT $(RUN) pip install --no-user --quiet --quiet --no-input --disable-pip-version-check

.DEFAULT_GOAL = help
.DELETE_ON_ERROR:
.PHONY: help setup reproduce-figure1 reproduce-figure4 reproduce-figure6 reproduce-figure7 reproduce-why report models benchmark record test lint

help: ## list the targets (this)
	@awk -F ':[^#]*## ' '/^## ?/ { sub(/^## ?/, ""); print } \
	    /^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## make .venv with the pinned requirements and the package; nothing when nothing changed

# reproduce-figureN makes conf/figure/figureN.yaml: a target a figure, all with the same recipe.
REPRODUCE = $(RUN) experiments.reproduce figure=$(@:reproduce-%=%) schedule=$(SCHEDULE) 'seeds=[$(SEEDS)]' $(widths) $(ARGS)

reproduce-figure1: $(READY) ## train the runs of Figure 1 that are missing, then write the report
	$(REPRODUCE)

# A quarter of the paper's widths and 2,000 iterations, unless asked for others: with them the runs would take days.
reproduce-figure4: SCHEDULE := $(if $(filter file,$(origin SCHEDULE)),brief,$(SCHEDULE))
widths =
reproduce-figure4: widths = 'model.widths=[16,32,64,128]'
reproduce-figure4: $(READY) ## the same for Figure 4, on CIFAR-10; full width by ARGS='model.widths=[64,128,256,512]'
	$(REPRODUCE)

reproduce-figure6: $(READY) ## the same for Figure 6, plain and residual networks side by side
	$(REPRODUCE)

reproduce-figure7: $(READY) ## the same for Figure 7, the strength of the layers' responses
	$(REPRODUCE)

reproduce-why: $(READY) ## train the runs of docs/why.md that are missing in results/runs/why (about 6 hours), then write their report
	$(RUN) experiments.record only=why out=results/runs $(ARGS)

report: $(READY) ## figures, tables and verdict from the runs that are there, without training
	$(RUN) experiments.report schedule=$(SCHEDULE) $(ARGS)

models: $(READY) ## list every network: layers, parameters, multiply-adds
	$(RUN) experiments.models $(ARGS)

benchmark: $(READY) ## measure the training speed here, side by side with other ways
	$(RUN) experiments.benchmark $(ARGS)

record: $(READY) ## train the runs of results/recorded/ that are missing (days on two cores for all), then write their reports
	$(RUN) experiments.record $(ARGS)

test: $(READY) ## run the tests
	$(RUN) pytest -n 2 --dist loadfile $(ARGS)

lint: $(READY) ## check style and formatting
	$(RUN) ruff check $(ARGS)
	$(RUN) ruff format --check $(ARGS)

##
## settings
##   PYTHON=python3     interpreter for .venv (3.11, 3.12 or 3.13)
##   GPU=1              with TensorFlow's CUDA libraries as well, several GB (Linux, x86-64); ARGS=runtime=gpu uses them
##   SCHEDULE=short     for reproduce-figure… and report: paper, medium, short, brief or smoke; for reproduce-figure4 brief is the default
##   SEEDS=0            for reproduce-figure…: one seed, or several (0,1,2)
##   ARGS=              more for the command: Hydra overrides such as ARGS="data=synthetic", or pytest's options

# Here TensorFlow is the one backend that Keras has, whatever the user's keras.json says.
keras_on_tensorflow = import os; os.environ.setdefault('KERAS_BACKEND', 'tensorflow')

# An environment that has the CUDA libraries keeps them; GPU=1 adds them to one that has not.
has_cuda := $(wildcard .venv/lib/python*/site-packages/nvidia/cudnn)
add_cuda := $(if $(has_cuda),,$(filter 1,$(GPU)))
requirements := requirements.txt $(if $(has_cuda)$(add_cuda),requirements-gpu.txt)

# .venv/ready is written last and names the folder and the Python that the environment was made with. Without it, in
# another folder, or with another PYTHON than that one, if it is given, the environment is made anew.
version = $(shell "$(PYTHON)" -c 'import sys, ensurepip; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
made_for := $(shell cat $(READY) 2>/dev/null)
wanted := $(CURDIR) $(if $(filter file,$(origin PYTHON)),$(lastword $(made_for)),$(or $(version),none))
fresh := $(if $(made_for),$(filter-out $(made_for),$(wanted)),yes)

ifneq ($(fresh)$(add_cuda),)
.PHONY: $(READY)
endif
$(READY): $(requirements) pyproject.toml
ifneq ($(fresh),)
	$(if $(filter $(SUPPORTED),$(version)),,$(error "$(PYTHON)" is no Python $(SUPPORTED) with venv and ensurepip, which \
	    TensorFlow needs: choose another with make setup PYTHON=python3.12))
	@echo "Set-up 1/3: .venv with Python $(version)"
	@rm -rf .venv
	@"$(PYTHON)" -m venv .venv
endif
	@rm -f $@
	@echo "Set-up 2/3: the pinned requirements (a few minutes; the first time 0.8 GB to download$(if $(add_cuda),; CUDA: several more))"
	@$(PIP) --constraint requirements.txt setuptools wheel
	@$(PIP) --no-build-isolation $(requirements:%=--requirement %)
	@echo "Set-up 3/3: the package"
	@$(PIP) --no-build-isolation --no-deps --editable .
	@echo "$(keras_on_tensorflow)" > "$$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/keras_backend.pth"
	@echo "$(CURDIR) $$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" > $@
