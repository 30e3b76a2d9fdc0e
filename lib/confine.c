#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "confine_policy.h"
#include "log.h"
#include "slice.h"

#define RECORD_MAX	(64 * 1024)
#define CAPS_LAST	63	/* PR_CAPBSET_DROP says EINVAL above the kernel's last */

/* Of this process; a child that confines itself further replaces its parent's. */
static int record_fd = -1;
static ino_t record_ino;

bool
confine_path(struct confine *c, int fd, enum confine_access access)
{
	if (c->path_n == CONFINE_PATHS)
		return false;
	c->path[c->path_n++] = (struct confine_path){ fd, access };
	return true;
}

bool
confine_port(struct confine *c, uint16_t port)
{
	if (c->port_n == CONFINE_PORTS)
		return false;
	c->port[c->port_n++] = port;
	return true;
}

const char *
confine_kind_name(enum confine_kind kind)
{
	return policy_kinds[kind].name;
}

bool
confine_kind_parse(const char *name, enum confine_kind *out)
{
	for (int i = 0; i < CONFINE_KINDS; i++) {
		if (strcmp(policy_kinds[i].name, name) == 0) {
			*out = (enum confine_kind)i;
			return true;
		}
	}
	return false;
}

bool
confine_any_program(enum confine_kind kind)
{
	return policy_kinds[kind].any_program;
}

/* Is row i the first of its call that concerns this kind? */
static bool
first_of_call(const struct policy_rule *rules, size_t i, uint32_t bits)
{
	if (rules[i].nr < 0 || (bits != 0 && (rules[i].kinds & bits) == 0))
		return false;
	for (size_t k = 0; k < i; k++) {
		if (rules[k].nr == rules[i].nr && (bits == 0 || (rules[k].kinds & bits) != 0))
			return false;
	}
	return true;
}

static const struct policy_rule *
rules_of(enum confine_kind kind, size_t *n, uint32_t *bits)
{
	if (policy_kinds[kind].any_program) {
		*n = policy_refused_n;
		*bits = 0;
		return policy_refused;
	}
	*n = policy_rules_n;
	*bits = 1u << kind;
	return policy_rules;
}

size_t
confine_syscalls(enum confine_kind kind)
{
	uint32_t bits;
	size_t rules_n, n = 0;
	const struct policy_rule *rules = rules_of(kind, &rules_n, &bits);

	for (size_t i = 0; i < rules_n; i++)
		n += first_of_call(rules, i, bits) ? 1 : 0;
	return n;
}

static bool
failed(char *why, size_t why_size, const char *what)
{
	(void)snprintf(why, why_size, "%s: %s", what, strerror(errno));
	return false;
}

static void
put_paths(struct buf *out, const struct confine *c)
{
	static const char *const word[] = {
		[ACCESS_READ] = "read", [ACCESS_RUN] = "run", [ACCESS_WRITE] = "write", [ACCESS_ALL] = "all",
	};
	char link[64], target[4096];

	if (policy_kinds[c->kind].everywhere)
		(void)buf_text(out, "all /\n");
	for (size_t i = 0; i < c->path_n; i++) {
		ssize_t n;

		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", c->path[i].fd);
		n = readlink(link, target, sizeof(target));
		(void)buf_fmt(out, "%s %.*s\n", word[c->path[i].access], n < 1 ? 1 : (int)n, n < 1 ? "?" : target);
	}
}

static void
put_network(struct buf *out, const struct confine *c)
{
	if (!policy_kinds[c->kind].network) {
		(void)buf_text(out, "network none\n");
		return;
	}
	(void)buf_text(out, c->port_n == 0 ? "network any" : "network port");
	for (size_t i = 0; i < c->port_n; i++)
		(void)buf_fmt(out, " %u", c->port[i]);
	(void)buf_char(out, '\n');
}

static void
put_calls(struct buf *out, enum confine_kind kind)
{
	uint32_t bits;
	size_t n;
	const struct policy_rule *rules = rules_of(kind, &n, &bits);

	(void)buf_text(out, policy_kinds[kind].any_program ? "refused" : "syscalls");
	for (size_t i = 0; i < n; i++) {
		char *name;

		if (!first_of_call(rules, i, bits))
			continue;
		name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, rules[i].nr);
		(void)buf_fmt(out, " %s", name == NULL ? "?" : name);
		free(name);
	}
	(void)buf_char(out, '\n');
}

static bool
record_open(void)
{
	struct stat st;

	record_fd = memfd_create("pennypost-sandbox", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (record_fd == -1 || fstat(record_fd, &st) != 0)
		return false;
	record_ino = st.st_ino;
	return true;
}

/* The parent's, unless the child has closed it with everything else and the number is another file now. */
static void
record_close(void)
{
	struct stat st;

	if (record_fd != -1 && fstat(record_fd, &st) == 0 && st.st_ino == record_ino)
		(void)close(record_fd);
	record_fd = -1;
}

static bool
record_write(const struct buf *text)
{
	const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

	return write(record_fd, text->ptr, text->len) == (ssize_t)text->len &&
	    fcntl(record_fd, F_ADD_SEALS, seals) == 0;
}

/* Capabilities in all sets become those in keep, as far as we have them: a systemd unit may give fewer. */
static bool
set_caps(uint64_t keep)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) != 0)
		return false;
	for (size_t i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(keep >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, data) == 0;
}

/* What nobody below us can get back.  Without CAP_SETPCAP there is nothing to lose. */
static bool
drop_bounding(uint64_t keep)
{
	for (unsigned long cap = 0; cap <= CAPS_LAST; cap++) {
		if ((keep & (UINT64_C(1) << cap)) == 0 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno == EINVAL)
			break;
	}
	return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0;
}

static bool
drop_ids(const struct confine *c, char *why, size_t why_size)
{
	uid_t r, e, s;
	int death = 0;

	/* The kernel forgets at a change of uid which signal a dead parent means. */
	if (prctl(PR_GET_PDEATHSIG, &death, 0, 0, 0) != 0)
		return failed(why, why_size, "PR_GET_PDEATHSIG");
	if (setgroups(0, NULL) != 0 || setresgid(c->gid, c->gid, c->gid) != 0)
		return failed(why, why_size, "giving up groups");
	if (setresuid(c->uid, c->uid, c->uid) != 0)
		return failed(why, why_size, "giving up the user");
	if (getresuid(&r, &e, &s) != 0 || r != c->uid || e != c->uid || s != c->uid || setresuid((uid_t)-1, 0, (uid_t)-1) == 0) {
		(void)snprintf(why, why_size, "the user could not be given up");
		return false;
	}
	if (prctl(PR_SET_PDEATHSIG, (unsigned long)death, 0, 0, 0) != 0)
		return failed(why, why_size, "PR_SET_PDEATHSIG");
	return true;
}

/* Where it helps and we may.  True if the root is another now. */
static bool
change_root(const struct confine *c)
{
	return policy_kinds[c->kind].folder_root && c->path_n == 1 && landlock_version(c) == 0 &&
	    fchdir(c->path[0].fd) == 0 && chroot(".") == 0 && chdir("/") == 0;
}

/* uid, gid, capabilities, no_new_privs. */
static bool
drop_privileges(const struct confine *c, bool *chrooted, char *why, size_t why_size)
{
	const bool root = geteuid() == 0;
	uint64_t keep = 0;

	if (root && (c->uid == (uid_t)-1 || c->uid == 0)) {
		keep = policy_kinds[c->kind].caps;
		if (keep == 0) {
			(void)snprintf(why, why_size, "%s must not run as root", policy_kinds[c->kind].name);
			return false;
		}
	}
	*chrooted = root && keep == 0 && change_root(c);
	if (root && !drop_bounding(keep))
		return failed(why, why_size, "capabilities");
	if (root && keep == 0 && !drop_ids(c, why, why_size))
		return false;
	if (!set_caps(keep))
		return failed(why, why_size, "capset");
	if (root && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return failed(why, why_size, "PR_SET_DUMPABLE");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return failed(why, why_size, "no_new_privs");
	return true;
}

static bool
set_limits(enum confine_kind kind)
{
	const struct rlimit no_core = { 0, 0 };

#ifndef PP_SANITIZE	/* their shadow memory is terabytes */
	const rlim_t octets = (rlim_t)policy_kinds[kind].memory_mb << 20;
	struct rlimit memory;

	if (octets != 0) {
		if (getrlimit(RLIMIT_AS, &memory) != 0)
			return false;
		if (memory.rlim_max == RLIM_INFINITY || memory.rlim_max > octets)
			memory.rlim_max = octets;
		memory.rlim_cur = memory.rlim_max;
		if (setrlimit(RLIMIT_AS, &memory) != 0)
			return false;
	}
#else
	(void)kind;
#endif
	return setrlimit(RLIMIT_CORE, &no_core) == 0;
}

static bool
apply(const struct confine *c, struct buf *record, char *why, size_t why_size)
{
	bool chrooted;
	size_t calls;
	int abi;

	(void)buf_fmt(record, "kind %s\n", policy_kinds[c->kind].name);
	put_network(record, c);
	put_paths(record, c);	/* names of folders, while we may look at them */
	put_calls(record, c->kind);
	if (!set_limits(c->kind))
		return failed(why, why_size, "setrlimit");
	if (!drop_privileges(c, &chrooted, why, why_size))
		return false;
	abi = landlock_apply(c);
	if (abi == -1)
		return failed(why, why_size, "landlock");
	(void)buf_fmt(record, "landlock %d\nchroot %d\n", abi, chrooted ? 1 : 0);
	/* Made as late as that, so that hardly anybody sees it unfinished. */
	if (record->full || !record_open() || !record_write(record))
		return failed(why, why_size, "record of the sandbox");
	log_say(policy_kinds[c->kind].quiet ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
	    "sandbox: kind=%s uid=%ld chroot=%d seccomp=%zu landlock=%d", policy_kinds[c->kind].name,
	    (long)geteuid(), chrooted ? 1 : 0, confine_syscalls(c->kind), abi);
	return seccomp_apply(c->kind, &calls, why, why_size);
}

bool
confine_apply(const struct confine *c, char *why, size_t why_size)
{
	struct buf record;
	bool ok;

	tzset();	/* the zone file is out of reach later */
	record_close();
	buf_init(&record, RECORD_MAX);
	ok = apply(c, &record, why, why_size);
	buf_clear(&record);
	return ok;
}
