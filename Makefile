# AUTON: a goal in English becomes a kernel that boots. `make help` lists the targets.
PREFIX ?= /usr/local
GOAL ?=
MODEL ?=
RUN ?= 01-minimal-boot
# What is not given here is as auton.toml says.
WORKSPACE ?=
MAILBOX ?=
KERNEL ?=

BIN := .build/release
PROGRAMS := auton-plan auton-agent auton-validate auton-merge auton-compose auton-status auton-answer auton-config
SWIFT_FLAGS := -c release --static-swift-stdlib
given = $(if $($1),AUTON_$1='$($1)')
AUTON := $(foreach name,WORKSPACE MAILBOX KERNEL MODEL,$(call given,$(name))) $(if $(STRICT),AUTON_STRICT=1) ./auton
export AUTON_GOAL := $(GOAL)

.PHONY: help deps build run watch status boot kernel replay provenance test lint bench install clean
.DEFAULT_GOAL := help

help:
	@echo 'make run [GOAL="…" MODEL=file:desk]  carry a goal to a kernel that boots; replays a recorded run by default'
	@echo 'make status | boot | watch           every task; boot the kernel; run goals dropped into mailbox/goal/'
	@echo 'make replay [RUN=01-minimal-boot]    replay a recorded run into a fresh workspace; STRICT=1: drift is an error'
	@echo 'make provenance                      replay them all, and compare the result with kernel/'
	@echo 'make kernel                          build the kernel in kernel/'
	@echo 'make deps | build | test | lint      Debian packages; programs; tests; style'
	@echo 'make bench                           the figures of the README'
	@echo 'make install [PREFIX=/usr/local]     programs, manual pages, completions'
	@echo 'make clean                           remove what was built (mailbox and workspace stay)'

deps:
	@scripts/deps

# The set-up that run and test need: quick when there is nothing to do.
build: deps
	@swift build $(SWIFT_FLAGS) $(if $(VERBOSE),,--quiet)

run: build
	@$(AUTON) run "$$AUTON_GOAL"

watch: build
	@$(AUTON) watch

status: build
	@$(AUTON) status

boot: deps
	@$(AUTON) boot

kernel: deps
	@$(MAKE) --no-print-directory -C $(or $(KERNEL),kernel)

replay: build
	@$(AUTON) replay '$(RUN)'

provenance: build
	@AUTON_KERNEL='$(or $(KERNEL),kernel)' scripts/provenance

test: deps
	@swift test --no-parallel

lint:
	swift format lint --strict --recursive Package.swift Sources Tests
	shellcheck auton scripts/*

bench: build
	@scripts/bench

install: build
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' scripts/install $(PROGRAMS)

clean:
	rm -rf .build build
	$(MAKE) --no-print-directory -C kernel clean
