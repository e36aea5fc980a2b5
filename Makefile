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
VERSION := 0.1.0

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum \
            -Wvla -Wformat=2
HARDENING := -fstack-protector-strong -fstack-clash-protection -fcf-protection
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2 $(HARDENING)
CFLAGS_debug   := -O0 -g -DSLUICE_DEBUG -Werror
CFLAGS_asan    := -O1 -g -DSLUICE_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_tsan    := -O1 -g -DSLUICE_DEBUG -fsanitize=thread -fno-omit-frame-pointer
CFLAGS_fuzz    := -O1 -g -DSLUICE_DEBUG -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
LDFLAGS_asan   := -fsanitize=address,undefined
LDFLAGS_tsan   := -fsanitize=thread
LDFLAGS_fuzz   := -fsanitize=fuzzer,address,undefined
ifeq ($(V),fuzz)
CC := $(CLANG)
endif

BASE_FLAGS := -std=c11 -D_GNU_SOURCE -DSLUICE_VERSION='"$(VERSION)"' -I. -Iclients/include -I$(GEN) -fPIC -pthread \
              -fvisibility=hidden -MMD -MP
ALL_CFLAGS := $(BASE_FLAGS) $(WARNINGS) $(CFLAGS_$(V)) $(CFLAGS)
GEN_CFLAGS := $(BASE_FLAGS) $(CFLAGS_$(V)) -w $(CFLAGS)
ALL_LDFLAGS := -pthread $(LDFLAGS_$(V)) -Wl,-z,relro,-z,now $(LDFLAGS)
LIBS := -lprotobuf-c -lsnappy -llz4 -lzstd -lz -lisal -linih -lm
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
LIBRARIES := $(B)/lib/libsluice.a $(B)/lib/libsluice.so

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
	protoc-c -I proto/schema --c_out=$(GEN)/proto/schema $<

# Generated files include each other without a folder.
BASE_FLAGS += -I$(GEN)/proto/schema

$(B)/obj/gen/%.o: $(GEN)/proto/schema/%.c | $(GEN_H)
	@mkdir -p $(@D)
	$(CC) $(GEN_CFLAGS) -c -o $@ $<

$(GEN_LIB): $(patsubst $(GEN)/proto/schema/%.c,$(B)/obj/gen/%.o,$(GEN_C))
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

# --- rooms ------------------------------------------------------------------------------------

$(B)/obj/%.o: %.c Makefile | $(GEN_H)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

define room_rule
$(call room_lib,$(1)): $(call obj_of,$(call src_of,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))

# --- programs and libraries -------------------------------------------------------------------

$(B)/bin/sluice-broker: $(B)/obj/broker/server/main.o $(call libs_for,broker/server)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS) $(DAEMON_LIBS)

$(B)/bin/sluice-metad: $(B)/obj/metad/server/main.o $(call libs_for,metad/server)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS) $(DAEMON_LIBS)

$(B)/bin/sluice: $(B)/obj/clients/tools/main.o $(call libs_for,clients/tools)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

# The client library is its own room and what it stands on; all but sluice_* is hidden.
$(B)/lib/libsluice.so: $(call libs_for,clients/lib)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,libsluice.so.0 -o $@ -Wl,--whole-archive $(call room_lib,clients/lib) \
	    -Wl,--no-whole-archive $(filter-out $(call room_lib,clients/lib),$^) -Wl,--exclude-libs,ALL $(LIBS)

$(B)/lib/libsluice.a: $(call libs_for,clients/lib)
	@mkdir -p $(@D)
	@rm -f $@
	@(echo "create $@"; for a in $^; do echo "addlib $$a"; done; echo save; echo end) | ar -M
	@echo "ar $@"

# --- unit tests ---------------------------------------------------------------------------------
# tests/unit/<room with _ for />/test_<module>.c is a program; adding a file adds a test.

SUPPORT_SRC := $(wildcard tests/support/*.c)
SUPPORT_LIB := $(B)/rooms/tests_support.a
$(SUPPORT_LIB): $(call obj_of,$(SUPPORT_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

TEST_SUITES := unit golden fault
define test_rule
$(B)/tests/$(1)/$(subst /,_,$(2))/test_%: $(B)/obj/tests/$(1)/$(subst /,_,$(2))/test_%.o $(SUPPORT_LIB) $(call libs_for,$(2))
	@mkdir -p $$(@D)
	$(CC) $(ALL_LDFLAGS) -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group -lcmocka $(LIBS) $(DAEMON_LIBS)
endef
$(foreach s,$(TEST_SUITES),$(foreach r,$(ROOMS),$(eval $(call test_rule,$(s),$(r)))))

tests_of = $(patsubst %.c,$(B)/%,$(wildcard tests/$(1)/*/test_*.c))

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  \1\t/' | expand -t 18

.PHONY: clean
clean: ## Remove what was built
	rm -rf build

-include $(wildcard $(B)/obj/*/*.d $(B)/obj/*/*/*.d $(B)/obj/*/*/*/*.d $(B)/obj/*/*/*/*/*.d)
