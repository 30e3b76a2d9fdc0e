/*
 * proc: what /proc says about processes, and killing exactly one of them.
 *
 * A pid alone may be another process a moment later; a pid with its start time
 * (clock ticks since boot, field 22 of /proc/PID/stat) is one process for good.
 */
#ifndef PP_PROC_H
#define PP_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "slice.h"

struct proc {
	pid_t		pid, ppid, session;
	uint64_t	start;		/* ticks since boot */
	char		state;		/* 'Z': ended, not reaped */
	char		name[32];
	bool		picked;		/* for the caller */
};

/* A line of /proc/PID/stat.  The name may hold blanks and parentheses. */
bool proc_parse(struct slice stat, struct proc *out);

/* One process; false if there is none. */
bool proc_read(pid_t pid, struct proc *out);

/* All processes, malloc'd; NULL and *n = 0 without memory or /proc. */
struct proc *proc_all(size_t *n);

/* Send a signal to this very process; true if it was there. */
bool proc_kill(pid_t pid, uint64_t start, int signal);

/* The text of /proc/PID/FILE into out (NUL-terminated, cut at size); length, or -1. */
ssize_t proc_file(pid_t pid, const char *file, char *out, size_t size);

#endif
