/* trace: the story of a message, by queue id, Message-ID or address. */
#include "trace_cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "qid.h"
#include "queue_list.h"
#include "trace.h"
#include "verdict.h"

#define PAUSE_MS	200
#define EX_UNKNOWN	1	/* nothing is known of it */

struct story {
	json_t		*all;		/* the events, one object each, in the order they came */
	json_t		*pending;	/* object with a member for each recipient not tried yet */
	struct ipc_queue_end end;
	char		 words[501];	/* of end */
};

static json_t *
event_json(const struct ipc_trace_event *e)
{
	char id[QID_TEXT], other[QID_TEXT];

	return json_pack("{s:f, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
	    "time", (double)e->usec / 1e6, "queue_id", qid_print((struct qid){ e->qid }, id),
	    "event", trace_kind_name(e->kind),
	    "sender", cli_json_text(e->sender.ptr, e->sender.len), "recipient", cli_json_text(e->rcpt.ptr, e->rcpt.len),
	    "orig_recipient", cli_json_text(e->orig_to.ptr, e->orig_to.len), "host", cli_json_text(e->host.ptr, e->host.len),
	    "dsn", cli_json_text(e->dsn.ptr, e->dsn.len), "text", cli_json_text(e->text.ptr, e->text.len),
	    "other_queue_id", e->other == 0 ? json_null() : json_string(qid_print((struct qid){ e->other }, other)));
}

/* Who is still to be tried for the first time: came in or by an alias, and has no attempt yet. */
static void
count(struct story *s, const struct ipc_trace_event *e)
{
	char rcpt[321], orig[321];

	if (!slice_text(e->rcpt, rcpt, sizeof(rcpt)) || !slice_text(e->orig_to, orig, sizeof(orig)))
		return;
	switch (e->kind) {
	case TRACE_EXPANDED:
		(void)json_object_del(s->pending, orig);
		(void)json_object_set_new(s->pending, rcpt, json_true());
		break;
	case TRACE_ACCEPTED:
	case TRACE_INJECTED:
	case TRACE_GENERATED:
		(void)json_object_set_new(s->pending, rcpt, json_true());
		break;
	case TRACE_DELIVERED:
	case TRACE_RELAYED:
	case TRACE_DEFERRED:
	case TRACE_BOUNCED:
	case TRACE_DISCARDED:
		(void)json_object_del(s->pending, rcpt);
		break;
	default:
		break;
	}
}

static void
story_clear(struct story *s)
{
	json_decref(s->all);
	json_decref(s->pending);
	*s = (struct story){ 0 };
}

/* Ask on an open connection.  False with errno when there is no whole answer. */
static bool
ask(struct client *client, const char *key, struct story *s)
{
	const struct ipc_queue_trace request = { .key = slice_of(key) };
	struct ipc_trace_event e;
	struct slice frame;
	uint16_t code;
	struct buf out;

	*s = (struct story){ .all = json_array(), .pending = json_object() };
	buf_init(&out, IPC_FRAME_MAX);
	if (!client_send(client, &out, ipc_put_queue_trace(&out, &request), -1))
		return false;
	while (client_recv(client, CLIENT_WAIT_MS, &frame, &code, NULL)) {
		if (code == IPC_trace_event && ipc_get_trace_event(frame, &e)) {
			count(s, &e);
			(void)json_array_append_new(s->all, event_json(&e));
			continue;
		}
		if (code == IPC_queue_end && ipc_get_queue_end(frame, &s->end)) {
			(void)slice_text(s->end.text, s->words, sizeof(s->words));
			return true;
		}
		errno = EPROTO;
		return false;
	}
	return false;
}

static const char *
text_of(const json_t *event, const char *name)
{
	const char *text = json_string_value(json_object_get(event, name));

	return text == NULL ? "" : text;
}

/* "to <b@x> (orig <i@x>) at mx.x[1.2.3.4]:25: 2.0.0 250 Ok" */
static void
put_event(const json_t *e)
{
	double seconds = json_number_value(json_object_get(e, "time"));
	time_t when = (time_t)seconds;
	const char *words[] = { text_of(e, "dsn"), text_of(e, "text") };
	char stamp[32] = "";
	struct tm tm;

	if (localtime_r(&when, &tm) != NULL)
		(void)strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &tm);
	(void)printf("%s.%03d %s %-9s", stamp, (int)((seconds - (double)when) * 1000), text_of(e, "queue_id"), text_of(e, "event"));
	if (text_of(e, "sender")[0] != '\0')
		(void)printf(" from <%s>", text_of(e, "sender"));
	if (text_of(e, "recipient")[0] != '\0')
		(void)printf(" to <%s>", text_of(e, "recipient"));
	if (text_of(e, "orig_recipient")[0] != '\0' && strcmp(text_of(e, "orig_recipient"), text_of(e, "recipient")) != 0)
		(void)printf(" (orig <%s>)", text_of(e, "orig_recipient"));
	if (text_of(e, "host")[0] != '\0')
		(void)printf(" host %s", text_of(e, "host"));
	for (size_t i = 0; i < LEN(words); i++)
		if (words[i][0] != '\0')
			(void)printf(" %s", words[i]);
	if (text_of(e, "other_queue_id")[0] != '\0')
		(void)printf(" [%s]", text_of(e, "other_queue_id"));
	(void)putchar('\n');
}

static void
put_story(const struct story *s)
{
	const json_t *e;
	size_t i;

	json_array_foreach(s->all, i, e)
		put_event(e);
}

int
cmd_trace(struct cli *c, int argc, char **argv)
{
	struct client client;
	struct story s;
	int rc;

	if (argc != 2)
		return cli_usage(c, "pennypost trace QUEUE-ID|MESSAGE-ID|ADDRESS");
	if (!queue_open(c, &client, &rc))
		return rc;
	if (!ask(&client, argv[1], &s)) {
		cli_errno(c, "queue does not answer");
		rc = EX_TEMPFAIL;
	} else if (s.end.verdict != OK) {
		cli_say(c, "%s", s.words);
		rc = s.end.verdict == TEMP ? EX_TEMPFAIL : strstr(s.words, "root") != NULL ? EX_NOPERM : EX_UNKNOWN;
	} else {
		rc = EX_OK;
	}
	client_close(&client);
	if (c->json && rc == EX_OK)
		cli_json(json_incref(s.all));
	else
		put_story(&s);
	if (rc == EX_OK && json_array_size(s.all) == 0) {
		cli_say(c, "nothing is known of %s", argv[1]);
		rc = EX_UNKNOWN;
	}
	story_clear(&s);
	return rc;
}

void
trace_first_attempt(struct cli *c, const char *id, int wait_ms)
{
	const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
	struct client client;
	struct story s = { 0 };

	if (!client_open(&client, &c->conf, "queue-control"))
		return;
	/* queue indexes behind the hot path: at first it may not know the message yet. */
	for (; wait_ms > 0; wait_ms -= PAUSE_MS) {
		story_clear(&s);
		if (!ask(&client, id, &s) || (s.end.verdict != OK && strstr(s.words, "root") != NULL))
			break;
		if (json_array_size(s.all) > 0 && json_object_size(s.pending) == 0)
			break;
		(void)nanosleep(&pause, NULL);
	}
	put_story(&s);
	story_clear(&s);
	client_close(&client);
}
