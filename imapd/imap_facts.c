#include "imap_facts.h"

#include "mime/mime.h"

static bool
find_field(struct imap_session *s, uint32_t seq, const char *name, struct mime_field *out)
{
	struct slice header;

	return !store_folder_at(s->folder, seq)->gone &&
	    imap_message_header(&s->message, s->folder, seq, slice_of(name), &header, NULL) == STORE_OK &&
	    mime_field_find(header, name, out);
}

static int64_t
arrived(struct imap_session *s, uint32_t seq)
{
	int64_t date = 0;

	(void)store_message_date(s->folder, seq, &date);
	return date;
}

int64_t
imap_fact_sent(struct imap_session *s, uint32_t seq)
{
	struct mime_field field;
	struct mime_date date;

	if (find_field(s, seq, "Date", &field) && mime_date(field.value, &date))
		return date.utc;
	return arrived(s, seq);
}

static bool
add_text(struct slice utf8, struct buf *text, struct imap_fact *out)
{
	size_t from = text->len;

	if (!mime_collation_key(utf8, text))
		return false;
	if (text->len - from > IMAP_FACT_MAX)
		text->len = from + IMAP_FACT_MAX;
	out->text = slice_sub(buf_slice_of(text), from, text->len - from);
	return true;
}

static bool
subject(struct imap_session *s, uint32_t seq, struct buf *text, struct imap_fact *out)
{
	struct mime_field field;
	struct buf base;
	bool ok, reply;

	if (!find_field(s, seq, "Subject", &field))
		return true;
	buf_init(&base, 4 * MIME_HEADER_MAX);
	ok = mime_base_subject(field.value, &base, &reply) && add_text(buf_slice_of(&base), text, out);
	buf_clear(&base);
	return ok;
}

/* RFC 5957 section 3: the display name, of a group its name, or else the address. */
static bool
add_display(const struct mime_address *a, struct buf *text, struct imap_fact *out)
{
	struct buf name;
	bool ok;

	buf_init(&name, 4 * MIME_HEADER_MAX);
	if (a->name.len > 0)
		(void)mime_value_utf8(slice_sub(a->name, 0, 4 * IMAP_FACT_MAX), &name);
	else if (a->kind == MIME_MAILBOX && a->local.len > 0) {
		(void)buf_slice(&name, a->local);
		if (a->domain.len > 0) {
			(void)buf_char(&name, '@');
			(void)buf_slice(&name, a->domain);
		}
	}
	ok = add_text(buf_slice_of(&name), text, out);
	buf_clear(&name);
	return ok;
}

/* The first address of the field: what ENVELOPE calls its mailbox, or how it is shown. */
static bool
address(struct imap_session *s, uint32_t seq, const char *name, bool display, struct buf *text, struct imap_fact *out)
{
	struct mime_addresses it;
	struct mime_address a;
	struct mime_field field;
	bool ok = true;

	if (!find_field(s, seq, name, &field))
		return true;
	mime_addresses_init(&it, field.value);
	if (mime_addresses_next(&it, &a)) {
		if (display)
			ok = add_display(&a, text, out);
		else
			ok = add_text(a.kind == MIME_GROUP ? a.name : a.local, text, out);
	}
	mime_addresses_clear(&it);
	return ok;
}

bool
imap_fact(struct imap_session *s, uint32_t seq, enum imap_sort_by by, struct buf *text, struct imap_fact *out)
{
	uint64_t size = 0;

	*out = (struct imap_fact){ 0 };
	switch (by) {
	case SORT_ARRIVAL:
		out->number = arrived(s, seq);
		break;
	case SORT_SIZE:
		(void)store_message_size(s->folder, seq, &size);
		out->number = (int64_t)size;
		break;
	case SORT_DATE:
		out->number = imap_fact_sent(s, seq);
		break;
	case SORT_SUBJECT:
		return subject(s, seq, text, out);
	case SORT_CC:
		return address(s, seq, "Cc", false, text, out);
	case SORT_FROM:
		return address(s, seq, "From", false, text, out);
	case SORT_TO:
		return address(s, seq, "To", false, text, out);
	case SORT_DISPLAYFROM:
		return address(s, seq, "From", true, text, out);
	case SORT_DISPLAYTO:
		return address(s, seq, "To", true, text, out);
	case SORT_COUNT:
		break;
	}
	return true;
}
