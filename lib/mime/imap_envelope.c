#include "mime/imap_envelope.h"

#include "mime/imap_write.h"

/* nstring of a field's value: unfolded, not decoded. */
static void
put_value(struct buf *out, struct slice value)
{
	struct buf text;

	if (value.ptr == NULL) {
		(void)buf_text(out, "NIL");
		return;
	}
	buf_init(&text, MIME_HEADER_MAX);
	(void)mime_unfold(value, &text);
	if (text.ptr == NULL)
		imap_put_string(out, SLICE(""));
	else
		imap_put_string(out, slice_trim(buf_slice_of(&text)));
	buf_clear(&text);
}

static void
put_address(struct buf *out, const struct mime_address *a)
{
	(void)buf_char(out, '(');
	switch (a->kind) {
	case MIME_MAILBOX:
		imap_put_nstring(out, a->name);
		(void)buf_char(out, ' ');
		imap_put_nstring(out, a->route);
		(void)buf_char(out, ' ');
		imap_put_nstring(out, a->local);
		(void)buf_char(out, ' ');
		imap_put_nstring(out, a->domain);
		break;
	case MIME_GROUP:
		(void)buf_text(out, "NIL NIL ");
		imap_put_string(out, a->name.ptr == NULL ? SLICE("") : a->name);
		(void)buf_text(out, " NIL");
		break;
	case MIME_GROUP_END:
		(void)buf_text(out, "NIL NIL NIL NIL");
		break;
	}
	(void)buf_char(out, ')');
}

/* A list of addresses, or false and nothing written if there is none. */
static bool
put_addresses(struct buf *out, struct slice value)
{
	struct mime_addresses it;
	struct mime_address a;
	bool any = false;

	if (value.ptr == NULL)
		return false;
	mime_addresses_init(&it, value);
	while (!out->full && mime_addresses_next(&it, &a)) {
		if (!any)
			(void)buf_char(out, '(');
		any = true;
		put_address(out, &a);
	}
	if (any)
		(void)buf_char(out, ')');
	mime_addresses_clear(&it);
	return any;
}

/* The field's addresses, or those of the other, or NIL. */
static void
put_addresses_or(struct buf *out, struct slice value, struct slice other)
{
	(void)buf_char(out, ' ');
	if (!put_addresses(out, value) && !put_addresses(out, other))
		(void)buf_text(out, "NIL");
}

void
imap_put_envelope(struct buf *out, struct slice header)
{
	const struct slice none = { 0 };
	struct mime_envelope e;

	mime_envelope(header, &e);
	(void)buf_char(out, '(');
	put_value(out, e.date);
	(void)buf_char(out, ' ');
	put_value(out, e.subject);
	put_addresses_or(out, e.from, none);
	put_addresses_or(out, e.sender, e.from);
	put_addresses_or(out, e.reply_to, e.from);
	put_addresses_or(out, e.to, none);
	put_addresses_or(out, e.cc, none);
	put_addresses_or(out, e.bcc, none);
	(void)buf_char(out, ' ');
	put_value(out, e.in_reply_to);
	(void)buf_char(out, ' ');
	put_value(out, e.message_id);
	(void)buf_char(out, ')');
}

void
imap_put_no_envelope(struct buf *out)
{
	(void)buf_text(out, "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
}

/* ---- BODYSTRUCTURE ---- */

static void
put_parameters(struct buf *out, struct slice params)
{
	struct slice name, value;
	struct buf text;
	size_t n = 0;

	buf_init(&text, MIME_HEADER_MAX);
	while (n < MIME_PARAMS_MAX && !out->full && mime_param_next(&params, &name, &value)) {
		(void)buf_char(out, n == 0 ? '(' : ' ');
		imap_put_string(out, name);
		(void)buf_char(out, ' ');
		buf_reset(&text);
		(void)mime_unquote(value, &text);
		imap_put_string(out, text.ptr == NULL ? SLICE("") : buf_slice_of(&text));
		n++;
	}
	(void)buf_text(out, n == 0 ? "NIL" : ")");
	buf_clear(&text);
}

static void
put_disposition(struct buf *out, const struct mime_part *p)
{
	if (p->disposition.ptr == NULL) {
		(void)buf_text(out, "NIL");
		return;
	}
	(void)buf_char(out, '(');
	imap_put_string(out, p->disposition);
	(void)buf_char(out, ' ');
	put_parameters(out, p->disposition_params);
	(void)buf_char(out, ')');
}

static void
put_language(struct buf *out, const struct mime_part *p)
{
	struct slice rest = p->language, tag;
	size_t n = 0;

	while (n < MIME_PARAMS_MAX && mime_language_next(&rest, &tag)) {
		(void)buf_char(out, n++ == 0 ? '(' : ' ');
		imap_put_string(out, tag);
	}
	(void)buf_text(out, n == 0 ? "NIL" : ")");
}

/* body-ext: disposition, language, location. */
static void
put_extension(struct buf *out, const struct mime_part *p)
{
	(void)buf_char(out, ' ');
	put_disposition(out, p);
	(void)buf_char(out, ' ');
	put_language(out, p);
	(void)buf_char(out, ' ');
	put_value(out, p->location);
}

/* body-fields: parameters, id, description, encoding, octets. */
static void
put_fields(struct buf *out, const struct mime_part *p)
{
	put_parameters(out, p->type_params);
	(void)buf_char(out, ' ');
	put_value(out, p->id);
	(void)buf_char(out, ' ');
	put_value(out, p->description);
	(void)buf_char(out, ' ');
	imap_put_string(out, p->transfer_encoding);
	(void)buf_fmt(out, " %llu", (unsigned long long)p->body_size.octets);
}

static void
put_empty_text(struct buf *out, bool extended)
{
	(void)buf_text(out, "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0");
	(void)buf_text(out, extended ? " NIL NIL NIL NIL)" : ")");
}

struct structure {
	struct buf		*out;
	const struct mime	*m;
	bool			 extended;
};

static void put_part(const struct structure *s, uint32_t at);

static void
put_multipart(const struct structure *s, const struct mime_part *p)
{
	uint32_t child = p->kind == MIME_MULTIPART ? p->child : MIME_NONE;

	/* The grammar wants one part at least. */
	if (child == MIME_NONE)
		put_empty_text(s->out, s->extended);
	for (; child != MIME_NONE && !s->out->full; child = s->m->part[child].next)
		put_part(s, child);
	(void)buf_char(s->out, ' ');
	imap_put_string(s->out, p->subtype);
	if (s->extended) {
		(void)buf_char(s->out, ' ');
		put_parameters(s->out, p->type_params);
		put_extension(s->out, p);
	}
}

/* Behind the fields of message/rfc822: envelope, body, lines. */
static void
put_message(const struct structure *s, const struct mime_part *p)
{
	bool parsed = p->kind == MIME_MESSAGE && p->child != MIME_NONE;

	(void)buf_char(s->out, ' ');
	if (parsed)
		imap_put_envelope(s->out, s->m->part[p->child].header);
	else
		imap_put_no_envelope(s->out);
	(void)buf_char(s->out, ' ');
	if (parsed)
		put_part(s, p->child);
	else
		put_empty_text(s->out, s->extended);
	(void)buf_fmt(s->out, " %llu", (unsigned long long)p->body_size.lines);
}

static void
put_leaf(const struct structure *s, const struct mime_part *p)
{
	imap_put_string(s->out, p->type);
	(void)buf_char(s->out, ' ');
	imap_put_string(s->out, p->subtype);
	(void)buf_char(s->out, ' ');
	put_fields(s->out, p);
	if (p->kind == MIME_MESSAGE || (slice_ieq(p->type, "message") && slice_ieq(p->subtype, "rfc822")))
		put_message(s, p);
	else if (slice_ieq(p->type, "text"))
		(void)buf_fmt(s->out, " %llu", (unsigned long long)p->body_size.lines);
	if (s->extended) {
		(void)buf_char(s->out, ' ');
		put_value(s->out, p->md5);
		put_extension(s->out, p);
	}
}

/* Recursion is bounded by MIME_DEPTH_MAX. */
static void
put_part(const struct structure *s, uint32_t at)
{
	const struct mime_part *p = &s->m->part[at];

	(void)buf_char(s->out, '(');
	if (p->kind == MIME_MULTIPART || slice_ieq(p->type, "multipart"))
		put_multipart(s, p);
	else
		put_leaf(s, p);
	(void)buf_char(s->out, ')');
}

void
imap_put_structure(struct buf *out, const struct mime *m, bool extended)
{
	const struct structure s = { .out = out, .m = m, .extended = extended };

	put_part(&s, 0);
}

void
imap_put_opaque_body(struct buf *out, struct mime_size size)
{
	(void)buf_fmt(out, "(\"application\" \"octet-stream\" NIL NIL NIL \"7bit\" %llu)",
	    (unsigned long long)size.octets);
}
