# Fuzzing: tests/fuzz/fuzz_x.c with the corpus tests/fuzz/corpus/x. Included by apxs.mk.
FUZZ_RUNS    ?= 10000000
FUZZ_TIME    ?= 20
FUZZ_CC      ?= clang
FUZZ_NAMES   := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN     := $(FUZZ_NAMES:%=$(BUILD)/fuzz/%)
FUZZ_REPLAY  := $(FUZZ_NAMES:%=$(BUILD)/replay/%)
# Warnings are gcc's business; an undefined operation ends the run. CORE_CFLAGS brings sanitizers with SANITIZE=1.
FUZZ_CFLAGS   = $(filter-out $(WARN) $(SANFLAGS),$(CORE_CFLAGS)) -O1 -fno-omit-frame-pointer -w \
                -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_OBJ     := $(CORE_SRC:%.c=$(BUILD)/fuzz-obj/%.o) $(GEN_NAMES:%=$(BUILD)/fuzz-obj/gen/%.o)
FUZZ_LIB     := $(BUILD)/fuzz-obj/libmdmcore.a

.PHONY: fuzz fuzz-long fuzz-replay
.SECONDARY: $(FUZZ_OBJ)

$(BUILD)/fuzz-obj/gen/%.o: $(BUILD)/gen/%.c
	@mkdir -p $(@D)
	$(call SAY,FUZZ $*.c) $(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link -c $(BUILD)/gen/$*.c -o $@

$(BUILD)/fuzz-obj/%.o: %.c $(BUILD)/gen/.stamp
	@mkdir -p $(@D)
	$(call SAY,FUZZ $<) $(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@

$(FUZZ_LIB): $(FUZZ_OBJ)
	@rm -f $@; ar rcs $@ $^

$(BUILD)/fuzz/%: tests/fuzz/%.c $(FUZZ_LIB)
	@mkdir -p $(@D)
	$(call SAY,FUZZ $<) $(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer -MMD -MP -o $@ $< $(FUZZ_LIB) $(LIB_LIBS) $(APR_LIBS) -lpthread

$(BUILD)/replay/%: tests/fuzz/%.c tests/fuzz/replay_main.c $(CORE_LIB)
	@mkdir -p $(@D)
	$(call SAY,CC $<) $(CC) $(CORE_CFLAGS) -o $@ $< tests/fuzz/replay_main.c $(CORE_LIB) $(LIB_LIBS) $(APR_LIBS) -lpthread

# $(1): what ends a run. New inputs go into a copy; the committed corpus stays as it is.
define FUZZ_EACH
	@for t in $(FUZZ_NAMES); do \
	  c=$(BUILD)/fuzz/corpus/$${t#fuzz_}; mkdir -p "$$c"; cp -r tests/fuzz/corpus/$${t#fuzz_}/. "$$c/" || exit 1; \
	  if $(BUILD)/fuzz/$$t $(1) -max_len=16384 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
	       -artifact_prefix=$(BUILD)/fuzz/$$t- "$$c" >$(BUILD)/fuzz/$$t.log 2>&1; \
	  then echo "ok $$t $$(sed -n 's/^stat::number_of_executed_units: *//p' $(BUILD)/fuzz/$$t.log) runs"; \
	  else echo "not ok $$t, see $(BUILD)/fuzz/$$t.log"; tail -n 40 $(BUILD)/fuzz/$$t.log; exit 1; fi; done
endef

fuzz: packages-test $(FUZZ_BIN) ## fuzz each parser for FUZZ_TIME seconds
	$(call FUZZ_EACH,-max_total_time=$(FUZZ_TIME))

fuzz-long: packages-test $(FUZZ_BIN) ## fuzz each parser for FUZZ_RUNS runs
	$(call FUZZ_EACH,-runs=$(FUZZ_RUNS))

fuzz-replay: packages-build $(FUZZ_REPLAY) ## run the corpora through the parsers once
	@for t in $(FUZZ_NAMES); do $(BUILD)/replay/$$t tests/fuzz/corpus/$${t#fuzz_} || exit 1; done
