# Pennypost.
#	make run	a demo suite in the foreground, from nothing (DESIGN: two commands)
#	make check	every test, from nothing; ends with "N passed, N failed"
#	make check-clients	Thunderbird against a suite (a large package, so not in make check)
#	make proof	kills and power cuts without end, nearly: [KILLS=n] [CUTS=n] [SEED=n]; hours
#	make		build into build/;  make install DESTDIR=...
# Folder = binary: build/bin/NAME is made of NAME/*.c and lib/.

B		?= build
DAEMONS		= smtpd queue deliver relay auth imapd pop3d
HELPERS		= drop
PROGRAMS	= $(DAEMONS) $(HELPERS) pennypost
LIB_DIRS	= lib lib/store lib/mime lib/login
COMMANDS	= sendmail mailq newaliases

.DEFAULT_GOAL := all

# These set everything up themselves, before there is a config.mk.
BOOTSTRAP	= run check check-clients proof deps clean distclean
ifeq ($(filter $(BOOTSTRAP),$(MAKECMDGOALS)),)
include config.mk
endif

DEFS	= -D_GNU_SOURCE -DPP_VERSION='"$(VERSION)"' -DPP_SYSCONFDIR='"$(sysconfdir)"' \
	  -DPP_LIBEXECDIR='"$(libexecdir)/pennypost"' -DPP_LOCALSTATEDIR='"$(localstatedir)"' \
	  -DPP_RUNSTATEDIR='"$(runstatedir)"'
ifeq ($(SAN),1)		# address and undefined-behaviour sanitizers
HARDEN	= -U_FORTIFY_SOURCE -DPP_SANITIZE -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else
HARDEN	= -D_FORTIFY_SOURCE=3
endif
ALL_CFLAGS = -std=gnu17 $(CFLAGS) $(PP_CFLAGS) $(WERROR) $(HARDEN) $(DEFS) -Ilib -I. -MMD -MP
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--gc-sections -Wl,--as-needed \
	  $(filter -fsanitize=%,$(HARDEN)) $(LDFLAGS)
LIBS	= -lssl -lcrypto -levent_core -lconfuse -lseccomp -lcdb -lunistring
LIBS_queue	= -ldb
LIBS_imapd	= -lz
LIBS_auth	= -ldb -lpam -lcrypt
LIBS_relay	= -lunbound -lresolv
LIBS_pennypost	= -ljansson -lcrypt

ifneq ($(V),1)
Q	= @
say	= @echo "  $(1)"
endif

lib_src	= $(foreach d,$(LIB_DIRS),$(wildcard $(d)/*.c))
lib_obj	= $(lib_src:%.c=$(B)/%.o)

all: $(PROGRAMS:%=$(B)/bin/%) $(COMMANDS:%=$(B)/bin/%)

config.mk: configure config.mk.in
	./configure --quiet $(CONFIGURE_FLAGS)

configure: configure.ac
	autoconf

$(B)/%.o: %.c config.mk
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/libpennypost.a: $(lib_obj)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

define program_rule
$(B)/bin/$(1): $$(patsubst %.c,$(B)/%.o,$$(wildcard $(1)/*.c)) $(B)/libpennypost.a
	@mkdir -p $$(@D)
	$$(call say,LD $$@)
	$$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $$(LIBS) $$(LIBS_$(1))
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rule,$(p))))

# One binary, named by argv[0]: mailq and newaliases are sendmail, which is pennypost.
$(COMMANDS:%=$(B)/bin/%): $(B)/bin/pennypost
	$(Q)ln -sf pennypost $@

# ---- tests ----
# tests/unit/test_X.c is one program; test_DAEMON_X.c also links DAEMON's own objects.
# tests/fuzz/fuzz_X.c likewise, with clang's libFuzzer.

unit_bin = $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
fuzz_bin = $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
# Which daemon a test belongs to: the first word of its name that is one ("smtp" and "imap", "pop3" too).
daemon_alias = $(patsubst smtp,smtpd,$(patsubst imap,imapd,$(patsubst pop3,pop3d,$(1))))
test_daemon = $(firstword $(filter $(PROGRAMS),$(call daemon_alias,$(firstword $(subst _, ,$(1))))))
test_objs = $(patsubst %.c,$(B)/%.o,$(filter-out %/main.c,$(wildcard $(call test_daemon,$(1))/*.c)))
.SECONDEXPANSION:
.PRECIOUS: $(B)/%.o
$(B)/tests/test_%: $(B)/tests/unit/test_%.o $$(if $$(call test_daemon,$$*),$$(call test_objs,$$*)) $(B)/libpennypost.a
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(LIBS) $(LIBS_$(call test_daemon,$*)) -ljansson -lcrypt

$(B)/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $$(if $$(call test_daemon,$$*),$$(call test_objs,$$*)) $(B)/libpennypost.a
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(ALL_LDFLAGS) $(FUZZ_LINK) -o $@ $^ $(LIBS) $(LIBS_$(call test_daemon,$*)) -ljansson -lcrypt

# Load tools for bench/: one file each.
$(B)/bench/%: $(B)/bench/%.o $(B)/libpennypost.a
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

tests: $(unit_bin)
fuzzers: $(fuzz_bin)

include bench/bench.mk

# ---- from nothing ----

deps:
	@scripts/deps build test

run:
	@scripts/setup $(B)
	@scripts/demo $(B)

check:
	@scripts/setup $(B) test
	@/usr/bin/python3 tests/check.py

# IMAP beside Dovecot (dovecot-imapd, as root): BENCH="rows and options".
bench-imap: all
	@mkdir -p $(B)/bench
	@$(CC) $(ALL_CFLAGS) -o $(B)/bench/imap_load bench/imap_load.c -lssl -lcrypto
	@bench/imap.py --build $(B) $(BENCH)

check-clients:
	@scripts/setup $(B) test clients
	@/usr/bin/python3 -m pytest -q -rs -p no:cacheprovider tests/clients

proof:
	@scripts/setup $(B) test
	@KILLS=$(KILLS) CUTS=$(CUTS) SEED=$(SEED) FOLDER=$(FOLDER) PP_BUILD=$(abspath $(B)) /usr/bin/python3 tests/proof.py

# ---- install ----

# Without DESTDIR, as root: also makes the accounts pp-* (ACCOUNTS=no: does not).
INSTALL	= install
man_pages = $(wildcard man/*/*.[1-8])

install: all
	$(INSTALL) -d $(DESTDIR)$(sbindir) $(DESTDIR)$(bindir) $(DESTDIR)$(libexecdir)/pennypost
	$(INSTALL) -m 755 $(B)/bin/pennypost $(DESTDIR)$(sbindir)/pennypost
	ln -sf pennypost $(DESTDIR)$(sbindir)/sendmail
	$(INSTALL) -d $(DESTDIR)$(prefix)/lib
	ln -sf ../sbin/sendmail $(DESTDIR)$(prefix)/lib/sendmail
	ln -sf ../sbin/pennypost $(DESTDIR)$(bindir)/mailq
	ln -sf ../sbin/pennypost $(DESTDIR)$(bindir)/newaliases
	for p in $(DAEMONS) $(HELPERS); do \
		$(INSTALL) -m 755 $(B)/bin/$$p $(DESTDIR)$(libexecdir)/pennypost/$$p || exit 1; done
	for m in $(man_pages); do \
		$(INSTALL) -D -m 644 $$m $(DESTDIR)$(mandir)/man$$(basename $$(dirname $$m))/$$(basename $$m) || exit 1; done
	$(INSTALL) -d $(DESTDIR)$(unitdir) $(DESTDIR)$(prefix)/lib/sysusers.d $(DESTDIR)$(prefix)/lib/tmpfiles.d $(DESTDIR)$(pamdir)
	for u in $(wildcard etc/systemd/*.in); do \
		sed -e 's|@sbindir@|$(sbindir)|g; s|@libexecdir@|$(libexecdir)/pennypost|g; s|@sysconfdir@|$(sysconfdir)|g; s|@localstatedir@|$(localstatedir)|g' \
		$$u > $(DESTDIR)$(unitdir)/$$(basename $$u .in) || exit 1; done
	for f in $(wildcard etc/sysusers.d/*.conf); do $(INSTALL) -m 644 $$f $(DESTDIR)$(prefix)/lib/sysusers.d/; done
	for f in $(wildcard etc/tmpfiles.d/*.conf); do $(INSTALL) -m 644 $$f $(DESTDIR)$(prefix)/lib/tmpfiles.d/; done
	for f in $(wildcard etc/pam.d/*); do $(INSTALL) -m 644 $$f $(DESTDIR)$(pamdir)/; done
	for f in $(wildcard etc/fail2ban/*/*.conf); do $(INSTALL) -D -m 644 $$f $(DESTDIR)$(sysconfdir)/$${f#etc/}; done
	if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ] && [ "$(ACCOUNTS)" != no ]; then scripts/postinstall $(libexecdir)/pennypost $(prefix); fi

clean:
	rm -rf build build-*

distclean: clean
	rm -rf config.mk config.log config.status autom4te.cache

-include $(shell find $(B) -name '*.d' 2>/dev/null)

.PHONY: all tests fuzzers deps run check check-clients proof install clean distclean
