/*
 * A message from DATA to its reply: get an id, take the content, hand it to
 * queue, in the frame or in a file.  Said 250 only when queue has it for good.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "log.h"
#include "smtp_conn.h"
#include "smtp_received.h"

#define USUAL_OCTETS	6000	/* of a message, and what we add */
#define MIN_RATE	500	/* octets a second that content has to come with */
#define GIVE_UP_MS	5000	/* for the end of content that is refused anyway */
#define SPILL		(32 * 1024)	/* written to the file at once */
#define EXCESS		2	/* refused content is read up to so many times the limit */

struct smtp_content {
	struct smtp_data	 data;
	struct buf		 date, message_id;	/* lines for submissions */
	uint64_t		 seen_ms;	/* when octets came last */
	unsigned		 budget_ms;	/* left to wait for more */
	uint64_t		 octets;	/* read in all */
};

static void
answer(struct smtp_conn *c, enum verdict v)
{
	struct buf out;
	enum smtp_want want;

	buf_init(&out, smtp_conn_out_max(c->server));
	want = smtp_session_start_data(&c->session, v, &out);
	smtp_conn_act(c, want, &out);
	buf_clear(&out);
}

/* ---- begin ---- */

static void
put_received(struct smtp_conn *c, int64_t now_s)
{
	const struct smtp_session *s = &c->session;
	struct slice rcpts = buf_slice_of(&s->env.rcpts);
	struct smtp_received r = {
		.helo = smtp_session_helo(s), .name = c->client.name, .address = c->client.address,
		.tls_protocol = conn_tls_protocol(c->conn), .login = smtp_session_login(s),
		.hostname = s->rules->hostname, .with = smtp_session_with(s), .qid = c->submit.qid,
		.when_utc = now_s,
	};
	struct ipc_rcpt rcpt;
	struct buf line;
	bool bad = false;

	r.tls_cipher = conn_tls_cipher(c->conn, &r.tls_bits);
	/* With more than one it would tell the others (RFC 5321 section 7.6). */
	if (s->env.accepted == 1 && ipc_next_rcpt(&rcpts, &rcpt, &bad))
		r.rcpt = rcpt.addr;
	buf_init(&line, 4096);
	smtp_received_print(&r, &line);
	smtp_data_prefix(&c->content->data, buf_slice_of(&line));
	if (line.full)
		smtp_data_fail(&c->content->data, FAULT_MEMORY);
	buf_clear(&line);
}

static void
begin(struct smtp_conn *c)
{
	const struct conf *conf = c->server->conf;
	struct smtp_content *m = calloc(1, sizeof(*m));
	int64_t now_s = (int64_t)(now_usec() / 1000000);
	struct smtp_data_rules rules = {
		.size_max = conf->message_size, .header_max = conf->header_size,
		.line_max = conf->line_length, .hops_max = conf->hops - 1,	/* ours counts as well */
		.refuse_bare = conf->smtp_bare_newline_refused,
		.fix = c->session.login != NULL,
	};

	if (m == NULL) {
		smtp_submit_abort(&c->submit);
		answer(c, TEMP);
		return;
	}
	c->content = m;
	buf_init(&m->date, 100);
	buf_init(&m->message_id, 400);
	smtp_date_line(now_s, &m->date);
	smtp_message_id_line(now_s, c->submit.qid, conf->hostname, &m->message_id);
	rules.date = buf_slice_of(&m->date);
	rules.message_id = buf_slice_of(&m->message_id);
	smtp_data_init(&m->data, &rules, (size_t)4 * IPC_INLINE_MAX + conf->line_length);
	(void)buf_room(&m->data.out, USUAL_OCTETS);
	put_received(c, now_s);
	m->budget_ms = smtp_conn_timeout_ms(c);
	m->seen_ms = now_mono_usec() / 1000;
	answer(c, OK);
	smtp_conn_timer(c, TIMER_CONTENT, m->budget_ms);
}

void
smtp_content_start(struct smtp_conn *c)
{
	if (smtp_submit_begin(&c->submit))
		begin(c);
	else
		smtp_conn_wait(c, WAIT_ID);
}

static void
on_id(void *ctx, enum verdict v)
{
	struct smtp_conn *c = ctx;

	smtp_conn_go_on(c);
	if (v == OK)
		begin(c);
	else
		answer(c, v);
}

/* ---- the end ---- */

void
smtp_content_free(struct smtp_conn *c)
{
	smtp_submit_abort(&c->submit);
	if (c->content == NULL)
		return;
	smtp_data_clear(&c->content->data);
	buf_clear(&c->content->date);
	buf_clear(&c->content->message_id);
	free(c->content);
	c->content = NULL;
}

static void
reply(struct smtp_conn *c, enum verdict v, bool low)
{
	struct buf out;
	enum smtp_want want;

	buf_init(&out, smtp_conn_out_max(c->server));
	want = smtp_session_data_done(&c->session, c->content->data.fault, v, low, c->submit.qid, &out);
	smtp_content_free(c);
	smtp_conn_act(c, want, &out);
	buf_clear(&out);
}

static void
submit(struct smtp_conn *c)
{
	const struct smtp_session *s = &c->session;
	const struct smtp_data *d = &c->content->data;
	struct ipc_submit m = {
		.origin = s->rules->service == SMTP_SERVICE_LMTP ? ORIGIN_LMTP : ORIGIN_SMTP,
		.body_8bit = s->env.body_8bit || d->eight_bit,
		.received_usec = c->began_usec, .sender = addr_text(&s->env.sender),
		.login = smtp_session_login(s), .client_name = c->client.name,
		.client_address = c->client.address, .helo = smtp_session_helo(s),
		.protocol = slice_of(smtp_session_with(s)),
		.message_id = slice_make(d->message_id, d->message_id_len),
	};

	if (c->submit.file_fd == -1)
		m.content = buf_slice_of(&d->out);
	log_client_accepted(c->submit.qid, c->client,
	    slice_of(s->login == NULL || s->auth_method == NULL ? "" : s->auth_method), m.login);
	if (!smtp_submit_send(&c->submit, &m, buf_slice_of(&s->env.rcpts))) {
		smtp_data_fail(&c->content->data, FAULT_QUEUE);
		reply(c, TEMP, false);
		return;
	}
	smtp_conn_wait(c, WAIT_RESULT);
	smtp_data_clear(&c->content->data);	/* the frame has it */
}

static void
on_result(void *ctx, enum verdict v, bool low)
{
	struct smtp_conn *c = ctx;

	smtp_conn_go_on(c);
	reply(c, v, low);
}

/* The client has to find out by itself, as when a line breaks: it may have to send again. */
static void
on_doubt(void *ctx)
{
	struct smtp_conn *c = ctx;
	char id[QID_TEXT];

	log_say(LOG_LEVEL_WARNING, "%s: queue did not say whether it took the message: connection closed without an answer",
	    qid_print(c->submit.qid, id));
	smtp_conn_drop(c);
}

/* ---- content ---- */

/* Move what is final to the file; without one yet, get one. */
static void
spill(struct smtp_conn *c, size_t above)
{
	struct smtp_data *d = &c->content->data;
	struct slice ready = smtp_data_ready(d);

	if (d->fault != FAULT_NONE || ready.len <= above)
		return;
	if (c->submit.file_fd == -1) {
		smtp_conn_wait(c, WAIT_FILE);
		smtp_submit_open_file(&c->submit);
		return;
	}
	if (smtp_submit_write(&c->submit, ready)) {
		smtp_data_taken(d, ready.len);
		return;
	}
	if (errno != EPIPE)
		log_say(LOG_LEVEL_ERROR, "spool file: %s", strerror(errno));
	smtp_data_fail(d, errno == EPIPE ? FAULT_QUEUE : FAULT_STORAGE);
}

static void
finish(struct smtp_conn *c)
{
	struct smtp_data *d = &c->content->data;

	spill(c, c->submit.file_fd == -1 ? IPC_INLINE_MAX : 0);
	if (c->wait == WAIT_FILE)
		return;
	if (d->fault == FAULT_NONE)
		submit(c);
	else
		reply(c, TEMP, false);
}

static void
on_file(void *ctx, enum verdict v)
{
	struct smtp_conn *c = ctx;
	struct smtp_data *d = &c->content->data;

	smtp_conn_go_on(c);
	if (v != OK)
		smtp_data_fail(d, smtp_queue_low(c->server->queue) ? FAULT_STORAGE : FAULT_QUEUE);
	c->content->seen_ms = now_mono_usec() / 1000;
	if (d->done) {
		finish(c);
		return;
	}
	spill(c, 0);
	smtp_conn_timer(c, TIMER_CONTENT, c->content->budget_ms);
}

/* Each octet buys time, so that a trickle ends (slow loris) and a slow link does not. */
static void
keep_pace(struct smtp_conn *c, size_t octets)
{
	struct smtp_content *m = c->content;
	uint64_t now = now_mono_usec() / 1000, passed = now - m->seen_ms;
	uint64_t left = passed < m->budget_ms ? m->budget_ms - passed : 0;
	unsigned most = smtp_conn_timeout_ms(c);

	left += (uint64_t)octets * 1000 / MIN_RATE;
	m->budget_ms = left > most ? most : (unsigned)left;
	m->seen_ms = now;
	smtp_conn_timer(c, TIMER_CONTENT, m->budget_ms);
}

/* Refused for good: its end is waited for, so that the rest is not taken for
 * commands; but not for any amount, and after a breach not for long. */
static void
after_fault(struct smtp_conn *c, bool first)
{
	struct smtp_content *m = c->content;

	smtp_submit_abort(&c->submit);
	if (m->octets / EXCESS > c->server->conf->message_size)
		smtp_content_give_up(c);
	else if (first && m->data.fault <= FAULT_NUL)
		smtp_conn_timer(c, TIMER_GIVE_UP, GIVE_UP_MS);
}

size_t
smtp_content_input(struct smtp_conn *c, struct slice data)
{
	struct smtp_content *m = c->content;
	bool had_fault = m->data.fault != FAULT_NONE;
	size_t n = smtp_data_feed(&m->data, data);

	m->octets += n;
	if (m->data.done) {
		finish(c);
		return n;
	}
	if (!had_fault || m->data.fault > FAULT_NUL)
		keep_pace(c, n);
	spill(c, c->submit.file_fd == -1 ? IPC_INLINE_MAX : SPILL);
	if (m->data.fault != FAULT_NONE)
		after_fault(c, !had_fault);
	return n;
}

/* The client does not end what was refused: say so and hang up. */
void
smtp_content_give_up(struct smtp_conn *c)
{
	struct buf out;

	buf_init(&out, smtp_conn_out_max(c->server));
	(void)smtp_session_data_done(&c->session, c->content->data.fault, TEMP, false, c->submit.qid, &out);
	smtp_content_free(c);
	smtp_conn_act(c, WANT_CLOSE, &out);
	buf_clear(&out);
}

const struct smtp_submit_ops smtp_content_ops = { .id = on_id, .file = on_file, .result = on_result,
	.doubt = on_doubt };
