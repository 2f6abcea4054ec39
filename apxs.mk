# mod_mdm: build, run, test. `make -f apxs.mk help` lists the targets.
# Everything made goes into $(BUILD); the source tree stays clean.

BUILD    ?= .build
SANITIZE ?= 0
ifeq ($(SANITIZE),1)
override BUILD := $(BUILD)-san
endif
DESTDIR  ?=
APXS     ?= $(shell command -v apxs2 || command -v apxs || echo /usr/bin/apxs2)
PYTHON   ?= /usr/bin/python3
SHELL    := /bin/bash
V        ?= 0
MAKEFLAGS += --no-print-directory
# V=1 shows the whole command lines
SAY       = @$(if $(filter 1,$(V)),set -x;,echo "  $(1)";)

# ---- packages: the one list ------------------------------------------------------------------------------------------
PKG_BUILD := gcc make pkg-config apache2 apache2-dev libapr1-dev libaprutil1-dev libaprutil1-dbd-sqlite3 libaprutil1-dbd-pgsql \
             libssl-dev libxml2-dev libjansson-dev libcurl4-openssl-dev libpq-dev libldap-dev libqrencode-dev zlib1g-dev python3 python3-markdown
PKG_RUN   := openssl curl ca-certificates python3-cryptography
PKG_TEST  := git libcmocka-dev python3-pytest python3-h2 python3-selenium python3-psycopg2 python3-yaml python3-jsonschema postgresql \
             sqlite3 chromium chromium-driver clang libclang-rt-14-dev valgrind cppcheck clang-tidy apache2-utils libwbxml2-utils \
             slapd ldap-utils python3-aiosmtpd nghttp2-server nghttp2-client sogo sogo-activesync dovecot-imapd memcached $(if $(shell command -v npm),,npm)
include tests/packages.mk

# ---- flags -----------------------------------------------------------------------------------------------------------
WARN   := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wvla -Wformat=2 \
          -Wno-format-nonliteral -Wno-unused-parameter
# -Wno-unused-parameter: hooks and call-backs have signatures that others fix.
# The sanitizers see more without optimization, and compile in a quarter of the time.
OPT    := $(if $(filter 1,$(SANITIZE)),-O0,-O2)
CSTD   := -std=gnu11 $(OPT) -g -fPIC -fvisibility=hidden -fno-strict-aliasing -D_GNU_SOURCE -DMDM_BUILD
ifeq ($(SANITIZE),1)
SANFLAGS := -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
endif
APR_CFLAGS  = $(shell apr-1-config --includes --cppflags) $(shell apu-1-config --includes)
LIB_CFLAGS  = $(shell pkg-config --cflags libxml-2.0 jansson libcurl libpq openssl)
LIB_LIBS    = $(shell pkg-config --libs libxml-2.0 jansson libcurl libpq openssl zlib) -lldap -llber -lqrencode -lm
APR_LIBS    = $(shell apr-1-config --link-ld --libs) $(shell apu-1-config --link-ld)
HTTPD_CFLAGS = -I$(shell $(APXS) -q INCLUDEDIR)
# The library is compiled without httpd's headers on the path: a leak is a compile error.
CORE_CFLAGS  = $(CSTD) $(WARN) $(SANFLAGS) -Iinclude -Imodules/core -I$(BUILD)/gen $(APR_CFLAGS) $(LIB_CFLAGS)
# Modules: httpd's macro for the module record says nothing of visibility, so the linker's map hides all but the record.
MOD_CFLAGS   = $(CORE_CFLAGS) -fvisibility=default -Imodules/web $(HTTPD_CFLAGS)

# ---- what is built ---------------------------------------------------------------------------------------------------
MODULES   := mdm enroll ios admin access eas
so_mdm    := mod_mdm
so_enroll := mod_mdm_enroll
so_ios    := mod_mdm_ios
so_admin  := mod_mdm_admin
so_access := mod_mdm_access
so_eas    := mod_mdm_eas
SO_FILES  := $(foreach m,$(MODULES),$(BUILD)/modules/$(so_$(m)).so)

CORE_SRC  := $(wildcard modules/core/*/*.c)
GEN_NAMES := mdm_sql_gen mdm_settings_gen mdm_notices_gen
CORE_OBJ  := $(CORE_SRC:%.c=$(BUILD)/obj/%.o) $(GEN_NAMES:%=$(BUILD)/obj/gen/%.o)
WEB_SRC   := $(wildcard modules/web/*.c)
WEB_OBJ   := $(WEB_SRC:%.c=$(BUILD)/obj/%.o)
CTL_OBJ   := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard modules/ctl/*.c))
GEN       := $(BUILD)/gen/mdm_sql_gen.h
CORE_LIB  := $(BUILD)/libmdmcore.a
WEB_LIB   := $(BUILD)/libmdmweb.a
UNIT_SRC  := $(wildcard tests/unit/test_*.c)
UNIT_BIN  := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/unit/%)

.DEFAULT_GOAL := all
.PHONY: all install uninstall test lint clean run bench fuzz fuzz-long soak help unit sql-test sim

all: packages-build $(SO_FILES) $(BUILD)/mdmctl ui ## build the modules and mdmctl

$(GEN) $(BUILD)/gen/mdm_sql_gen.c: $(BUILD)/gen/.stamp ;
$(BUILD)/gen/.stamp: sql/gen/sqlgen.py $(wildcard sql/queries/*.sql) $(wildcard sql/schema/*.sql) $(wildcard sql/foreign/*.sql)
	@mkdir -p $(BUILD)/gen
	$(PYTHON) sql/gen/sqlgen.py --queries sql/queries --schema sql/schema --foreign sql/foreign --out $(BUILD)/gen
	@touch $@

$(BUILD)/gen/mdm_settings_gen.c: conf/settingsgen.py conf/cgen.py conf/settings.json $(BUILD)/gen/.stamp
	$(PYTHON) conf/settingsgen.py --in conf/settings.json --out $(BUILD)/gen
$(BUILD)/obj/gen/mdm_settings_gen.o: $(BUILD)/gen/mdm_settings_gen.c modules/core/domain/mdm_catalogue.h

$(BUILD)/gen/mdm_notices_gen.c: conf/noticesgen.py conf/cgen.py conf/notices.json $(BUILD)/gen/.stamp
	$(PYTHON) conf/noticesgen.py --in conf/notices.json --out $(BUILD)/gen
$(BUILD)/obj/gen/mdm_notices_gen.o: $(BUILD)/gen/mdm_notices_gen.c modules/core/domain/mdm_notice_text.h

$(BUILD)/obj/gen/%.o: $(BUILD)/gen/.stamp
	@mkdir -p $(@D)
	$(call SAY,CC $*.c) $(CC) $(CORE_CFLAGS) -c $(BUILD)/gen/$*.c -o $@

$(BUILD)/obj/modules/core/%.o: modules/core/%.c $(BUILD)/gen/.stamp
	@mkdir -p $(@D)
	$(call SAY,CC $<) $(CC) $(CORE_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/modules/ctl/%.o: modules/ctl/%.c $(BUILD)/gen/.stamp
	@mkdir -p $(@D)
	$(call SAY,CC $<) $(CC) $(CORE_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/modules/%.o: modules/%.c $(BUILD)/gen/.stamp
	@mkdir -p $(@D)
	$(call SAY,CC $<) $(CC) $(MOD_CFLAGS) -MMD -MP -c $< -o $@

$(CORE_LIB): $(CORE_OBJ)
	@rm -f $@; ar rcs $@ $^
$(WEB_LIB): $(WEB_OBJ)
	@rm -f $@; ar rcs $@ $^

define MODULE_RULE
$(BUILD)/modules/$(so_$(1)).so: $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard modules/$(1)/*.c)) $(WEB_LIB) $(CORE_LIB)
	@mkdir -p $$(@D)
	@echo '{ global: $(so_$(1):mod_%=%)_module; local: *; };' > $$@.map
	$$(call SAY,LD $$@) $(CC) -shared $(SANFLAGS) -Wl,--version-script=$$@.map -Wl,--exclude-libs,ALL -o $$@ $$(filter %.o,$$^) \
	  $(WEB_LIB) $(CORE_LIB) $$(LIB_LIBS)
endef
$(foreach m,$(MODULES),$(eval $(call MODULE_RULE,$(m))))

$(BUILD)/mdmctl: $(CTL_OBJ) $(CORE_LIB)
	$(call SAY,LD $@) $(CC) $(SANFLAGS) -o $@ $(CTL_OBJ) $(CORE_LIB) $(LIB_LIBS) $(APR_LIBS)

# ---- pages: our ES modules and CSS are copied, nothing is bundled ----------------------------------------------------
.PHONY: ui
ui:
	@mkdir -p $(BUILD)/ui/admin $(BUILD)/ui/portal
	@[ ! -d modules/admin/ui ] || cp -r modules/admin/ui/. $(BUILD)/ui/admin/
	@[ ! -f docs/openapi.yaml ] || cp docs/openapi.yaml $(BUILD)/ui/admin/
	@$(PYTHON) modules/admin/help.py docs conf/settings.json $(BUILD)/ui/admin/help
	@[ ! -d modules/enroll/ui ] || cp -r modules/enroll/ui/. $(BUILD)/ui/portal/

# ---- unit tests ------------------------------------------------------------------------------------------------------
$(BUILD)/unit/%: tests/unit/%.c $(CORE_LIB)
	@mkdir -p $(@D)
	$(call SAY,CC $<) $(CC) $(CORE_CFLAGS) -O0 -Itests/unit -MMD -MP -o $@ $< $(CORE_LIB) -lcmocka $(LIB_LIBS) $(APR_LIBS) -lpthread

unit: packages-test $(UNIT_BIN) ## build and run the unit tests
	@fail=0; for t in $(UNIT_BIN); do echo "# $$t"; $$t 2>&1 || fail=1; done; exit $$fail

# ---- running, testing, measuring -------------------------------------------------------------------------------------
RUN_ENV := MDM_BUILD=$(abspath $(BUILD)) PYTHONDONTWRITEBYTECODE=1

run: packages-run all ## a private zone in the foreground (MDM_PORT, MDM_HOME, MDM_DB, MDM_HOST, DEMO=20)
	@$(RUN_ENV) DEMO='$(DEMO)' exec $(PYTHON) -W ignore tests/run/run.py

sim: packages-run ## one more simulated phone for a running zone: sim LINK=<link from the portal>, or sim PERSON=<log-in> for its mail
	@[ -n '$(LINK)$(PERSON)' ] || { echo "usage: make -f apxs.mk sim LINK=<link from the portal>   or   sim PERSON=<log-in>"; exit 1; }
	@home="$$($(PYTHON) tests/run/run.py --home)"; $(RUN_ENV) PYTHONPATH=tests exec $(PYTHON) -W ignore -m sim --ca "$$home/tls/ca.pem" \
	  $(if $(LINK),--link '$(LINK)',--mail '$(PERSON)' --people "$$home/run.json" --interval 5)

test: packages-test ## everything; the last line adds it up (PARTS=it,guards for some)
	@$(MAKE) -f apxs.mk -j2 all probe $(if $(PARTS),,$(UNIT_BIN))
	@$(RUN_ENV) exec $(PYTHON) tests/run/suite.py

# a module that only tests load
PROBE := $(BUILD)/tests/mod_probe.so
.PHONY: probe
probe: $(PROBE)
$(PROBE): tests/it/mod_probe.c $(WEB_LIB) $(CORE_LIB)
	@mkdir -p $(@D)
	$(call SAY,CC $<) $(CC) $(MOD_CFLAGS) -shared -MMD -MP -Wl,--exclude-libs,ALL -o $@ $< $(WEB_LIB) $(CORE_LIB) $(LIB_LIBS)

sql-test: packages-test $(UNIT_BIN) ## the unit tests that use a database, on a private PostgreSQL
	@$(RUN_ENV) exec $(PYTHON) -W ignore tests/run/sqltest.py

TIDY := -*,bugprone-*,clang-analyzer-*,-bugprone-sizeof-expression,-bugprone-easily-swappable-parameters,-bugprone-narrowing-conversions,-bugprone-reserved-identifier,-bugprone-assignment-in-if-condition,-bugprone-implicit-widening-of-multiplication-result,-bugprone-branch-clone,-bugprone-macro-parentheses,-clang-analyzer-security.insecureAPI.*,-clang-analyzer-core.NullDereference,-clang-analyzer-core.NonNullParamChecker,-clang-analyzer-optin.performance.Padding

# Not asked: what follows no return code into another file (a row that is there only if rv says so), and what our idioms are (NULL ends a list as in
# APR; sizeof(*list) of a list of pointers; sscanf with widths). A process for each file: one for all of them ends by a signal after an hour.
lint: packages-test $(BUILD)/gen/.stamp ## cppcheck and clang-tidy
	@cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr --enable=warning,portability --suppress=missingInclude \
	  --suppress=uninitvar --suppress=uninitStructMember --suppress=ctuuninitvar --suppress=varFuncNullUB --suppress=unknownMacro --library=posix -D__GNUC__ \
	  -Iinclude -Imodules/core -Imodules/web -I$(BUILD)/gen modules
	@printf '%s\n' $(CORE_SRC) | xargs -P2 -n1 sh -c 'clang-tidy --quiet --warnings-as-errors="*" --checks="$(TIDY)" "$$0" -- $(CORE_CFLAGS) 2>/dev/null \
	  || { echo "lint: $$0 is not clean"; exit 1; }'

-include tests/bench/bench.mk
-include tests/fuzz/fuzz.mk

# ---- into the system's httpd -----------------------------------------------------------------------------------------
LIBEXECDIR ?= $(shell $(APXS) -q LIBEXECDIR)
CONFDIR    ?= /etc/apache2/mods-available
SITESDIR   ?= /etc/apache2/sites-available
UIDIR      ?= /usr/share/mod_mdm/ui
SBINDIR    ?= /usr/sbin
CONF_MODS  := mdm.load mdm.conf
CONF_SITES := mdm-devices.conf mdm-admin.conf mdm-mail.conf

install: all ## into apxs's LIBEXECDIR and /etc/apache2 below DESTDIR; configuration that is there stays
	install -d $(addprefix $(DESTDIR),$(LIBEXECDIR) $(CONFDIR) $(SITESDIR) $(UIDIR) $(SBINDIR))
	install -m 644 $(SO_FILES) $(DESTDIR)$(LIBEXECDIR)
	install -m 755 $(BUILD)/mdmctl $(DESTDIR)$(SBINDIR)/mdmctl
	rm -rf $(DESTDIR)$(UIDIR)/admin $(DESTDIR)$(UIDIR)/portal
	cp -r $(BUILD)/ui/. $(DESTDIR)$(UIDIR)/
	chmod -R u=rwX,go=rX $(DESTDIR)$(UIDIR)
	@for f in $(CONF_MODS:%=$(CONFDIR)/%) $(CONF_SITES:%=$(SITESDIR)/%); do \
	  if [ -e "$(DESTDIR)$$f" ]; then echo "$$f is there and stays as it is"; \
	  else install -v -m 644 "conf/$${f##*/}" "$(DESTDIR)$$f"; fi; done

uninstall: ## remove what install put there; configuration and state stay
	rm -f $(SO_FILES:$(BUILD)/modules/%=$(DESTDIR)$(LIBEXECDIR)/%) $(DESTDIR)$(SBINDIR)/mdmctl
	rm -rf $(DESTDIR)$(UIDIR)
	@for f in $(CONF_MODS:%=$(CONFDIR)/%) $(CONF_SITES:%=$(SITESDIR)/%); do \
	  if cmp -s "conf/$${f##*/}" "$(DESTDIR)$$f"; then rm -v -f "$(DESTDIR)$$f"; \
	  elif [ -e "$(DESTDIR)$$f" ]; then echo "$$f was changed and stays"; fi; done

print-%:
	@echo $($*)

clean: ## remove what was built
	rm -rf $(BUILD) $(BUILD)-san

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 14

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
