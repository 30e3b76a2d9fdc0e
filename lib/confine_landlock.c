/*
 * Landlock by raw system calls: which folders a process can reach, and whether
 * it can make TCP connections.  The constants are written out because the
 * headers of Debian 12 know the interface of 6.1 only, and the kernel may be newer.
 */
#include "confine_policy.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LL_EXECUTE	(UINT64_C(1) << 0)
#define LL_WRITE_FILE	(UINT64_C(1) << 1)
#define LL_READ_FILE	(UINT64_C(1) << 2)
#define LL_READ_DIR	(UINT64_C(1) << 3)
#define LL_REMOVE_DIR	(UINT64_C(1) << 4)
#define LL_REMOVE_FILE	(UINT64_C(1) << 5)
#define LL_MAKE_CHAR	(UINT64_C(1) << 6)
#define LL_MAKE_DIR	(UINT64_C(1) << 7)
#define LL_MAKE_REG	(UINT64_C(1) << 8)
#define LL_MAKE_SOCK	(UINT64_C(1) << 9)
#define LL_MAKE_FIFO	(UINT64_C(1) << 10)
#define LL_MAKE_BLOCK	(UINT64_C(1) << 11)
#define LL_MAKE_SYM	(UINT64_C(1) << 12)
#define LL_REFER	(UINT64_C(1) << 13)	/* since ABI 2: rename to another folder */
#define LL_TRUNCATE	(UINT64_C(1) << 14)	/* since ABI 3 */
#define LL_IOCTL_DEV	(UINT64_C(1) << 15)	/* since ABI 5 */
#define LL_BIND_TCP	(UINT64_C(1) << 0)	/* since ABI 4 */
#define LL_CONNECT_TCP	(UINT64_C(1) << 1)
#define LL_SCOPE_ABSTRACT (UINT64_C(1) << 0)	/* since ABI 6 */
#define LL_SCOPE_SIGNAL	(UINT64_C(1) << 1)

#define LL_READ		(LL_READ_FILE | LL_READ_DIR)
#define LL_WRITE	(LL_READ | LL_WRITE_FILE | LL_REMOVE_DIR | LL_REMOVE_FILE | LL_MAKE_DIR | \
			 LL_MAKE_REG | LL_MAKE_SYM | LL_MAKE_FIFO | LL_MAKE_SOCK | LL_REFER | LL_TRUNCATE)
#define LL_OF_FILE	(LL_EXECUTE | LL_WRITE_FILE | LL_READ_FILE | LL_TRUNCATE | LL_IOCTL_DEV)

#define LL_VERSION	1u
#define LL_RULE_PATH	1
#define LL_RULE_PORT	2

struct ll_ruleset {	/* struct landlock_ruleset_attr of ABI 6 */
	uint64_t	fs, net, scoped;
};
struct ll_path {	/* struct landlock_path_beneath_attr: packed in the kernel, 12 octets */
	uint64_t	allowed;
	int32_t		fd;
} __attribute__((packed));
struct ll_port {	/* struct landlock_net_port_attr */
	uint64_t	allowed, port;
};

/* Every right on files that this version knows. */
static uint64_t
fs_rights(int abi)
{
	static const int last_bit[] = { 0, 12, 13, 14, 14, 15 };
	int bit = last_bit[abi < 5 ? abi : 5];

	return (UINT64_C(1) << (bit + 1)) - 1;
}

static bool
writes_somewhere(const struct confine *c)
{
	for (size_t i = 0; i < c->path_n; i++) {
		if (c->path[i].access == ACCESS_WRITE || c->path[i].access == ACCESS_ALL)
			return true;
	}
	return false;
}

static bool
add_path(int ruleset, const struct confine_path *p, uint64_t handled)
{
	static const uint64_t rights[] = {
		[ACCESS_READ] = LL_READ, [ACCESS_RUN] = LL_READ | LL_EXECUTE,
		[ACCESS_WRITE] = LL_WRITE, [ACCESS_ALL] = UINT64_MAX,
	};
	struct ll_path rule = { .allowed = rights[p->access] & handled, .fd = p->fd };
	struct stat st;

	if (fstat(p->fd, &st) != 0)
		return false;
	if (!S_ISDIR(st.st_mode))
		rule.allowed &= LL_OF_FILE;
	return syscall(SYS_landlock_add_rule, ruleset, LL_RULE_PATH, &rule, 0) == 0;
}

static bool
add_rules(int ruleset, const struct confine *c, const struct ll_ruleset *handled)
{
	for (size_t i = 0; i < c->path_n; i++) {
		if (!add_path(ruleset, &c->path[i], handled->fs))
			return false;
	}
	for (size_t i = 0; i < c->port_n && handled->net != 0; i++) {
		struct ll_port rule = { LL_CONNECT_TCP, c->port[i] };

		if (syscall(SYS_landlock_add_rule, ruleset, LL_RULE_PORT, &rule, 0) != 0)
			return false;
	}
	return true;
}

int
landlock_version(const struct confine *c)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LL_VERSION);

	/* ABI 1 (before 5.19) refuses every rename to another folder: Maildir lives by them. */
	return abi < 1 || (abi == 1 && writes_somewhere(c)) ? 0 : (int)abi;
}

int
landlock_apply(const struct confine *c)
{
	const struct policy_kind *kind = &policy_kinds[c->kind];
	const int abi = landlock_version(c);
	struct ll_ruleset handled = { 0 };
	size_t size = sizeof(uint64_t);
	int ruleset, saved;

	if (abi == 0 || kind->everywhere)
		return 0;
	handled.fs = fs_rights(abi);
	if (abi >= 4) {
		size = 2 * sizeof(uint64_t);
		if (!kind->network)
			handled.net = LL_BIND_TCP | LL_CONNECT_TCP;
		else if (!kind->any_program)
			handled.net = LL_BIND_TCP | (c->port_n > 0 ? LL_CONNECT_TCP : 0);
	}
	if (abi >= 6) {
		size = sizeof(handled);
		if (!kind->any_program)
			handled.scoped = LL_SCOPE_ABSTRACT | LL_SCOPE_SIGNAL;
	}
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, size, 0);
	if (ruleset == -1)
		return -1;
	if (!add_rules(ruleset, c, &handled) || syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
		saved = errno;
		(void)close(ruleset);
		errno = saved;
		return -1;
	}
	(void)close(ruleset);
	return abi;
}
