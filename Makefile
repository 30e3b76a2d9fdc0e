# Pennypost.  make run: a demo suite in the foreground; make check: every test.
# Folder = binary: build/bin/NAME is made of NAME/*.c and lib/.

B		?= build
DAEMONS		= smtpd queue deliver relay auth imapd pop3d
LIB_DIRS	= lib lib/store lib/mime lib/login

.DEFAULT_GOAL := all

ifeq ($(filter deps bootstrap run check distclean bench clean,$(MAKECMDGOALS)),)
include config.mk
endif
ifneq ($(wildcard config.mk),)
include config.mk
endif

DEFS	= -D_GNU_SOURCE -DPP_VERSION='"$(VERSION)"' -DPP_SYSCONFDIR='"$(sysconfdir)"' \
	  -DPP_LIBEXECDIR='"$(libexecdir)/pennypost"' -DPP_LOCALSTATEDIR='"$(localstatedir)"' \
	  -DPP_RUNSTATEDIR='"$(runstatedir)"'
HARDEN	= -D_FORTIFY_SOURCE=3
ifeq ($(SAN),1)
HARDEN	= -U_FORTIFY_SOURCE -DPP_SANITIZE -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif
ALL_CFLAGS = -std=gnu17 $(CFLAGS) $(PP_CFLAGS) $(WERROR) $(HARDEN) $(DEFS) -Ilib -I. -MMD -MP
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--gc-sections -Wl,--as-needed $(filter -fsanitize=%,$(HARDEN)) $(LDFLAGS)
LIBS	= -lssl -lcrypto -levent_core -lconfuse -lseccomp -lcdb -lunistring

LIBS_queue	= -ldb
LIBS_auth	= -ldb -lpam -lcrypt
LIBS_relay	= -lunbound
LIBS_pennypost	= -ljansson -lcrypt

lib_src	= $(foreach d,$(LIB_DIRS),$(wildcard $(d)/*.c))
lib_obj	= $(lib_src:%.c=$(B)/%.o)

all: $(DAEMONS:%=$(B)/bin/%) $(B)/bin/pennypost $(B)/bin/sendmail $(B)/bin/mailq $(B)/bin/newaliases

config.mk: configure config.mk.in
	./configure $(CONFIGURE_FLAGS)

configure: configure.ac
	autoconf

$(B)/%.o: %.c config.mk
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/libpennypost.a: $(lib_obj)
	@rm -f $@
	$(AR) rcs $@ $^

define daemon_rule
$(B)/bin/$(1): $$(patsubst %.c,$(B)/%.o,$$(wildcard $(1)/*.c)) $(B)/libpennypost.a
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $$(LIBS) $$(LIBS_$(1))
endef
$(foreach d,$(DAEMONS) pennypost,$(eval $(call daemon_rule,$(d))))

# One binary, named by argv[0] (CONVENTIONS: mailq and newaliases are sendmail).
$(B)/bin/sendmail $(B)/bin/mailq $(B)/bin/newaliases: $(B)/bin/pennypost
	ln -sf pennypost $@

# Unit tests: tests/unit/test_X.c, one program each; those of a daemon's own
# modules link that daemon's objects except main.o (test_smtpd_*.c -> smtpd/).
unit_src = $(wildcard tests/unit/test_*.c)
unit_bin = $(unit_src:tests/unit/%.c=$(B)/tests/%)
test_daemon = $(firstword $(filter $(DAEMONS) pennypost,$(subst _, ,$(1))))
test_objs = $(patsubst %.c,$(B)/%.o,$(filter-out %/main.c,$(wildcard $(call test_daemon,$(1))/*.c)))
.SECONDEXPANSION:
$(B)/tests/test_%: $(B)/tests/unit/test_%.o $$(if $$(call test_daemon,$$*),$$(call test_objs,$$*)) $(B)/libpennypost.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(LIBS) $(LIBS_$(call test_daemon,$*)) -ljansson -lcrypt

unit: $(unit_bin)
	@for t in $(unit_bin); do $$t || exit 1; done

clean:
	rm -rf build build-*

-include $(shell find $(B) -name '*.d' 2>/dev/null)

.PHONY: all clean unit
