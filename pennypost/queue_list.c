#include "queue_list.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "qid.h"
#include "verdict.h"

#define REASON_MAX	1024
#define REASON_COLUMN	78	/* a reason's line ends here */

/* Printable, for a terminal. */
static void
put_clean(FILE *out, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		(void)fputc((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f ? '?' : s.ptr[i], out);
}

static char
mark_of(const struct ipc_queue_item *item)
{
	if (item->forced_expire)
		return '#';
	return item->state == STATE_ACTIVE ? '*' : item->state == STATE_HELD ? '!' : '\0';
}

void
queue_print_begin(struct queue_printer *p, FILE *out, bool json)
{
	*p = (struct queue_printer){ .out = out, .json = json };
	buf_init(&p->reason, REASON_MAX);
}

/* ---- text ---- */

static void
text_message(struct queue_printer *p, const struct ipc_queue_item *item)
{
	char id[QID_TEXT], marked[QID_TEXT + 1], when[32] = "";
	time_t t = (time_t)(item->arrival_usec / 1000000);
	struct tm tm;

	if (p->messages == 0)
		(void)fprintf(p->out, "%-17s %8s %-19s %s\n", "----Queue ID-----", "--Size--",
		    "---Arrival Time----", "--Sender/Recipient------");
	else
		(void)fputc('\n', p->out);
	(void)snprintf(marked, sizeof(marked), "%s%.1s", qid_print((struct qid){ item->qid }, id), (char[]){ mark_of(item), 0 });
	if (localtime_r(&t, &tm) != NULL)
		(void)strftime(when, sizeof(when), "%a %b %e %H:%M:%S", &tm);
	(void)fprintf(p->out, "%-17s %8llu %19.19s ", marked, (unsigned long long)item->size, when);
	if (item->sender.len == 0)
		(void)fputs("MAILER-DAEMON", p->out);
	else
		put_clean(p->out, item->sender);
	(void)fputc('\n', p->out);
	buf_reset(&p->reason);
}

static void
text_rcpt(struct queue_printer *p, const struct ipc_queue_rcpt *rcpt)
{
	if (rcpt->reason.len > 0 && !slice_eq(rcpt->reason, buf_slice_of(&p->reason))) {
		buf_reset(&p->reason);
		(void)buf_slice(&p->reason, rcpt->reason);
		(void)fprintf(p->out, "%*s(", rcpt->reason.len + 2 < REASON_COLUMN ?
		    REASON_COLUMN - 2 - (int)rcpt->reason.len : 0, "");
		put_clean(p->out, rcpt->reason);
		(void)fputs(")\n", p->out);
	}
	(void)fprintf(p->out, "%-17s %8s %-19s ", "", "", "");
	put_clean(p->out, rcpt->addr);
	(void)fputc('\n', p->out);
}

/* ---- JSON ---- */

static void
json_flush(struct queue_printer *p)
{
	if (p->message == NULL)
		return;
	(void)json_dumpf(p->message, p->out, JSON_COMPACT | JSON_PRESERVE_ORDER);
	(void)fputc('\n', p->out);
	json_decref(p->message);
	p->message = NULL;
}

static void
json_message(struct queue_printer *p, const struct ipc_queue_item *item)
{
	static const char *const queues[] = {
		[STATE_WAITING] = "incoming", [STATE_ACTIVE] = "active", [STATE_HELD] = "hold", [STATE_DEFERRED] = "deferred",
	};
	char id[QID_TEXT];

	json_flush(p);
	p->message = json_pack("{s:s, s:s, s:I, s:I, s:b, s:o, s:[]}",
	    "queue_name", queues[item->state <= STATE_DEFERRED ? item->state : 0],
	    "queue_id", qid_print((struct qid){ item->qid }, id),
	    "arrival_time", (json_int_t)(item->arrival_usec / 1000000),
	    "message_size", (json_int_t)item->size, "forced_expire", (int)item->forced_expire,
	    "sender", item->sender.len == 0 ? json_string("MAILER-DAEMON") : cli_json_text(item->sender.ptr, item->sender.len),
	    "recipients");
}

static void
json_rcpt(struct queue_printer *p, const struct ipc_queue_rcpt *rcpt)
{
	(void)json_array_append_new(json_object_get(p->message, "recipients"),
	    json_pack("{s:o, s:o, s:o, s:s, s:I, s:I}",
	    "address", cli_json_text(rcpt->addr.ptr, rcpt->addr.len),
	    "orig_address", cli_json_text(rcpt->orig_to.ptr, rcpt->orig_to.len),
	    "delay_reason", cli_json_text(rcpt->reason.ptr, rcpt->reason.len), "bounce_reason", "",
	    "next_attempt", (json_int_t)rcpt->next_utc, "attempts", (json_int_t)rcpt->attempts));
}

/* ---- both ---- */

bool
queue_print_item(struct queue_printer *p, const struct ipc_queue_item *item)
{
	struct slice list = item->rcpts;
	struct ipc_queue_rcpt rcpt;
	bool bad = false;

	/* A long list of recipients comes in several items of the same id. */
	if (item->qid != p->last) {
		if (p->json)
			json_message(p, item);
		else
			text_message(p, item);
		p->last = item->qid;
		p->messages++;
		p->octets += item->size;
	}
	while (ipc_next_queue_rcpt(&list, &rcpt, &bad)) {
		if (p->json)
			json_rcpt(p, &rcpt);
		else
			text_rcpt(p, &rcpt);
	}
	return !bad;
}

void
queue_print_end(struct queue_printer *p)
{
	json_flush(p);
	buf_clear(&p->reason);
	if (p->json)
		return;
	if (p->messages == 0)
		(void)fputs("Mail queue is empty\n", p->out);
	else
		(void)fprintf(p->out, "\n-- %llu Kbytes in %llu Request%s.\n", (unsigned long long)p->octets / 1024,
		    (unsigned long long)p->messages, p->messages == 1 ? "" : "s");
}

/* ---- asking ---- */

bool
queue_open(struct cli *c, struct client *client, int *rc)
{
	if (client_open(client, &c->conf, "queue-control"))
		return true;
	if (errno == ENOENT || errno == ECONNREFUSED) {
		cli_say(c, "queue is not running: the mail system is down");
		*rc = EX_UNAVAILABLE;
	} else if (errno == EPROTO) {
		cli_say(c, "the running queue is of another version");
		*rc = EX_PROTOCOL;
	} else {
		*rc = errno == EACCES ? EX_NOPERM : errno == ETIMEDOUT ? EX_TEMPFAIL : EX_UNAVAILABLE;
		cli_errno(c, "%s/queue-control", c->conf.run_dir);
	}
	return false;
}

static bool
print_items(struct queue_printer *p, struct slice list)
{
	struct ipc_queue_item item;
	bool bad = false;

	while (ipc_next_queue_item(&list, &item, &bad))
		if (!queue_print_item(p, &item))
			return false;
	return !bad;
}

static int
print_answers(struct cli *c, struct client *client, struct queue_printer *p)
{
	struct ipc_queue_items items;
	struct ipc_queue_end end;
	struct slice frame;
	uint16_t code;

	while (client_recv(client, CLIENT_WAIT_MS, &frame, &code, NULL)) {
		if (code == IPC_queue_items && ipc_get_queue_items(frame, &items) && print_items(p, items.items))
			continue;
		if (code != IPC_queue_end || !ipc_get_queue_end(frame, &end)) {
			cli_say(c, "queue gave an answer that makes no sense");
			return EX_PROTOCOL;
		}
		if (end.verdict == OK)
			return EX_OK;
		cli_say(c, "%.*s", (int)end.text.len, end.text.ptr);
		return end.verdict == TEMP ? EX_TEMPFAIL : EX_NOPERM;
	}
	cli_errno(c, "queue does not answer");
	return EX_TEMPFAIL;
}

int
queue_list(struct cli *c, const struct ipc_queue_list *filter, bool json)
{
	struct queue_printer p;
	struct client client;
	struct buf out;
	int rc;

	if (!queue_open(c, &client, &rc))
		return rc;
	queue_print_begin(&p, stdout, json);
	buf_init(&out, IPC_FRAME_MAX);
	if (client_send(&client, &out, ipc_put_queue_list(&out, filter), -1)) {
		rc = print_answers(c, &client, &p);
	} else {
		cli_errno(c, "queue does not answer");
		rc = EX_TEMPFAIL;
	}
	if (rc != EX_OK)
		p.json = true;	/* no footer under half a list */
	queue_print_end(&p);
	client_close(&client);
	return rc;
}
