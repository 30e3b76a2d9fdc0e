# make bench: speed and memory beside other mail servers (README.md); BENCH="rows and options".

bench_bin = $(patsubst bench/%.c,$(B)/bench/%,$(wildcard bench/*.c))
$(B)/bench/%: $(B)/bench/%.o $(B)/libpennypost.a
	$(call say,LD $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

bench-tools: $(bench_bin)
bench: all bench-tools
	@bench/run.py --build $(B) $(BENCH)

.PHONY: bench bench-tools
