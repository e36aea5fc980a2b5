# SPDX-License-Identifier: Apache-2.0
# One file, not recursive. Objects go to build/<variant>/; `make help` lists the targets.
#
# V=release (default): optimised, CHECKs in. V=debug: no optimisation, DCHECKs, -Werror.
# V=asan: ASan and UBSan. V=tsan: TSan. V=fuzz: clang, libFuzzer, ASan and UBSan.

V       ?= release
CC      := gcc
PYTHON  ?= /usr/bin/python3
PREFIX  ?= /usr/local
CLANG   ?= clang-14
CLANG_FORMAT ?= clang-format-14

B       := build/$(V)
GEN     := build/gen
DESTDIR ?=

# One job per core, unless -j says otherwise or a target cleans what another builds.
ifeq ($(MAKELEVEL),0)
ifneq ($(filter clean,$(MAKECMDGOALS)),)
.NOTPARALLEL:
else
MAKEFLAGS += -j$(shell nproc)
endif
endif
MAKEFLAGS += --no-print-directory --no-builtin-rules

# VERBOSE=1 shows the commands.
ifdef VERBOSE
say =
else
say = @printf '  %-7s %s\n' $(1) $(2);
endif
VERSION := 0.1.0

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum \
            -Wvla -Wformat=2
HARDENING := -fstack-protector-strong -fstack-clash-protection -fcf-protection
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2 $(HARDENING)
CFLAGS_debug   := -O0 -g -DSLUICE_DEBUG -Werror
CFLAGS_asan    := -O1 -g -DSLUICE_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_tsan    := -O1 -g -DSLUICE_DEBUG -fsanitize=thread -fno-omit-frame-pointer
CFLAGS_cover   := -O0 -g -DSLUICE_DEBUG --coverage
CFLAGS_fuzz    := -O1 -g -DSLUICE_DEBUG -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
LDFLAGS_asan   := -fsanitize=address,undefined
LDFLAGS_tsan   := -fsanitize=thread
LDFLAGS_cover  := --coverage
LDFLAGS_fuzz   := -fsanitize=fuzzer,address,undefined
ifeq ($(V),fuzz)
CC := $(CLANG)
endif

BASE_FLAGS := -std=c11 -D_GNU_SOURCE -DSLUICE_VERSION='"$(VERSION)"' -I. -Iclients/include -I$(GEN) -fPIC -pthread \
              -fvisibility=hidden -MMD -MP
ALL_CFLAGS := $(BASE_FLAGS) $(WARNINGS) $(CFLAGS_$(V)) $(CFLAGS)
GEN_CFLAGS := $(BASE_FLAGS) $(CFLAGS_$(V)) -w $(CFLAGS)
ALL_LDFLAGS := -pthread $(LDFLAGS_$(V)) -Wl,-z,relro,-z,now $(LDFLAGS)
LIBS := -lprotobuf-c -lsnappy -llz4 -lzstd -lz -lisal -lm
DAEMON_LIBS := -lsqlite3 -lmicrohttpd

# Rooms: a folder of sources is an archive. The order is bottom up; the table in tests/lint/layers.py
# is what enforces the direction.
ROOMS := proto/base proto/wire proto/net \
         metad/model metad/coord metad/follow metad/server \
         broker/log broker/replica broker/group broker/controller broker/server \
         clients/lib clients/tools

src_of    = $(filter-out %/main.c,$(wildcard $(1)/*.c))
obj_of    = $(patsubst %.c,$(B)/obj/%.o,$(1))
room_lib  = $(B)/rooms/$(subst /,_,$(1)).a

SCHEMA   := $(wildcard proto/schema/*.proto)
GEN_C    := $(patsubst proto/schema/%.proto,$(GEN)/proto/schema/%.pb-c.c,$(SCHEMA))
GEN_H    := $(GEN_C:.c=.h)
GEN_LIB  := $(B)/rooms/schema.a

# What a room's tests link: its own archive and all below it.
below_proto/base        :=
below_proto/wire        := proto/base
below_proto/net         := proto/wire proto/base
below_metad/model       := proto/wire proto/base
below_metad/coord       := metad/model proto/net proto/wire proto/base
below_metad/follow      := metad/coord metad/model proto/net proto/wire proto/base
below_metad/server      := metad/follow metad/coord metad/model proto/net proto/wire proto/base
below_broker/log        := proto/net proto/wire proto/base
below_broker/replica    := broker/log metad/follow metad/coord metad/model proto/net proto/wire proto/base
below_broker/group      := broker/replica broker/log metad/follow metad/coord metad/model proto/net proto/wire proto/base
below_broker/controller := broker/replica broker/log metad/follow metad/coord metad/model proto/net proto/wire proto/base
below_broker/server     := broker/controller broker/group broker/replica broker/log metad/server metad/follow metad/coord \
                           metad/model proto/net proto/wire proto/base
below_clients/lib       := proto/net proto/wire proto/base
below_clients/tools     := clients/lib broker/log proto/net proto/wire proto/base
libs_for = $(call room_lib,$(1)) $(foreach r,$(below_$(1)),$(call room_lib,$(r))) $(GEN_LIB)

BINARIES := $(B)/bin/sluice-broker $(B)/bin/sluice-metad $(B)/bin/sluice
LIBRARIES := $(B)/lib/libsluice.a $(B)/lib/libsluice.so.0 $(B)/lib/libsluice.so

.PHONY: all
all: binaries libraries ## Build the daemons, the command line and the client library (V=debug: with DCHECKs)
ifeq ($(V),release)
	@mkdir -p build/bin build/lib
	@ln -sf $(addprefix ../release/bin/,$(notdir $(BINARIES))) build/bin/
	@ln -sf $(addprefix ../release/lib/,$(notdir $(LIBRARIES))) build/lib/
endif

.PHONY: binaries libraries
binaries: $(BINARIES)
libraries: $(LIBRARIES)

.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all

# --- schema -----------------------------------------------------------------------------------

$(GEN)/proto/schema/%.pb-c.c $(GEN)/proto/schema/%.pb-c.h: proto/schema/%.proto
	@mkdir -p $(@D)
	$(call say,PROTOC,$<)protoc-c -I proto/schema --c_out=$(GEN)/proto/schema $<

# Generated files include each other without a folder.
BASE_FLAGS += -I$(GEN)/proto/schema

$(B)/obj/gen/%.o: $(GEN)/proto/schema/%.c | $(GEN_H)
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(GEN_CFLAGS) -c -o $@ $<

$(GEN_LIB): $(patsubst $(GEN)/proto/schema/%.c,$(B)/obj/gen/%.o,$(GEN_C))
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)ar rcs $@ $^

# --- rooms ------------------------------------------------------------------------------------

# Objects depend on the flags they were built with, not on this file.
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS)' > $@
FORCE:

$(B)/obj/%.o: %.c $(B)/flags | $(GEN_H)
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(ALL_CFLAGS) -c -o $@ $<

define room_rule
$(call room_lib,$(1)): $(call obj_of,$(call src_of,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(call say,AR,$$@)ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))
.PHONY: rooms
rooms: $(foreach r,$(ROOMS),$(call room_lib,$(r))) $(GEN_LIB)

# --- programs and libraries -------------------------------------------------------------------

$(B)/bin/sluice-broker: $(B)/obj/broker/server/main.o $(call libs_for,broker/server)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS) $(DAEMON_LIBS)

$(B)/bin/sluice-metad: $(B)/obj/metad/server/main.o $(call libs_for,metad/server)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS) $(DAEMON_LIBS)

$(B)/bin/sluice: $(B)/obj/clients/tools/main.o $(call libs_for,clients/tools)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

# The client library is its own room and what it stands on; all but sluice_* is hidden. The static one is a
# single object with hidden names made local, so that they cannot meet an application's.
LIB_OBJ  := $(call obj_of,$(call src_of,clients/lib))
LIB_BELOW := $(foreach r,$(below_clients/lib),$(call room_lib,$(r))) $(GEN_LIB)

$(B)/lib/libsluice.so.0: $(LIB_OBJ) $(LIB_BELOW)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,libsluice.so.0 -o $@ $(LIB_OBJ) \
	    -Wl,--start-group $(LIB_BELOW) -Wl,--end-group -Wl,--exclude-libs,ALL $(LIBS)

$(B)/lib/libsluice.so: $(B)/lib/libsluice.so.0
	@ln -sf libsluice.so.0 $@

$(B)/lib/libsluice.a: $(LIB_OBJ) $(LIB_BELOW)
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)ld -r -o $(@D)/sluice.o $(LIB_OBJ) --start-group $(LIB_BELOW) --end-group && \
	    objcopy --localize-hidden $(@D)/sluice.o && ar rcs $@ $(@D)/sluice.o && rm $(@D)/sluice.o

# --- unit tests ---------------------------------------------------------------------------------
# tests/unit/<room with _ for />/test_<module>.c is a program; adding a file adds a test.

SUPPORT_SRC := $(wildcard tests/support/*.c)
SUPPORT_LIB := $(B)/rooms/tests_support.a
$(SUPPORT_LIB): $(call obj_of,$(SUPPORT_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)ar rcs $@ $^

TEST_SUITES := unit golden fault
define test_rule
$(B)/tests/$(1)/$(subst /,_,$(2))/test_%: $(B)/obj/tests/$(1)/$(subst /,_,$(2))/test_%.o $(SUPPORT_LIB) $(call libs_for,$(2))
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)$(CC) $(ALL_LDFLAGS) -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group -lcmocka $(LIBS) $(DAEMON_LIBS)
endef
$(foreach s,$(TEST_SUITES),$(foreach r,$(ROOMS),$(eval $(call test_rule,$(s),$(r)))))

# --- fuzzers ------------------------------------------------------------------------------------
# tests/fuzz/<room with _ for />/fuzz_<name>.c, built with V=fuzz.

define fuzz_rule
$(B)/tests/fuzz/$(subst /,_,$(1))/fuzz_%: $(B)/obj/tests/fuzz/$(subst /,_,$(1))/fuzz_%.o $(call libs_for,$(1))
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)$(CC) $(ALL_LDFLAGS) -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(LIBS) $(DAEMON_LIBS)
endef
$(foreach r,$(ROOMS),$(eval $(call fuzz_rule,$(r))))
# A client and its servers in virtual time.
$(B)/tests/fuzz/clients_lib/fuzz_client: $(SUPPORT_LIB)

FUZZERS := $(patsubst %.c,build/fuzz/%,$(wildcard tests/fuzz/*/fuzz_*.c))

# --- examples, bench ------------------------------------------------------------------------------
# Examples are what a user would write: public header, shared library, nothing else.

EXAMPLES := $(patsubst clients/examples/%.c,$(B)/examples/%,$(wildcard clients/examples/*.c))
$(B)/examples/%: clients/examples/%.c $(B)/lib/libsluice.so
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) $(CFLAGS_$(V)) $(CFLAGS) -Iclients/include -pthread -o $@ $< \
	    -L$(B)/lib -lsluice -Wl,-rpath,'$$ORIGIN/../lib'

BENCHES := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/bench_*.c))
BENCH_LIB := $(B)/rooms/tests_bench.a
$(BENCH_LIB): $(call obj_of,$(filter-out tests/bench/bench_%,$(wildcard tests/bench/*.c)))
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)ar rcs $@ $^
$(B)/tests/bench/bench_client: $(call libs_for,clients/lib)
$(B)/tests/bench/bench_%: $(B)/obj/tests/bench/bench_%.o $(BENCH_LIB) $(call libs_for,proto/wire)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

# --- targets --------------------------------------------------------------------------------------

RUN := $(PYTHON) tests/run.py

.PHONY: deps deps-build deps-test quickstart
deps: ## Install the Debian packages that building and testing need (sudo if not root)
	@sh tests/deps.sh all
deps-build:
	@sh tests/deps.sh build
deps-test:
	@sh tests/deps.sh test

quickstart: deps-build ## Build, start a broker, send a real file through it and compare (FILE=...)
	@printf 'building ...\n' && $(MAKE) all $(if $(VERBOSE),,>/dev/null)
	@sh tests/quickstart.sh $(FILE)

# Each recipe below is one line, so that `&&` keeps the order under -j.
.PHONY: test asan tsan unit system examples
test: deps-test ## Run unit, golden, fault and system tests (T=folder/module[/case], SEED=n)
	@$(MAKE) all && $(MAKE) V=debug test-programs && $(RUN) --variant debug '$(T)'
asan: ## Unit, golden and fault tests under ASan and UBSan (T=...)
	@$(MAKE) V=asan test-programs && $(RUN) --variant asan --suites unit,golden,fault '$(T)'
tsan: ## The same under TSan (T=...)
	@$(MAKE) V=tsan test-programs && $(RUN) --variant tsan --suites unit,golden,fault '$(T)'
unit: ## Unit, golden and fault tests only (T=..., V=...)
	@$(MAKE) V=debug test-programs && $(RUN) --variant debug --suites unit,golden,fault '$(T)'
system: ## System tests only (T=module[/case])
	@$(MAKE) all && $(RUN) --suites system '$(T)'
examples: all $(EXAMPLES) ## Build clients/examples and run each against a broker
	@$(RUN) --examples $(EXAMPLES)

# Those that T selects, all without it.
.PHONY: test-programs
TEST_PROGRAMS = $(addprefix $(B)/,$(shell $(RUN) --list '$(T)'))
ifneq ($(filter test-programs,$(MAKECMDGOALS)),)
test-programs: $(TEST_PROGRAMS)
endif

.PHONY: gdb fuzz fuzz-smoke fuzz-programs
gdb: ## Run the test program that T=folder/module names in gdb
	@test -n "$(T)" || { echo 'gdb: which test? T=folder/module' >&2; exit 2; }
	@$(MAKE) V=debug test-programs T=$(T) && gdb --args build/debug/$$($(RUN) --list '$(T)' | head -1)
fuzz: ## Run one fuzzer until it finds something or is interrupted (T=name)
	@test -n "$(T)" || { echo 'fuzz: which? T=name, one of: $(notdir $(FUZZERS:%=%))' >&2; exit 2; }
	@$(MAKE) V=fuzz fuzz-programs && $(RUN) --fuzz $(T)
fuzz-smoke: ## A minute of fuzzing over all targets
	@$(MAKE) V=fuzz fuzz-programs && $(RUN) --fuzz-smoke 60
fuzz-programs: $(if $(filter fuzz,$(V)),$(FUZZERS))

.PHONY: bench bench-smoke bench-programs
bench: ## Floor programs and Sluice side by side; figures and ratios (ROWS=name,...)
	@$(MAKE) all bench-programs && $(PYTHON) tests/bench/bench.py $(if $(ROWS),--rows $(ROWS))
bench-smoke: ## The same in a minute: that it runs, not how fast
	@$(MAKE) all bench-programs && $(PYTHON) tests/bench/bench.py --smoke $(if $(ROWS),--rows $(ROWS))
bench-programs: $(BENCHES)

OWN_SOURCES = $(shell find proto broker metad clients tests -name '*.[ch]')
.PHONY: lint check fmt sizes cover
lint: ## Layers, stand-alone headers, README coverage, words, symbols, format
	@$(MAKE) schema && $(MAKE) V=debug rooms && $(PYTHON) tests/lint/lint.py
check: ## What must pass before a merge: lint, test, asan, fuzz-smoke, examples
	@$(MAKE) lint && $(MAKE) test && $(MAKE) asan && $(MAKE) fuzz-smoke && $(MAKE) examples && $(MAKE) docs-check && \
	    echo 'check: all passed'
fmt: ## Format the C sources
	@$(CLANG_FORMAT) -i $(OWN_SOURCES)
sizes: ## The longest functions and the change of each room since main
	@$(PYTHON) tests/lint/sizes.py
cover: ## Line coverage of unit, golden and fault tests
	@$(MAKE) V=cover test-programs && $(RUN) --variant cover --suites unit,golden,fault '$(T)' && $(PYTHON) tests/lint/cover.py

.PHONY: schema docs docs-check
schema: $(GEN_H)
docs: all ## Write docs/configuration.md from the daemons' tables
	@sh docs/configuration.sh build/bin > docs/configuration.md
docs-check: all
	@sh docs/configuration.sh build/bin | cmp - docs/configuration.md || \
	    { echo 'docs/configuration.md is not what the tables say: run make docs' >&2; exit 1; }

.PHONY: install
install: all ## Install under DESTDIR and PREFIX (default /usr/local)
	@sh docs/install.sh '$(B)' '$(DESTDIR)' '$(PREFIX)' '$(VERSION)'

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  \1\t/' | expand -t 18

.PHONY: clean
clean: ## Remove what was built
	rm -rf build

-include $(wildcard $(B)/obj/*/*.d $(B)/obj/*/*/*.d $(B)/obj/*/*/*/*.d $(B)/obj/*/*/*/*/*.d)
