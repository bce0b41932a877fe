# The few commands people type; meson does the work.
BUILD ?= build
JOBS ?= 2
PREFIX ?= /usr/local
SKIFF = $(BUILD)/bin/skiff
export CCACHE_NOHASHDIR = 1

.PHONY: all deps build up down reset images test test-deps test-asan unit check fuzz install bench clean format

all: build

deps:
	@scripts/deps.sh

$(BUILD)/build.ninja: | deps
	@[ -f $@ ] || meson setup $(BUILD) >/dev/null

build: deps $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j$(JOBS) --quiet src/bin.stamp

# From a bare machine to a Ready node.
up: build
	@$(SKIFF) up

down:
	@if [ -x $(SKIFF) ]; then $(SKIFF) down; else echo "nothing is built, so nothing is running"; fi

reset: build
	@$(SKIFF) reset

# Makes the images that examples and tests use, from Debian packages, and loads them into the running engine.
images: build
	@SKIFF=$(abspath $(SKIFF)) scripts/images.sh

test-deps:
	@scripts/deps.sh test

# Everything: checks, unit and system tests, then unit tests under both sanitizers, then fuzz targets on their corpora.
test: test-deps build
	@ninja -C $(BUILD) -j$(JOBS) --quiet
	@BUILD=$(BUILD) JOBS=$(JOBS) scripts/test.sh

unit: build
	@ninja -C $(BUILD) -j$(JOBS) --quiet
	@meson test -C $(BUILD) --suite unit --print-errorlogs

check:
	@scripts/check.sh

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

install: build
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild >/dev/null

bench: build
	@bench/run.sh

clean:
	@rm -rf $(BUILD) build-asan build-fuzz build-clang
