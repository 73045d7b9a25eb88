# A thin front: what each target does is in scripts/ and in cargo's own files.
# `make` alone tells what there is.

MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

CARGO := $(or $(shell command -v cargo),$(or $(CARGO_HOME),$(HOME)/.cargo)/bin/cargo)

.PHONY: help setup setup-build setup-hypervisor setup-guest setup-test build build-demo \
	build-cluster image demo cluster test chaos clean

help: ## what you are reading
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install the Debian packages that are missing; says which and why
	@scripts/setup.sh all

# Each target asks only for what it needs, so that `make build` does not install a hypervisor.
setup-build setup-hypervisor setup-guest setup-test: setup-%:
	@scripts/setup.sh $*

build: setup-build ## compile reprieved and reprieve into target/release
	@$(CARGO) build --release --locked --bin reprieved --bin reprieve

# What shows the product, beside the product.
build-demo build-cluster: build-%: setup-build
	@$(CARGO) build --release --locked --bin reprieved --bin reprieve --bin reprieve-$*

image: setup-guest ## build the tiny guest images in target/images
	@scripts/guest-image/build.sh

demo: setup build-demo image ## pause, suspend and rescue a real guest; CLUSTER=1: on several processes
	@CLUSTER='$(CLUSTER)' scripts/demo.sh

cluster: setup build-cluster image ## two api, a conductor and two computes on PostgreSQL and RabbitMQ, until ^C
	@scripts/cluster.sh

test: setup image ## everything: unit, property and end-to-end tests
	@$(CARGO) xtask test

chaos: setup image ## 100 times kill -9 in the middle of operations on real guests; CLUSTER=1: roles apart
	@$(CARGO) xtask chaos $(if $(CLUSTER),-- --cluster)

clean: ## remove everything that was built; stops the libvirtd that we started, if any
	@scripts/libvirtd.sh stop
	rm -rf target
