# Decides whether to build, from timestamps. How to build is the business of tasks.py. Start with `make help`.

# $(file <NAME) came with 4.2.
ifneq ($(filter 3.% 4.0 4.0.% 4.1 4.1.%,$(MAKE_VERSION)),)
$(error GNU make 4.2 or newer is needed, this is $(MAKE_VERSION))
endif
MAKEFLAGS += --no-builtin-rules --no-builtin-variables --output-sync=target
.DEFAULT_GOAL := help

PRESETS          := realtime batch development custom gpu edge openvino
file.realtime    := checkpoints/stgcn_fight_realtime.onnx
file.batch       := checkpoints/stgcn_fight_batch.onnx
file.development := checkpoints/stgcn_fight_dev.onnx
file.custom      := checkpoints/my_custom_model.onnx
file.gpu         := checkpoints/stgcn_fight_gpu.onnx
file.edge        := checkpoints/stgcn_fight_edge.onnx
file.openvino    := checkpoints/stgcn_fight_openvino.onnx

# --- Variables -------------------------------------------------------------------------------------------------

OPTIONS  := CONFIG CHECKPOINT OUTPUT DEVICE OPSET BATCH_SIZE NUM_FRAMES DYNAMIC PRECISION RUNNER VERIFY BENCHMARK VERBOSE
OPTIONS  += MEMORY
SWITCHES := DYNAMIC VERIFY BENCHMARK VERBOSE
OTHERS   := VARIANT ENGINE BASE_IMAGE WHEELS PYTHON INVOKE TEST_ARGS LOCK_ARGS

# Options count where the command line gives them: a stray DEVICE or OUTPUT in the environment changes no artefact.
on_command_line = $(filter command,$(firstword $(origin $1)))
in_environment  = $(filter environment,$(firstword $(origin $1)))
given   := $(foreach v,$(OPTIONS),$(if $(call on_command_line,$v),$v))
goals   := $(or $(MAKECMDGOALS),help)
builds  := $(filter $(PRESETS) all %.onnx,$(goals))
chosen  := $(filter $(PRESETS),$(goals))

# A make that calls this one hands its own variables down; only what the user typed here is judged.
ifeq ($(MAKELEVEL),0)
unknown := $(filter-out $(OPTIONS) $(OTHERS) SHELL MAKE% -%,$(foreach v,$(.VARIABLES),$(if $(call on_command_line,$v),$v)))
$(if $(unknown),$(error $(firstword $(unknown)) is not a variable of this Makefile; there are: $(OPTIONS) $(OTHERS)))
endif
same = $(and $(findstring x$1x,x$2x),$(findstring x$2x,x$1x))
$(foreach v,$(given),$(if $(strip $($v)),,$(error $v= is empty; give it a value or leave it out)))
$(foreach v,$(given),$(if $(call same,$($v),$(strip $($v))),,$(error $v=$($v): make cannot keep several blanks in a row, \
  nor one at the end; use invoke convert)))
$(foreach v,$(filter $(SWITCHES),$(given)),$(if $(filter-out 0 1,$($v))$(word 2,$($v)),$(error $v=$($v) must be 0 or 1)))
$(if $(builds),$(foreach v,$(OPTIONS),$(if $(call in_environment,$v),\
  $(warning $v=$($v) in the environment is ignored; to use it, write: make $(goals) $v=$($v)))))

# Relative below this folder, as the converter writes it into the dependency file.
relative = $(patsubst $(CURDIR)/%,%,$(abspath $1))

ifneq ($(filter OUTPUT,$(given)),)
$(if $(filter-out 1,$(words $(goals)))$(filter-out $(PRESETS),$(goals)),\
  $(error OUTPUT=$(OUTPUT) names one file, so it needs exactly one target of: $(PRESETS); found: $(goals)))
$(if $(filter-out 1,$(words $(OUTPUT)))$(findstring :,$(OUTPUT))$(findstring %,$(OUTPUT))$(filter-out %.onnx,$(OUTPUT)),\
  $(error OUTPUT=$(OUTPUT) must end in .onnx and hold no blank, colon or per cent sign; invoke convert -o takes any path))
$(foreach p,$(filter-out $(chosen),$(PRESETS)),$(if $(filter $(file.$p),$(call relative,$(OUTPUT))),\
  $(error OUTPUT=$(OUTPUT) is the file of the preset $p; choose another)))
file.$(chosen) := $(call relative,$(OUTPUT))
endif

# --- Environment -----------------------------------------------------------------------------------------------

# What is installed stays; else the GPU variant where an NVIDIA driver answers (nvidia-smi alone on WSL).
installed := $(patsubst .venv/.stamp-%,%,$(firstword $(wildcard .venv/.stamp-cpu .venv/.stamp-gpu)))
detected   = $(if $(wildcard /proc/driver/nvidia/version),gpu,$(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu))
ifeq ($(origin VARIANT),undefined)
VARIANT := $(or $(installed),$(detected))
endif
$(if $(filter-out cpu gpu,$(VARIANT)),$(error VARIANT=$(VARIANT) must be cpu or gpu))

LOCKS  := requirements/$(VARIANT).lock requirements/openmmlab.lock
STAMP  := .venv/.stamp-$(VARIANT)
INVOKE := .venv/bin/invoke
# INVOKE=/path/to/invoke uses an environment of the user's own, which then needs no set-up here.
SETUP  := $(if $(call on_command_line,INVOKE),,$(STAMP))

quote = '$(subst ','\'',$1)'

$(STAMP): $(LOCKS)
	@PYTHON=$(call quote,$(PYTHON)) requirements/install.sh $(VARIANT)
	$(eval built += .venv)

.venv/.stamp-dev: requirements/dev.lock $(STAMP)
	@requirements/install.sh dev

# --- Artefacts -------------------------------------------------------------------------------------------------

FILES := $(foreach p,$(PRESETS),$(file.$p))
# Everything that can change an artefact, or its verdict; the doctor and the demo model's training cannot.
ASIDE := $(addprefix scripts/stgcn_onnx/,doctor.py probe.py training.py training_report.py demo.py evaluation.py evaluation_plot.py evaluation_report.py svg.py bench/%)
CODE  := scripts/convert.py $(filter-out $(ASIDE),$(wildcard scripts/stgcn_onnx/*.py scripts/stgcn_onnx/*/*.py))

option = $(if $(filter $1,$(given)),$2 $(call quote,$($1)))
switch = $(if $(filter $1,$(given)),$(if $(filter 1,$($1)),--$2,--no-$2))
# What decides over the artefact. RUNNER, MEMORY and VERBOSE do not, so they never cause a rebuild.
options := $(strip $(call option,CONFIG,--config) $(call option,CHECKPOINT,--checkpoint) $(call option,DEVICE,--device) \
  $(call option,OPSET,--opset) $(call option,BATCH_SIZE,--batch-size) $(call option,NUM_FRAMES,--num-frames) \
  $(call switch,DYNAMIC,dynamic) $(call option,PRECISION,--precision) \
  $(call switch,VERIFY,verify) $(call switch,BENCHMARK,benchmark))
manner  := $(strip $(call option,RUNNER,--runner) $(call option,MEMORY,--memory) $(if $(filter 1,$(if $(filter VERBOSE,$(given)),$(VERBOSE))),--verbose))

# Beside each file, in checkpoints/.build: the options it was built with, and what it was made from.
record  = checkpoints/.build/$(subst /,_,$(1:checkpoints/%=%)).options
depfile = checkpoints/.build/$(subst /,_,$(1:checkpoints/%=%)).d
wanted  = convert --preset $(preset.$1) $(options)
stale   = $(if $(call same,$(strip $(file <$(call record,$1))),$(strip $(call wanted,$1))),,FORCE)

$(foreach p,$(PRESETS),$(eval preset.$(file.$p) := $p))
$(foreach p,$(PRESETS),$(eval $p: $(file.$p)))
$(foreach p,$(PRESETS),$(eval $(file.$p): presets/$p.yaml $(call record,$(file.$p))))
# Without its dependency file a build did not end well, whatever the timestamps say.
$(foreach f,$(FILES),$(eval $f: $(if $(wildcard $(call depfile,$f)),,FORCE)))
$(foreach f,$(FILES),$(eval $(call record,$f): $(call stale,$f))$(eval target.$(call record,$f) := $f))

$(foreach f,$(FILES),$(call record,$f)):
	@mkdir -p $(@D)
	@printf '%s\n' $(call quote,$(call wanted,$(target.$@))) >$@

$(FILES): $(CODE) $(LOCKS) | $(SETUP)
	@rm -f $(call quote,$(call depfile,$@))
	$(INVOKE) $(strip $(call wanted,$@) $(manner)) --output $(call quote,$@) --depfile $(call quote,$(call depfile,$@))
	$(eval built += $@)

include $(wildcard checkpoints/.build/*.d)

# An interrupted make deletes the target it was at; here that would be the last good file.
.PRECIOUS: $(FILES)

# --- Targets ---------------------------------------------------------------------------------------------------

.PHONY: help setup all $(PRESETS) table test lint lock doctor image clean distclean FORCE
FORCE:

# `make -q` asks without a word.
quietly   := $(findstring q,$(firstword -$(MAKEFLAGS)))
up_to_date = $(if $(quietly)$(filter $1,$(built)),,@echo $(call quote,$1 is up to date))

$(PRESETS):
	$(call up_to_date,$(file.$@))

all: $(PRESETS)

setup: $(STAMP)
	$(call up_to_date,.venv)

table: | $(SETUP)
	$(INVOKE) benchmark --table

# The tests call make themselves: it must not take this one's options for its own.
test: .venv/.stamp-dev
	@env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL .venv/bin/python -m pytest $(TEST_ARGS)

lint: .venv/.stamp-dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

lock: .venv/.stamp-dev
	PATH="$$PWD/.venv/bin:$$PATH" requirements/compile.sh $(LOCK_ARGS)

# Also of use where nothing is installed, so it sets nothing up.
doctor:
	@$(if $(wildcard $(INVOKE)),$(INVOKE) doctor,$(or $(PYTHON),python3) scripts/doctor.py)

# The image of another variant than .venv's is built without touching .venv.
asked = $(if $(call on_command_line,$1),$2 $(call quote,$($1)))
image:
	@$(if $(wildcard $(INVOKE)),$(INVOKE) image,$(or $(PYTHON),python3) scripts/image.py) --variant $(VARIANT) \
	  $(call asked,ENGINE,--engine) $(call asked,BASE_IMAGE,--base-image) $(call asked,WHEELS,--wheels)

clean:
	rm -rf checkpoints/.build $(foreach p,$(PRESETS),$(wildcard $(basename $(file.$p)).*))

distclean: clean
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find scripts tests -name __pycache__ -prune -exec rm -rf {} +

define HELP
Turns an MMAction2 skeleton checkpoint into a verified ONNX file.

  make realtime      $(file.realtime): N=1, batch and frames dynamic (50 to 200)
  make batch         $(file.batch): N=8, static
  make development   $(file.development): N=1, static, the plain export, tightest tolerance
  make gpu           $(file.gpu): N=8, static, half precision
  make edge          $(file.edge): 8-bit, batch and frames dynamic (50 to 200)
  make openvino      $(file.openvino): N=1, static, arranged for OpenVINO
  make custom        $(file.custom): what presets/custom.yaml and the variables say
  make all           all of these
  make table         build and measure: PyTorch against ONNX, static, dynamic and in batches

  make setup         .venv with the locked packages (done by every target that needs it)
  make doctor        what is installed, what works, what is wrong and what to do
  make image         the container image of the locked packages, for RUNNER=podman or docker
  make test lint     the quick tests; the linters and the type checker
  make help          this text (the default)
  make lock          newer versions into requirements/*.lock
  make clean         remove the files above; distclean: .venv and caches too

Variables, for example make realtime OPSET=13 DEVICE=cuda:0:

  CONFIG CHECKPOINT  a model of your own: MMEngine config (.py) and weights (.pth)
  OUTPUT             another file (with one target)
  DEVICE             cpu or cuda:0
  OPSET              ONNX operator set
  BATCH_SIZE         clips per call
  NUM_FRAMES         frames per clip
  DYNAMIC            1: the batch size is free, 0: every axis is fixed
  PRECISION          fp32, fp16 or int8
  VERIFY             0: publish without comparing with PyTorch
  BENCHMARK          1: measure as well
  RUNNER             auto, local (this machine), podman or docker
  MEMORY             memory limit of the container, for example 4g
  VERBOSE            1: each stage with its time
  VARIANT            cpu or gpu packages (now $(VARIANT))
  ENGINE             podman or docker, for make image; BASE_IMAGE and WHEELS: see docker/Dockerfile
  PYTHON             the Python 3.11 to create .venv with
  INVOKE             an invoke of an environment of your own instead of .venv's
  TEST_ARGS          for pytest, for example TEST_ARGS='-m "slow or not slow"'
  LOCK_ARGS          for uv pip compile, for example LOCK_ARGS=--upgrade

A file is rebuilt when its preset, config, checkpoint, the converter, the lock or an option changed.
All commands with all options: .venv/bin/invoke --list
endef

help:
	@$(info $(HELP)):
