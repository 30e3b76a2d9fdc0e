/* master_caps: the master keeps of root what it and its daemons have a use for. */
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "master.h"

#define CAP(n)	((uint64_t)1 << (n))

/*
 * Folders and maps of other accounts; daemons' uids and chroot; PAM; ports below
 * 1024; giving the rest up (SETPCAP).  All that confine_policy.c lets a parent keep has to be here.
 */
#define KEPT	(CAP(CAP_CHOWN) | CAP(CAP_DAC_OVERRIDE) | CAP(CAP_DAC_READ_SEARCH) | CAP(CAP_FOWNER) | \
		 CAP(CAP_SETUID) | CAP(CAP_SETGID) | CAP(CAP_KILL) | CAP(CAP_AUDIT_WRITE) | \
		 CAP(CAP_NET_BIND_SERVICE) | CAP(CAP_SYS_CHROOT) | CAP(CAP_SETPCAP))

bool
master_reduce_caps(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return false;
	if (geteuid() != 0)
		return true;
	for (int n = 0; n < 64; n++)
		if ((KEPT & CAP(n)) == 0 && prctl(PR_CAPBSET_DROP, n, 0, 0, 0) != 0 && errno != EINVAL)
			return false;
	if (syscall(SYS_capget, &header, data) != 0)
		return false;
	for (int half = 0; half < 2; half++) {
		uint32_t kept = (uint32_t)(KEPT >> (32 * half));

		data[half].effective &= kept;
		data[half].permitted &= kept;
		data[half].inheritable = 0;
	}
	return syscall(SYS_capset, &header, data) == 0;
}
