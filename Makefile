# AUTON: a goal in English becomes a kernel that boots. `make help` lists the targets.
PREFIX ?= /usr/local
GOAL ?=
MODEL ?=
RUN ?= 01-minimal-boot
ARGS ?=
# What is not given here is as auton.toml says.
WORKSPACE ?=
MAILBOX ?=
KERNEL ?=

# The makes inside have variables of their own of some of our names: they are passed the others alone, such as MEM=256.
OURS := PREFIX DESTDIR GOAL MODEL RUN ARGS CASES WORKSPACE MAILBOX KERNEL STRICT UNSAFE_NO_SANDBOX VERBOSE
space := $(subst ,, )
quoted = $(subst $(space),\$(space),$(subst \,\\,$(subst $$,$$$$,$(1))))
MAKEOVERRIDES := $(foreach name,$(filter-out $(OURS),$(.VARIABLES)), \
  $(if $(filter command,$(origin $(name))),$(name)=$(call quoted,$(value $(name)))))

BIN := .build/release
PROGRAMS := auton-plan auton-agent auton-validate auton-merge auton-compose auton-status auton-answer auton-config
# The same on a terminal as in a pipe: SwiftPM builds all again where colours are to be other ones.
SWIFT_FLAGS := -c release --static-swift-stdlib --no-color-diagnostics
# To the programs through the environment, so that a path or goal may hold any character.
export AUTON_GOAL := $(value GOAL)
FRONT := run watch status boot kernel replay provenance
define given
ifneq ($$(value $(1)),)
$(FRONT): export AUTON_$(1) := $$(value $(1))
endif
endef
$(foreach name,WORKSPACE MAILBOX KERNEL MODEL,$(eval $(call given,$(name))))
ifneq ($(STRICT),)
$(FRONT): export AUTON_STRICT := 1
endif

ifneq ($(UNSAFE_NO_SANDBOX),)
$(FRONT): export AUTON_UNSAFE_NO_SANDBOX := 1
endif

TARGETS := help deps deps-dev programs build status boot kernel replay provenance test interactions lint bench bench-model bench-compose bench-linux fake-model install clean
.PHONY: run watch $(TARGETS)
# The API key is for the front, which hands it on; no compiler has it in its environment.
$(TARGETS): export ANTHROPIC_API_KEY :=
$(TARGETS): export ANTHROPIC_AUTH_TOKEN :=
.DEFAULT_GOAL := help

help:
	@echo 'make run [GOAL="…" MODEL=file:desk]  carry a goal to a kernel that boots; replays a recorded run by default'
	@echo 'make status | boot | watch           every task; boot the kernel; run goals dropped into mailbox/goal/'
	@echo 'make replay [RUN=01-minimal-boot]    replay a recorded run into a fresh workspace; STRICT=1: drift is an error'
	@echo 'make provenance                      replay them all, and compare the result with kernel/'
	@echo 'make kernel                          build kernel/: ELF, disk image and, where GRUB is, CD'
	@echo 'make deps | build | test | lint      Debian packages; programs, whose gate proves itself; tests; style'
	@echo 'make interactions [CASES=NAME,...]   find the interactions that are planted in Tests/Interactions'
	@echo 'make deps-dev                        what makes a CD, so that merges are booted by GRUB, and what lint needs'
	@echo 'make bench | bench-model             the figures of the README; those of the live model'"'"'s client'
	@echo 'make bench-compose [ARGS="8 64"]     what a composition check costs, by the number of tasks'
	@echo 'make bench-linux                     what a Debian kernel takes for the like of our benchmarks'
	@echo 'make fake-model [ARGS=--help]        the server that the tests talk to, by hand'
	@echo 'make TARGET WORKSPACE=DIR MAILBOX=DIR KERNEL=DIR MODEL=URI   in place of what auton.toml says; VERBOSE=1: all that building says'
	@echo 'make install [PREFIX=/usr/local]     programs, manual pages, completions'
	@echo 'make clean                           remove what was built (mailbox and workspace stay)'

deps:
	@scripts/deps

deps-dev:
	@scripts/deps dev

# The set-up that the others need: quick when there is nothing to do.
programs: deps
	@swift build $(SWIFT_FLAGS) $(if $(VERBOSE),,--quiet)

# The first run need not wait then until the gate has proved itself.
build: programs
	@./auton validate --self-check --cached >/dev/null

run: programs
	@./auton run $${AUTON_GOAL:+-- "$$AUTON_GOAL"}

watch: programs
	@./auton watch

status: programs
	@./auton status

boot: deps
	@./auton boot

kernel: deps
	@$(MAKE) --no-print-directory -C "$${AUTON_KERNEL:-kernel}" all $$(command -v grub-mkrescue >/dev/null && echo iso)

replay: programs
	@./auton replay '$(RUN)'

provenance: programs
	@scripts/provenance

test: deps
	@scripts/test

lint:
	swift format lint --strict --recursive Package.swift Sources Tests
	shellcheck auton scripts/* Tests/Interactions/check

# Every case of Tests/Interactions; `make test` has some.
interactions: deps
	@AUTON_INTERACTIONS=$(or $(CASES),all) swift test --no-parallel --filter InteractionsTests

bench: programs
	@scripts/bench

bench-model: programs
	@scripts/bench-model

bench-compose: programs
	@scripts/bench-compose $(ARGS)

bench-linux:
	@scripts/bench-linux

fake-model:
	@swift build $(SWIFT_FLAGS) $(if $(VERBOSE),,--quiet) --product fake-model
	@exec $(BIN)/fake-model $(ARGS)

install: programs
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' scripts/install $(PROGRAMS)

clean:
	rm -rf .build build
	$(MAKE) --no-print-directory -C kernel clean
