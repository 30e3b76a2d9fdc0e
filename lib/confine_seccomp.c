/*
 * Makes the filter of a kind out of the table, and says by name which call was
 * refused before the process dies of it.
 */
#include "confine_policy.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "slice.h"

#define NAME_MAX_OCTETS	24
#define CALLS_MAX	512	/* numbers of system calls that get a name */

/*
 * Read by the SIGSYS handler, so it cannot live in the context struct; made once
 * by the first process that confines itself, shared with its children.
 */
static char call_names[CALLS_MAX][NAME_MAX_OCTETS];
static const char *own_kind;

#ifdef PP_SANITIZE
/*
 * What the sanitizers' run time calls, mostly on its way to a report.  Files
 * stay out of reach (EPERM): the report lacks names of functions then.
 */
static const int sanitizer_allowed[] = {
	SCMP_SYS(sched_yield), SCMP_SYS(sigaltstack), SCMP_SYS(gettid), SCMP_SYS(madvise), SCMP_SYS(mprotect),
	SCMP_SYS(rt_sigaction), SCMP_SYS(getrusage), SCMP_SYS(prlimit64), SCMP_SYS(getuid), SCMP_SYS(geteuid),
	SCMP_SYS(writev), SCMP_SYS(fstat), SCMP_SYS(lseek), SCMP_SYS(getppid), SCMP_SYS(gettimeofday),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(clock_nanosleep), SCMP_SYS(exit), SCMP_SYS(restart_syscall), SCMP_SYS(ioctl), SCMP_SYS(tgkill),
};
static const int sanitizer_refused[] = {
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(stat),
	SCMP_SYS(newfstatat), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(pipe2), SCMP_SYS(pipe),
	SCMP_SYS(getcwd), SCMP_SYS(personality), SCMP_SYS(sysinfo), SCMP_SYS(sched_getaffinity),
	SCMP_SYS(process_vm_readv),
};
#endif

/* Async-signal-safe; the machine is in whatever state the refused call found it. */
static void
say_refused(int sig, siginfo_t *info, void *context)
{
	char line[128];
	size_t len = 0;
	const char *part[] = { "sandbox: kind=", own_kind, " system call refused: ", "unknown" };

	(void)sig;
	(void)context;
	if (info->si_syscall >= 0 && info->si_syscall < CALLS_MAX && call_names[info->si_syscall][0] != '\0')
		part[3] = call_names[info->si_syscall];
	for (size_t i = 0; i < LEN(part); i++) {
		for (const char *p = part[i]; *p != '\0' && len < sizeof(line) - 1; p++)
			line[len++] = *p;
	}
	line[len] = '\0';
	log_signal_safe(line);
	/* SIGSYS is blocked in here: a further refusal is death by SIGSYS, without raise(). */
	(void)syscall(SYS_reboot, 0, 0, 0, NULL);
	_exit(128 + SIGSYS);
}

static void
name_calls(void)
{
	if (call_names[0][0] != '\0')
		return;
	for (int i = 0; i < CALLS_MAX; i++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);

		if (name != NULL)
			(void)snprintf(call_names[i], NAME_MAX_OCTETS, "%s", name);
		free(name);
	}
}

static int
add_rule(scmp_filter_ctx ctx, uint32_t action, const struct policy_rule *r)
{
	struct scmp_arg_cmp test = { r->arg, SCMP_CMP_MASKED_EQ, r->value, 0 };

	if (r->nr < 0)
		return 0;
	switch (r->test) {
	case TEST_NONE:
		return seccomp_rule_add_array(ctx, action, r->nr, 0, NULL);
	case TEST_IS:
		test.datum_a = UINT32_MAX;	/* the kernel looks at 32 bits of these */
		test.datum_b = r->value;
		break;
	case TEST_WITHOUT:
		break;
	case TEST_HAS:
		test.datum_b = r->value;
		break;
	case TEST_SELF:
		test.datum_a = UINT32_MAX;
		test.datum_b = (scmp_datum_t)getpid();
		break;
	}
	return seccomp_rule_add_array(ctx, action, r->nr, 1, &test);
}

#ifdef PP_SANITIZE
/* Has the kind a rule for this call?  A refusal without conditions would win over it. */
static bool
has_rule(int nr, uint32_t bit)
{
	for (size_t i = 0; i < policy_rules_n; i++)
		if (policy_rules[i].nr == nr && (policy_rules[i].kinds & bit) != 0)
			return true;
	return false;
}
#endif

static int
add_sanitizer(scmp_filter_ctx ctx, uint32_t bit)
{
	int rc = 0;

#ifdef PP_SANITIZE
	for (size_t i = 0; i < LEN(sanitizer_allowed) && rc == 0; i++) {
		if (sanitizer_allowed[i] >= 0)
			rc = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, sanitizer_allowed[i], 0, NULL);
	}
	for (size_t i = 0; i < LEN(sanitizer_refused) && rc == 0; i++) {
		if (sanitizer_refused[i] >= 0 && !has_rule(sanitizer_refused[i], bit))
			rc = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EPERM), sanitizer_refused[i], 0, NULL);
	}
#else
	(void)ctx;
	(void)bit;
#endif
	return rc;
}

static int
add_rules(scmp_filter_ctx ctx, enum confine_kind kind)
{
	const uint32_t bit = 1u << kind;
	int rc = 0;

	if (policy_kinds[kind].any_program) {
		for (size_t i = 0; i < policy_refused_n && rc == 0; i++)
			rc = add_rule(ctx, SCMP_ACT_ERRNO(EPERM), &policy_refused[i]);
	} else {
		for (size_t i = 0; i < policy_rules_n && rc == 0; i++) {
			if ((policy_rules[i].kinds & bit) != 0)
				rc = add_rule(ctx, SCMP_ACT_ALLOW, &policy_rules[i]);
		}
		if (rc == 0)
			rc = add_sanitizer(ctx, bit);
	}
	/* Its flags are behind a pointer that a filter cannot follow; glibc then takes clone(). */
	if (rc == 0)
		rc = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
	return rc;
}

static int
load(enum confine_kind kind)
{
	uint32_t otherwise = policy_kinds[kind].any_program ? SCMP_ACT_ALLOW : SCMP_ACT_TRAP;
	scmp_filter_ctx ctx = seccomp_init(otherwise);
	int rc;

	if (ctx == NULL)
		return -ENOMEM;
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);	/* is on already */
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);	/* a tree, not a list */
	if (rc == 0)
		rc = add_rules(ctx, kind);
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	return rc;
}

bool
seccomp_apply(enum confine_kind kind, size_t *n, char *why, size_t why_size)
{
	struct sigaction act = { .sa_sigaction = say_refused, .sa_flags = SA_SIGINFO };
	int rc;

	name_calls();
	own_kind = policy_kinds[kind].name;
	*n = confine_syscalls(kind);
	(void)sigemptyset(&act.sa_mask);
	if (!policy_kinds[kind].any_program && sigaction(SIGSYS, &act, NULL) != 0) {
		(void)snprintf(why, why_size, "sigaction: %s", strerror(errno));
		return false;
	}
	rc = load(kind);
	if (rc != 0)
		(void)snprintf(why, why_size, "seccomp: %s", strerror(-rc));
	return rc == 0;
}
