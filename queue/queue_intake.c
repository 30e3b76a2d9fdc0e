#include "queue_intake.h"

#include "addr.h"
#include "qid.h"
#include "queue_dsn.h"
#include "queue_recent.h"

bool
intake_known(const struct queue *q, uint64_t qid)
{
	return messages_find(&q->messages, qid) != NULL || recent_has(q, qid);
}

void
intake_received(const struct queue *q, uint64_t qid, uint32_t uid, struct buf *out)
{
	char id[QID_TEXT];

	(void)buf_fmt(out, "Received: by %s (Pennypost, from userid %u)\r\n\tid %s; ", q->daemon.conf.hostname, uid,
	    qid_print((struct qid){ qid }, id));
	dsn_date(now_usec(), out);
	(void)buf_text(out, " (UTC)\r\n");
}

/* Nothing that could begin a new line, wherever it is shown or sent later. */
static bool
clean(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f)
			return false;
	return true;
}

static const char *
check_texts(const struct record_message *r)
{
	struct addr sender;

	if (r->sender.len > 0 && !addr_parse(r->sender, &sender))
		return "malformed sender";
	if (!clean(r->envid) || !clean(r->login) || !clean(r->client_name) || !clean(r->client_address) ||
	    !clean(r->helo) || !clean(r->protocol) || !clean(r->message_id))
		return "control octets in the envelope";
	return NULL;
}

static const char *
take_rcpts(const struct queue *q, struct slice list, bool local, struct buf *out)
{
	struct ipc_rcpt in;
	struct addr addr;
	uint32_t n = 0, most = local ? q->daemon.conf.recipients : RECORD_RCPTS_MAX / 2;
	bool bad = false;

	while (ipc_next_rcpt(&list, &in, &bad)) {
		const struct record_rcpt one = { .addr = in.addr, .hint = local ? HINT_UNKNOWN : in.hint,
		    .notify = in.notify, .orcpt = in.orcpt };

		if (++n > most)
			return "too many recipients";
		if (!addr_parse(in.addr, &addr) || !clean(in.orcpt))
			return "malformed recipient";
		if (!record_add_rcpt(out, &one))
			return "no memory";
	}
	if (bad)
		return "malformed list of recipients";
	return n == 0 ? "no recipients" : NULL;
}

enum verdict
intake_append(struct queue *q, struct record_message *r, struct slice ipc_rcpts, struct slice content,
    bool local, uint64_t cookie, const char **why)
{
	struct buf rcpts, body;
	enum verdict v = PERM;

	*why = queue_log_refuses(&q->log);
	if (*why != NULL)
		return TEMP;
	buf_init(&rcpts, RECORD_BODY_MAX);
	buf_init(&body, RECORD_BODY_MAX);
	*why = check_texts(r);
	if (*why == NULL)
		*why = take_rcpts(q, ipc_rcpts, local, &rcpts);
	if (*why == NULL && rcpts.len > RECORD_BODY_MAX / 2)
		*why = "too many recipients";
	if (*why == NULL) {
		r->rcpts = buf_slice_of(&rcpts);
		v = TEMP;
		*why = "no memory";
		if (record_put_message(&body, r) && queue_log_append(&q->log, LOG_INTAKE, RECORD_TYPE_message,
		    buf_slice_of(&body), content, cookie, true))
			v = OK;
	} else if (slice_is(slice_of(*why), "no memory")) {
		v = TEMP;
	}
	buf_clear(&rcpts);
	buf_clear(&body);
	return v;
}
