/* cache_make.c: what is kept of a message, made from its text. */
#include <stdlib.h>
#include <strings.h>

#include "mime/imap_envelope.h"
#include "mime/mime.h"
#include "store_int.h"

#define PART_MAX	(64 * 1024)		/* octets; longer ones are made when they are asked for */
#define MESSAGE_MAX	(64 * 1024 * 1024)	/* larger messages are looked at when they are asked for */

/* Those that mail programs list folders with; ascending. */
static const char *const names[] = {
	"Auto-Submitted", "Autocrypt", "Bcc", "Cc", "Content-Description", "Content-Transfer-Encoding", "Content-Type",
	"Date", "Delivered-To", "Disposition-Notification-To", "From", "Importance", "In-Reply-To", "Lines", "List-Archive",
	"List-Help", "List-Id", "List-Post", "List-Subscribe", "List-Unsubscribe", "List-Unsubscribe-Post", "Message-ID",
	"MIME-Version", "Newsgroups", "Precedence", "Priority", "Received-SPF", "References", "Reply-To", "Resent-Date",
	"Resent-From", "Resent-To", "Return-Path", "Sender", "Subject", "Thread-Index", "Thread-Topic", "To", "User-Agent",
	"X-Label", "X-Mailer", "X-MSMail-Priority", "X-Original-To", "X-Priority", "X-Spam-Flag", "X-Spam-Status",
	"X-Universally-Unique-Identifier", "X-Uniform-Type-Identifier",
};

bool
store_header_cached(struct slice name)
{
	for (size_t i = 0; i < LEN(names); i++) {
		if (slice_ieq(name, names[i]))
			return true;
	}
	return false;
}

static void
put_headers(struct buf *out, struct slice header)
{
	struct mime_field field;

	for (size_t n = 0; n < MIME_FIELDS_MAX && mime_field_next(&header, true, &field); n++) {
		if (store_header_cached(field.name))
			(void)buf_slice(out, field.raw);
	}
	if (out->len > 0 && out->ptr[out->len - 1] != '\n')
		(void)buf_text(out, "\r\n");
	(void)buf_text(out, "\r\n");
}

static void
put_part(struct buf *out, enum store_cached kind, const struct mime *m)
{
	switch (kind) {
	case STORE_CACHED_ENVELOPE:
		imap_put_envelope(out, m->part[0].header);
		break;
	case STORE_CACHED_BODY:
	case STORE_CACHED_STRUCTURE:
		imap_put_structure(out, m, kind == STORE_CACHED_STRUCTURE);
		break;
	case STORE_CACHED_HEADERS:
		put_headers(out, m->part[0].header);
		break;
	case STORE_CACHED_KINDS:
		break;
	}
}

bool
cache_make(struct slice text, struct buf *out, struct cache_parts *parts)
{
	size_t begin[STORE_CACHED_KINDS], len[STORE_CACHED_KINDS];
	bool kept[STORE_CACHED_KINDS];
	struct mime m;

	*parts = (struct cache_parts){ 0 };
	if (text.len > MESSAGE_MAX || !mime_parse(text, &m))
		return false;
	for (size_t i = 0; i < STORE_CACHED_KINDS; i++) {
		begin[i] = out->len;
		out->cap = out->len + PART_MAX;
		put_part(out, (enum store_cached)i, &m);
		kept[i] = !out->full;
		if (!kept[i]) {
			out->len = begin[i];
			out->full = false;
		}
		len[i] = out->len - begin[i];
	}
	mime_clear(&m);
	for (size_t i = 0; i < STORE_CACHED_KINDS; i++) {
		if (kept[i])
			parts->part[i] = slice_make(len[i] == 0 ? "" : out->ptr + begin[i], len[i]);
	}
	return true;
}

/* It was not there: of the message itself, and into the cache. */
static bool
make_now(struct store_folder *f, uint32_t seq, size_t *octets, struct cache_parts *out)
{
	struct store_content c;
	struct slice text;
	uint64_t size;
	bool good;

	if (store_message_size(f, seq, &size) != STORE_OK || size > MESSAGE_MAX ||
	    store_content_open(f, seq, &c) != STORE_OK)
		return false;
	buf_reset(&f->made);
	good = store_content_text(&c, &text) == STORE_OK && cache_make(text, &f->made, out);
	if (octets != NULL)
		*octets = c.raw.len;
	store_content_close(&c);
	if (!good)
		return false;
	out->uid = f->msg[seq - 1].pub.uid;
	cache_put(&f->box, out);
	return true;
}

bool
store_message_cached(struct store_folder *f, uint32_t seq, enum store_cached kind, struct slice *out, size_t *octets)
{
	uint32_t uid = f->msg[seq - 1].pub.uid;

	if (octets != NULL)
		*octets = 0;
	if (f->msg[seq - 1].pub.gone)
		return false;
	if (f->parts.uid != uid) {	/* several kinds of one message are asked for one after the other */
		f->parts.uid = 0;
		if (!cache_get(&f->box, uid, &f->parts) && !make_now(f, seq, octets, &f->parts)) {
			f->parts.uid = 0;
			return false;
		}
	}
	*out = f->parts.part[kind];
	return out->ptr != NULL;
}
