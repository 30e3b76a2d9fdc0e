/*
 * run_files: what the master leaves in run_dir so that others find this suite's
 * processes and no others: pennypost.pid, locked as long as the master lives,
 * and pennypost.processes, one line a process that leads a session.
 *
 * pennypost.processes:	boot UUID-OF-THIS-BOOT
 *			master PID START
 *			smtpd PID START ...
 */
#ifndef PP_RUN_FILES_H
#define PP_RUN_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proc.h"
#include "slice.h"

#define RUN_PROCESSES 128

struct run_process {
	char		name[32];
	pid_t		pid;
	uint64_t	start;
};
struct run_list {
	struct run_process	at[RUN_PROCESSES];
	size_t			n;
};

/*
 * Lock RUN_DIR/pennypost.pid and return its descriptor; -1 with EWOULDBLOCK
 * if a master lives (its pid is then in *pid, 0 if unknown).
 */
int run_lock(int run_dirfd, pid_t *pid);
/* 0: nobody holds the lock; else the master's pid, -1 when it is not written yet. */
pid_t run_locked_by(int run_dirfd);
/* Write our pid into the locked file. */
bool run_lock_write(int fd);

/* Pure: the text of pennypost.processes; false if it is of another boot or malformed. */
bool run_list_parse(struct slice text, const char *boot_id, struct run_list *out);

/* Write and read the list; read gives an empty one when there is none of this boot. */
bool run_list_write(int run_dirfd, const struct run_list *list);
bool run_list_read(int run_dirfd, struct run_list *out);

/* Mark (picked) what belongs to the suite: leaders that still are who they were, their sessions, their children. */
size_t run_list_pick(const struct run_list *list, struct proc *all, size_t n);

/*
 * End what a killed master left behind: SIGTERM, after wait_ms SIGKILL, and
 * wait until all are gone.  Returns how many there were; *left those that stayed.
 */
size_t run_list_end(const struct run_list *list, int wait_ms, size_t *left);

#endif
