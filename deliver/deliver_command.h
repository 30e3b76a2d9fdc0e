/*
 * deliver_command: give a message to a program (aliases(5) "|command").
 *
 * No shell: the words of the command are its arguments.  Run in a process that
 * already has the uid it is to have (deliver_action.c); this waits for it.
 */
#ifndef PP_DELIVER_COMMAND_H
#define PP_DELIVER_COMMAND_H

#include <stdbool.h>

#include "buf.h"
#include "deliver_job.h"
#include "ipc.h"

#define COMMAND_LIMIT_S		1000
#define COMMAND_OUTPUT_MAX	4096	/* octets of its output that are kept */

/* What the environment of the command says; everything is cleaned on the way in. */
struct command_env {
	struct slice	home, user, shell;
	struct slice	recipient, original_recipient, sender;
	struct slice	local, domain, extension;
	struct slice	envid, client_address;
};

/*
 * Append "NAME=value" strings, each with a NUL, to out: PATH and the fixed list
 * of CONVENTIONS.md section 3.  In values anything but letters, digits and
 * !@%-_=+:,./ becomes '_'.
 */
bool command_environment(struct buf *out, const struct command_env *e);

enum command_end { COMMAND_EXITED, COMMAND_SIGNALLED, COMMAND_TIMED_OUT, COMMAND_NOT_RUN };

struct command_result {
	enum command_end end;
	int		 code;		/* exit code, signal, or errno of NOT_RUN */
	struct buf	 output;	/* the beginning of what it wrote; the caller clears it */
};

/*
 * Run argv[0] with this environment (NUL-terminated strings one after the
 * other) and the message, trace headers first and with LF, on its standard
 * input; wait until it has ended and its output is closed, at most limit_s
 * seconds, then it is killed with its process group.
 */
void command_run(const char *const *argv, struct slice environment, const struct job *job, struct slice trace_headers,
    unsigned limit_s, struct command_result *out);

/* What becomes of the mail: the table of CONVENTIONS.md section 1.  Pure. */
void command_outcome(const struct command_result *c, enum ipc_outcome *outcome, char dsn[16], struct buf *text);

#endif
