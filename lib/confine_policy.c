/*
 * The table of system calls: one row a call and a condition, with the kinds of
 * process that may make it.  Rows of the same call add up.  A process killed
 * by SIGSYS logs the name of the call that is missing here.
 */
#include "confine_policy.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define CAP(c)	(UINT64_C(1) << (c))
#define CAPS_PARENT	(CAP(CAP_SETUID) | CAP(CAP_SETGID) | CAP(CAP_KILL) | CAP(CAP_SYS_CHROOT))
#define CAPS_PAM	(CAP(CAP_SETUID) | CAP(CAP_SETGID) | CAP(CAP_KILL) | CAP(CAP_DAC_READ_SEARCH) | \
			 CAP(CAP_DAC_OVERRIDE) | CAP(CAP_AUDIT_WRITE))

/* Folders and maps of other accounts; daemons' uids and chroot; PAM; ports below 1024; giving the rest up
 * (SETPCAP).  All that another kind keeps has to be here. */
#define CAPS_MASTER	(CAPS_PARENT | CAPS_PAM | CAP(CAP_CHOWN) | CAP(CAP_FOWNER) | CAP(CAP_NET_BIND_SERVICE) | \
			 CAP(CAP_SETPCAP))

const struct policy_kind policy_kinds[CONFINE_KINDS] = {
	[CONFINE_SMTPD]		 = { .name = "smtpd", .memory_mb = 2048 },
	[CONFINE_SMTPD_PARENT]	 = { .name = "smtpd-parent" },
	[CONFINE_LOGIN]		 = { .name = "login", .memory_mb = 2048 },
	[CONFINE_BROKER]	 = { .name = "broker", .memory_mb = 256 },
	[CONFINE_QUEUE]		 = { .name = "queue", .memory_mb = 8192 },
	[CONFINE_DELIVER]	 = { .name = "deliver", .memory_mb = 2048, .folder_root = true },
	[CONFINE_DELIVER_PARENT] = { .name = "deliver-parent", .caps = CAPS_PARENT, .network = true,
	    .any_program = true },
	[CONFINE_RELAY]		 = { .name = "relay", .memory_mb = 2048, .network = true },
	[CONFINE_AUTH]		 = { .name = "auth", .memory_mb = 1024 },
	[CONFINE_AUTH_PARENT]	 = { .name = "auth-parent", .caps = CAPS_PAM, .network = true, .any_program = true },
	[CONFINE_AUTH_SPAWN]	 = { .name = "auth-spawn" },
	[CONFINE_AUTH_CRYPT]	 = { .name = "auth-crypt", .memory_mb = 1024 },
	[CONFINE_AUTH_PAM]	 = { .name = "auth-pam", .caps = CAPS_PAM, .memory_mb = 1024, .network = true,
	    .any_program = true, .quiet = true },
	[CONFINE_LOGIN_PARENT]	 = { .name = "login-parent", .caps = CAPS_PARENT },
	[CONFINE_IMAP_USER]	 = { .name = "imap-user", .memory_mb = 4096, .quiet = true, .folder_root = true },
	[CONFINE_POP3_USER]	 = { .name = "pop3-user", .memory_mb = 2048, .quiet = true, .folder_root = true },
	[CONFINE_LOGGER]	 = { .name = "logger", .caps = CAP(CAP_SETGID), .memory_mb = 256 },
	[CONFINE_MASTER]	 = { .name = "master", .caps = CAPS_MASTER, .network = true, .any_program = true,
	    .everywhere = true },
};

#define K(kind)		(1u << CONFINE_##kind)
#define ALL		((1u << CONFINE_KINDS) - 1)
#define FRONT		(K(SMTPD) | K(LOGIN))
#define PARENT		(K(LOGIN_PARENT) | K(SMTPD_PARENT) | K(AUTH_SPAWN))	/* the others run any program */
#define USER		(K(IMAP_USER) | K(POP3_USER) | K(LOGIN_PARENT))	/* a filter is kept in children */
#define STORE		(USER | K(DELIVER))
#define DATABASE	(K(QUEUE) | K(AUTH))	/* these have a Berkeley DB environment */
#define FILES		(STORE | DATABASE)
#define LOOP		(ALL & ~(K(BROKER) | K(AUTH_CRYPT) | K(LOGGER)))
/* Those that strangers talk to, and those so small that it costs nothing. */
#define TIGHT		(FRONT | K(BROKER) | K(AUTH_CRYPT))
#define PLAIN		(ALL & ~TIGHT)
#ifdef __NR_epoll_wait
#define LOOP_PWAIT	0
#else
#define LOOP_PWAIT	LOOP
#endif
#define CONNECTS	(K(BROKER) | K(DELIVER) | K(RELAY) | K(LOGIN_PARENT) | K(SMTPD_PARENT))	/* Unix sockets */

#define CLONE_REFUSED	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
			 CLONE_NEWPID | CLONE_NEWNET | CLONE_THREAD | CLONE_VM | CLONE_PTRACE)
#define CALL(name, kinds)			{ SCMP_SYS(name), (kinds), TEST_NONE, 0, 0 }
#define CALL_IS(name, kinds, arg, value)	{ SCMP_SYS(name), (kinds), TEST_IS, (arg), (value) }
#define CALL_WITHOUT(name, kinds, arg, bits)	{ SCMP_SYS(name), (kinds), TEST_WITHOUT, (arg), (bits) }
#define CALL_WITH(name, kinds, arg, bits)	{ SCMP_SYS(name), (kinds), TEST_HAS, (arg), (bits) }
#define CALL_SELF(name, kinds)			{ SCMP_SYS(name), (kinds), TEST_SELF, 0, 0 }

#define FCNTL(cmd, kinds)	CALL_IS(fcntl, kinds, 1, cmd)
#define SOCKOPT(level, kinds)	CALL_IS(setsockopt, kinds, 1, level)

const struct policy_rule policy_rules[] = {
	/* Everybody: octets in and out, memory that cannot be run, the end. */
	CALL(read, ALL),
	CALL(write, ALL),
	CALL(close, ALL),
	CALL(recvmsg, ALL),
	CALL(sendmsg, ALL),
	CALL(exit_group, ALL),
	CALL(rt_sigreturn, ALL),
	CALL(brk, ALL),
	CALL_WITHOUT(mmap, ALL, 2, PROT_EXEC),
	CALL(munmap, ALL),
	CALL(mremap, ALL),
	CALL(futex, ALL),			/* OpenSSL's locks */
	CALL(getpid, ALL),			/* OpenSSL's generator looks for forks; the log */
	CALL(getrandom, ALL),
	CALL(clock_gettime, ALL),		/* where the vDSO cannot answer */

	/* In a tight one abort() ends as a refused writev, rt_sigprocmask or gettid: no message, same death. */
	CALL(writev, PLAIN),
	CALL(rt_sigprocmask, PLAIN),
	CALL(gettid, PLAIN),
	CALL_SELF(tgkill, PLAIN),
	CALL(rt_sigaction, PLAIN),
	CALL(restart_syscall, PLAIN | K(BROKER) | K(AUTH_CRYPT)),	/* poll() after a SIGSTOP */
	CALL(poll, PLAIN | K(BROKER) | K(AUTH_CRYPT)),
	CALL_WITHOUT(mprotect, PLAIN, 2, PROT_EXEC),
	CALL(madvise, PLAIN),
	CALL(gettimeofday, PLAIN),
	FCNTL(F_GETFL, PLAIN), FCNTL(F_SETFL, PLAIN), FCNTL(F_GETFD, PLAIN), FCNTL(F_SETFD, PLAIN),
	FCNTL(F_DUPFD_CLOEXEC, PLAIN),
	CALL(getuid, PARENT), CALL(getgid, PARENT), CALL(getegid, PARENT),
	CALL(geteuid, PARENT | DATABASE),
	CALL(clock_nanosleep, DATABASE | STORE),

	/* The event loop. */
	CALL(epoll_wait, LOOP),
	CALL(epoll_pwait, LOOP_PWAIT),
	CALL(epoll_ctl, LOOP),
	CALL(epoll_create1, PARENT), CALL(pipe2, PARENT | K(QUEUE)), CALL(signalfd4, PARENT),
	CALL_IS(socketpair, PARENT | K(QUEUE), 0, AF_UNIX),

	/* Connections that exist. */
	CALL(accept4, FRONT | PARENT | DATABASE),
	CALL(shutdown, FRONT | PARENT | USER | K(RELAY)),	/* the peer still sends when we end */
	CALL(getsockname, FRONT | PARENT), CALL(getpeername, FRONT | PARENT),
	CALL(getsockopt, DATABASE | K(RELAY)),
	SOCKOPT(SOL_SOCKET, ALL & ~K(AUTH_CRYPT)),
	SOCKOPT(IPPROTO_TCP, FRONT | PARENT | K(RELAY)),
	CALL(recvfrom, K(RELAY)), CALL(sendto, K(RELAY) | K(DELIVER)),

	/* New connections.  Fronts have none of these: they ask their broker. */
	CALL_IS(socket, CONNECTS, 0, AF_UNIX),
	CALL_IS(socket, K(RELAY), 0, AF_INET),
	CALL_IS(socket, K(RELAY), 0, AF_INET6),
	CALL(connect, CONNECTS),
	CALL(bind, K(RELAY)),			/* the resolver's random ports */
	SOCKOPT(IPPROTO_IP, K(RELAY)), SOCKOPT(IPPROTO_IPV6, K(RELAY)), SOCKOPT(IPPROTO_UDP, K(RELAY)),
	CALL(sendmmsg, K(RELAY)), CALL(recvmmsg, K(RELAY)), CALL(readv, K(RELAY)),
	CALL(chdir, PARENT), CALL(fchdir, CONNECTS | STORE | PARENT),	/* ipc_connect() */

	/* Files, below what Landlock leaves. */
	CALL(openat, FILES | CONNECTS | K(LOGGER)),
	CALL(newfstatat, FILES | PARENT | K(RELAY) | K(LOGGER)),
	CALL(fstat, FILES | K(SMTPD) | PARENT | CONNECTS | K(LOGGER)),
	CALL(lseek, FILES | K(SMTPD_PARENT) | K(RELAY) | K(LOGGER)),
	CALL(pread64, FILES | K(SMTPD) | K(SMTPD_PARENT) | K(RELAY)),
	CALL(pwrite64, FILES), CALL(pwritev, K(QUEUE)),
	CALL(ftruncate, FILES), CALL(fallocate, STORE | K(QUEUE)),
	CALL(fsync, FILES), CALL(fdatasync, FILES),
	CALL(sync_file_range, K(QUEUE) | STORE), CALL(syncfs, STORE),
	CALL(getdents64, FILES),
	CALL(mkdirat, STORE | K(QUEUE)), CALL(unlinkat, FILES),
	CALL(linkat, STORE | K(QUEUE)),
	CALL(renameat, STORE | K(QUEUE)), CALL(renameat2, STORE | K(QUEUE)),
	CALL(utimensat, STORE),
	CALL(fchmod, STORE | K(QUEUE)),
	CALL(fstatfs, K(QUEUE)),
	CALL(flock, FILES),
	FCNTL(F_SETLK, FILES), FCNTL(F_SETLKW, FILES), FCNTL(F_GETLK, FILES),
	FCNTL(F_ADD_SEALS, FILES | PARENT), FCNTL(F_GET_SEALS, FILES),
	CALL(memfd_create, PARENT | K(QUEUE) | K(DELIVER)),	/* content handed on by descriptor; our own record */
	CALL_IS(ioctl, K(LOGIN_PARENT), 1, FIONREAD),	/* of parked sessions: only its end to be read? */
	CALL(inotify_init1, USER), CALL(inotify_add_watch, USER | K(QUEUE)), CALL(inotify_rm_watch, USER | K(QUEUE)),
	/* qsort() asks how much memory there is. */
	CALL(sysinfo, ALL & ~TIGHT),
	/* Berkeley DB works with paths below its home, and asks how many processors there are. */
	CALL(access, DATABASE), CALL(unlink, DATABASE), CALL(rename, DATABASE), CALL(mkdir, DATABASE),
	CALL(getcwd, DATABASE), CALL(readlink, DATABASE | PARENT),
	CALL(pselect6, DATABASE), CALL(sched_yield, DATABASE),
	CALL(times, DATABASE), CALL(getrusage, DATABASE), CALL(sched_getaffinity, DATABASE),

	/* Children: forked, confined in their turn, watched; never another program. */
	CALL_WITHOUT(clone, PARENT | K(QUEUE), 0, CLONE_REFUSED),	/* queue: its tracer */
	CALL(set_robust_list, PARENT | K(QUEUE)), CALL(rseq, PARENT | K(QUEUE)),
	CALL(wait4, PARENT | K(QUEUE)), CALL(kill, PARENT), CALL_IS(kill, K(QUEUE), 1, SIGTERM),
	CALL_IS(kill, K(QUEUE), 1, SIGKILL),
	CALL(setpriority, K(QUEUE)),		/* its tracer runs behind everything */
	CALL(dup2, PARENT), CALL(dup3, PARENT),
	CALL(close_range, PARENT | K(QUEUE)),
	CALL(setresuid, PARENT), CALL(setresgid, PARENT), CALL(setgroups, PARENT), CALL(chroot, PARENT),
	CALL(getresuid, PARENT), CALL(capset, PARENT), CALL(capget, PARENT), CALL(prlimit64, PARENT | DATABASE),
	CALL(landlock_create_ruleset, PARENT), CALL(landlock_add_rule, PARENT),
	CALL(landlock_restrict_self, PARENT),
	CALL(seccomp, PARENT),
	CALL_IS(prctl, PARENT, 0, PR_SET_DUMPABLE), CALL_IS(prctl, PARENT, 0, PR_SET_NO_NEW_PRIVS),
	CALL_IS(prctl, PARENT, 0, PR_CAPBSET_DROP), CALL_IS(prctl, PARENT, 0, PR_CAP_AMBIENT),
	CALL_IS(prctl, PARENT | K(QUEUE), 0, PR_SET_PDEATHSIG), CALL_IS(prctl, PARENT, 0, PR_GET_PDEATHSIG),
	CALL_IS(prctl, PARENT, 0, PR_GET_SECCOMP), CALL_IS(prctl, PARENT, 0, PR_SET_SECCOMP),
	CALL_IS(prctl, PARENT | K(QUEUE), 0, PR_SET_NAME),
};
const size_t policy_rules_n = sizeof(policy_rules) / sizeof(policy_rules[0]);

/*
 * Refused to processes that run programs of others (alias commands, PAM
 * helpers): what an ordinary program never needs and a break-out does.
 */
const struct policy_rule policy_refused[] = {
	CALL(ptrace, 0), CALL(process_vm_readv, 0), CALL(process_vm_writev, 0), CALL(process_madvise, 0),
	CALL(pidfd_getfd, 0), CALL(kcmp, 0),
	CALL(bpf, 0), CALL(perf_event_open, 0), CALL(userfaultfd, 0),
	CALL(io_uring_setup, 0), CALL(io_uring_enter, 0), CALL(io_uring_register, 0),
	CALL(keyctl, 0), CALL(add_key, 0), CALL(request_key, 0),
	CALL_WITH(clone, 0, 0, CLONE_NEWNS), CALL_WITH(clone, 0, 0, CLONE_NEWCGROUP),
	CALL_WITH(clone, 0, 0, CLONE_NEWUTS), CALL_WITH(clone, 0, 0, CLONE_NEWIPC),
	CALL_WITH(clone, 0, 0, CLONE_NEWUSER), CALL_WITH(clone, 0, 0, CLONE_NEWPID),
	CALL_WITH(clone, 0, 0, CLONE_NEWNET),
	CALL(unshare, 0), CALL(setns, 0), CALL(pivot_root, 0),
	CALL(mount, 0), CALL(umount2, 0), CALL(move_mount, 0), CALL(open_tree, 0), CALL(mount_setattr, 0),
	CALL(fsopen, 0), CALL(fsconfig, 0), CALL(fsmount, 0), CALL(fspick, 0),
	CALL(swapon, 0), CALL(swapoff, 0), CALL(quotactl, 0), CALL(quotactl_fd, 0), CALL(acct, 0),
	CALL(init_module, 0), CALL(finit_module, 0), CALL(delete_module, 0),
	CALL(kexec_load, 0), CALL(kexec_file_load, 0), CALL(reboot, 0),
	CALL(syslog, 0), CALL(vhangup, 0), CALL(iopl, 0), CALL(ioperm, 0), CALL(modify_ldt, 0),
	CALL(settimeofday, 0), CALL(clock_settime, 0), CALL(clock_adjtime, 0), CALL(adjtimex, 0),
	CALL(sethostname, 0), CALL(setdomainname, 0), CALL(personality, 0),
	CALL(name_to_handle_at, 0), CALL(open_by_handle_at, 0), CALL(fanotify_init, 0),
	CALL(mknod, 0), CALL(lookup_dcookie, 0), CALL(migrate_pages, 0), CALL(move_pages, 0),
	CALL_IS(ioctl, 0, 1, TIOCSTI), CALL_IS(ioctl, 0, 1, TIOCLINUX),
	CALL_IS(socket, 0, 0, AF_PACKET), CALL_IS(socket, 0, 0, AF_VSOCK), CALL_IS(socket, 0, 0, AF_ALG),
};
const size_t policy_refused_n = sizeof(policy_refused) / sizeof(policy_refused[0]);
