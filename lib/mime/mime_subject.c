/* mime_subject.c: the base subject of RFC 5256 section 2.1. */
#include <strings.h>

#include "mime_int.h"

#define SUBJECT_MAX	4096	/* octets that are looked at */

static struct slice
skip_blanks(struct slice s)
{
	while (s.len > 0 && s.ptr[0] == ' ')
		s = slice_sub(s, 1, s.len);
	return s;
}

/* subj-blob: "[" *BLOBCHAR "]" *WSP */
static bool
take_blob(struct slice *s)
{
	if (s->len == 0 || s->ptr[0] != '[')
		return false;
	for (size_t i = 1; i < s->len; i++) {
		if (s->ptr[i] == '[')
			return false;
		if (s->ptr[i] == ']') {
			*s = skip_blanks(slice_sub(*s, i + 1, s->len));
			return true;
		}
	}
	return false;
}

/* subj-refwd: ("re" / ("fw" ["d"])) *WSP [subj-blob] ":" */
static bool
take_refwd(struct slice *s)
{
	struct slice t = *s;

	if (slice_iprefix(&t, "fw"))
		(void)slice_iprefix(&t, "d");
	else if (!slice_iprefix(&t, "re"))
		return false;
	t = skip_blanks(t);
	(void)take_blob(&t);
	if (!slice_prefix(&t, ":"))
		return false;
	*s = t;
	return true;
}

/* subj-leader: (*subj-blob subj-refwd) / WSP */
static bool
take_leader(struct slice *s, bool *reply)
{
	struct slice t = *s;

	if (slice_prefix(s, " "))
		return true;
	while (take_blob(&t))
		;
	if (!take_refwd(&t))
		return false;
	*reply = true;
	*s = t;
	return true;
}

/* subj-trailer: "(fwd)" / WSP */
static bool
take_trailer(struct slice *s, bool *reply)
{
	if (s->len > 0 && s->ptr[s->len - 1] == ' ') {
		s->len--;
		return true;
	}
	if (s->len < 5 || strncasecmp(s->ptr + s->len - 5, "(fwd)", 5) != 0)
		return false;
	s->len -= 5;
	*reply = true;
	return true;
}

/* Steps 2 to 6. */
static struct slice
strip(struct slice s, bool *reply)
{
	for (;;) {
		struct slice t;

		while (take_trailer(&s, reply))		/* 2 */
			;
		do {
			while (take_leader(&s, reply))	/* 3 */
				;
			t = s;				/* 4: a blob, unless it is all there is */
			if (!take_blob(&t) || t.len == 0)
				break;
			s = t;
		} while (true);				/* 5 */
		t = s;					/* 6 */
		if (!slice_iprefix(&t, "[fwd:") || t.len == 0 || t.ptr[t.len - 1] != ']')
			return s;
		s = slice_sub(t, 0, t.len - 1);
		*reply = true;
	}
}

/* Step 1: blanks of any kind and number become one space. */
static void
squeeze(struct buf *text)
{
	size_t to = 0;

	for (size_t i = 0; i < text->len; i++) {
		char c = text->ptr[i];

		if (c == '\t' || c == '\r' || c == '\n')
			c = ' ';
		if (c != ' ' || to == 0 || text->ptr[to - 1] != ' ')
			text->ptr[to++] = c;
	}
	text->len = to;
}

/* As many whole characters as fit in max octets. */
static size_t
whole_characters(struct slice utf8, size_t max)
{
	if (utf8.len <= max)
		return utf8.len;
	while (max > 0 && ((unsigned char)utf8.ptr[max] & 0xc0) == 0x80)
		max--;
	return max;
}

bool
mime_base_subject(struct slice value, struct buf *out, bool *reply)
{
	struct buf text;

	*reply = false;
	buf_init(&text, 4 * MIME_HEADER_MAX);
	(void)mime_value_utf8(slice_sub(value, 0, 4 * SUBJECT_MAX), &text);
	if (text.ptr != NULL) {
		text.len = whole_characters(buf_slice_of(&text), SUBJECT_MAX);
		squeeze(&text);
		(void)buf_slice(out, strip(buf_slice_of(&text), reply));
	}
	buf_clear(&text);
	return !out->full;
}
