# Benchmarks: a table, and bench.json in the build folder. BENCH=PRF-01,PRF-07 runs some.
PKG_BENCH := nginx-light
BENCH_BIN := $(addprefix $(BUILD)/bench/,load eas_hold mod_park.so bench_devcache bench_cidr)

$(BUILD)/bench/load $(BUILD)/bench/eas_hold: $(BUILD)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(call SAY,CC $<) $(CC) -O2 -D_GNU_SOURCE $(WARN) -o $@ $< -lssl -lcrypto

# the floor of held requests: httpd alone
$(BUILD)/bench/mod_park.so: tests/bench/mod_park.c
	@mkdir -p $(@D)
	$(call SAY,CC $<) $(CC) $(MOD_CFLAGS) -shared -o $@ $<

$(BUILD)/bench/%: tests/bench/%.c $(CORE_LIB)
	@mkdir -p $(@D)
	$(call SAY,CC $<) $(CC) $(CORE_CFLAGS) -o $@ $< $(CORE_LIB) $(LIB_LIBS) $(APR_LIBS) -lpthread

bench: packages-test packages-bench all $(BENCH_BIN) $(BUILD)/unit/test_match_corpus ## measure (BENCH=PRF-01,PRF-07): table and bench.json
	@$(RUN_ENV) BENCH='$(BENCH)' exec $(PYTHON) -W ignore tests/bench/bench.py

KILL_CYCLES ?= 10000
soak: packages-test all ## long runs with restarts and killed children (SOAK_MINUTES=60, SOAK_DB=sqlite3, KILL_CYCLES=10000)
	@$(RUN_ENV) KILL_CYCLES=$(KILL_CYCLES) $(PYTHON) -W ignore -m pytest -q tests/it/test_commands.py -k kill
	@$(RUN_ENV) exec $(PYTHON) -W ignore tests/bench/soak.py
