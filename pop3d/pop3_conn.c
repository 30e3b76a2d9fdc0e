/* pop3_conn: see the header. */
#include "pop3d/pop3_conn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "conn.h"
#include "log.h"
#include "log_events.h"
#include "pop3d/pop3_parse.h"

#define OUT_MAX		(256 * 1024)	/* octets; more never waits, see pump() */
#define OUT_HIGH	(64 * 1024)	/* pieces are made while less than this waits */
#define CLOSE_MS	30000		/* to take the last words */

struct pop3_conn {
	struct pop3_conn	*next, **prev;	/* list of the user */
	struct pop3_user	*user;
	struct conn		*conn;
	struct pop3_session	 session;
	struct pop3_maildrop	 maildrop;
	char			 id[33];	/* session, for the log */
	uint64_t		 in, out;	/* octets, for the log */
	uint32_t		 count;		/* messages at the start, for the log */
	bool			 refused;	/* the mailbox could not be had */
	bool			 busy;		/* in a step: drained() has nothing to do */
	bool			 closing;
};

static void
conn_log_end(const struct pop3_conn *p, const char *how)
{
	const struct pop3_session *s = &p->session;
	char why[200];

	(void)snprintf(why, sizeof(why), "%s top=%" PRIu32 "/%" PRIu64 ", retr=%" PRIu32 "/%" PRIu64
	    ", del=%" PRIu32 "/%" PRIu32, how, s->top_n, s->top_octets, s->retr_n, s->retr_octets,
	    s->removed_n, p->count);
	log_session_end("pop3", slice_of(user_process_user(p->user->process)), slice_of(p->id), why,
	    p->in, p->out);
}

static void
conn_done(struct pop3_conn *p, const char *how)
{
	struct user_process *process = p->user->process;

	conn_log_end(p, how);
	pop3_session_clear(&p->session);
	pop3_maildrop_close(&p->maildrop);
	conn_free(p->conn);
	*p->prev = p->next;
	if (p->next != NULL)
		p->next->prev = p->prev;
	free(p);
	user_process_ended(process);
}

static void
begin_close(struct pop3_conn *p)
{
	p->closing = true;
	/* QUIT was answered: another session may have the mailbox before the client has closed. */
	pop3_session_clear(&p->session);
	pop3_maildrop_close(&p->maildrop);
	conn_deadline(p->conn, CLOSE_MS);
	conn_close(p->conn);
}

/* Send what a step made. */
static bool
put(struct pop3_conn *p, struct buf *out)
{
	bool fine = !out->full && conn_write(p->conn, buf_slice_of(out));

	p->out += out->len;
	buf_clear(out);
	return fine;
}

/* Make pieces of a long reply while the client takes them. */
static enum pop3_want
pump(struct pop3_conn *p, enum pop3_want want)
{
	while (want == POP3_WANT_MORE && conn_pending(p->conn) < OUT_HIGH) {
		struct buf out;

		buf_init(&out, OUT_MAX);
		want = pop3_session_more(&p->session, &out);
		if (!put(p, &out))
			want = POP3_WANT_CLOSE;
	}
	return want;
}

static void
log_failure(struct pop3_conn *p)
{
	if (p->maildrop.error == STORE_OK)
		return;
	log_say(LOG_LEVEL_WARNING, "%s: %s", user_process_user(p->user->process),
	    store_error_text(p->maildrop.error));
	p->maildrop.error = STORE_OK;
}

/* Do what the session wants after a step. */
static void
go_on(struct pop3_conn *p, enum pop3_want want)
{
	p->busy = true;
	want = pump(p, want);
	p->busy = false;
	log_failure(p);
	switch (want) {
	case POP3_WANT_LINE:
		conn_resume(p->conn);
		break;
	case POP3_WANT_MORE:	/* drained() goes on */
		conn_pause(p->conn);
		break;
	case POP3_WANT_CLOSE:
		begin_close(p);
		break;
	}
}

static size_t
on_input(struct conn *c, void *ctx, struct slice data)
{
	struct pop3_conn *p = ctx;
	enum pop3_want want;
	struct slice line;
	struct buf out;
	size_t taken;

	(void)c;
	if (p->closing)
		return data.len;
	taken = pop3_parse_line(data, &line);
	if (taken == 0 && data.len < POP3_LINE_MAX)
		return 0;
	p->busy = true;
	buf_init(&out, OUT_MAX);
	if (taken != 0 && taken <= POP3_LINE_MAX) {
		want = pop3_session_line(&p->session, line, &out);
	} else {
		want = pop3_session_too_long(&p->session, &out);
		taken = data.len;
	}
	p->in += taken;
	if (!put(p, &out))
		want = POP3_WANT_CLOSE;
	go_on(p, want);
	return taken;
}

/* All output is taken by the client: it is alive, and there is room. */
static void
on_drained(struct conn *c, void *ctx)
{
	struct pop3_conn *p = ctx;

	if (p->closing || p->busy)
		return;
	conn_idle_timeout(c, user_process_conf(p->user->process)->pop3_timeout_s * 1000);
	if (p->session.sending != SENDING_NOTHING)
		go_on(p, POP3_WANT_MORE);
}

static void
on_ended(struct conn *c, void *ctx, enum conn_end why, const char *text)
{
	struct pop3_conn *p = ctx;

	(void)c;
	(void)text;
	if (p->session.quit)
		conn_done(p, "Logged out");
	else if (p->refused)
		conn_done(p, "Mailbox not available");
	else if (why == CONN_TIMEOUT)
		conn_done(p, "Disconnected for inactivity");
	else
		conn_done(p, "Connection closed");
}

static const struct conn_ops ops = {
	.input = on_input,
	.drained = on_drained,
	.ended = on_ended,
};

/* The login cannot be completed; say why. */
static const char *
open_refusal(struct pop3_conn *p, enum pop3_open opened)
{
	if (opened == POP3_IN_USE) {
		p->maildrop.error = STORE_OK;
		return "-ERR [IN-USE] Another POP3 session has this mailbox\r\n";
	}
	log_failure(p);
	return "-ERR [SYS/TEMP] Cannot open the mailbox now\r\n";
}

bool
pop3_conn_new(struct pop3_user *user, const struct user_session *s)
{
	struct pop3_conn *p = calloc(1, sizeof(*p));
	struct pop3_message *message;
	enum pop3_open opened;
	struct buf out;

	if (p == NULL)
		return false;
	p->user = user;
	p->busy = true;
	(void)slice_text(s->session, p->id, sizeof(p->id));
	opened = pop3_maildrop_open(&p->maildrop, user->maildir_fd, &user->store, &message);
	p->count = p->maildrop.count;
	pop3_session_init(&p->session, &pop3_maildrop_ops, &p->maildrop, message, p->maildrop.count, s->tls);
	p->conn = conn_new(user_process_base(user->process), s->fd, POP3_LINE_MAX, OUT_MAX, &ops, p);
	p->next = user->first;
	p->prev = &user->first;
	if (p->next != NULL)
		p->next->prev = &p->next;
	user->first = p;
	if (p->conn == NULL) {	/* it has closed the descriptor */
		conn_done(p, "No memory");
		return true;
	}
	buf_init(&out, OUT_MAX);
	if (opened == POP3_OPENED)
		pop3_session_greeting(&p->session, &out);
	else
		(void)buf_text(&out, open_refusal(p, opened));
	conn_idle_timeout(p->conn, user_process_conf(user->process)->pop3_timeout_s * 1000);
	if (!put(p, &out) || opened != POP3_OPENED)
		begin_close(p);
	p->refused = opened != POP3_OPENED;
	p->busy = false;
	return true;
}

void
pop3_conn_end_all(struct pop3_user *user)
{
	while (user->first != NULL)
		conn_done(user->first, "Server is shutting down");
}
