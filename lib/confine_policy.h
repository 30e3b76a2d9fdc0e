/*
 * confine_policy: the one table that says what each kind of process may do.
 * Used by confine*.c alone; others include confine.h.
 */
#ifndef PP_CONFINE_POLICY_H
#define PP_CONFINE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "confine.h"

/*
 * What a system call's arguments must be, beside being on the list.
 * SELF: argument 0 is our own pid (filled in when the filter is made).
 * IS: argument `arg` is `value` (32 bits).  WITHOUT: it has none of the bits in
 * `value`.  HAS: it has them all.
 */
enum policy_test { TEST_NONE, TEST_IS, TEST_WITHOUT, TEST_HAS, TEST_SELF };

struct policy_rule {
	int		 nr;	/* SCMP_SYS(); negative: this machine has no such call */
	uint32_t	 kinds;	/* bit 1 << kind */
	enum policy_test test;
	unsigned	 arg;
	uint64_t	 value;
};

struct policy_kind {
	const char	*name;
	uint64_t	 caps;		/* bits 1 << CAP_x kept when it stays root; 0: it must not be root */
	unsigned	 memory_mb;	/* RLIMIT_AS; 0: as it was */
	bool		 network;	/* may make TCP connections (Landlock) */
	bool		 any_program;	/* runs programs of others: refused calls are listed instead of
					 * allowed ones, and give EPERM, not SIGSYS */
	bool		 quiet;		/* many of them come and go: its sandbox line is for debugging */
	bool		 everywhere;	/* reaches every file: no Landlock */
	bool		 folder_root;	/* where there is no Landlock: the one folder in `path` becomes its root */
};

extern const struct policy_kind policy_kinds[CONFINE_KINDS];
/* The allowed calls of kinds without any_program. */
extern const struct policy_rule policy_rules[];
extern const size_t policy_rules_n;
/* What is refused to kinds with any_program; `kinds` is not looked at. */
extern const struct policy_rule policy_refused[];
extern const size_t policy_refused_n;

/*
 * Landlock by raw system calls (confine_landlock.c).  Returns the version of
 * its interface that was used, 0 if this kernel has none that we can use, -1
 * with errno if it refused.
 */
int landlock_apply(const struct confine *c);
/* The version that landlock_apply() will use. */
int landlock_version(const struct confine *c);

/* Build and load the filter, SIGSYS handler included (confine_seccomp.c).
 * *n: number of calls allowed (any_program: refused). */
bool seccomp_apply(enum confine_kind kind, size_t *n, char *why, size_t why_size);

#endif
