/* mime against the header fields of the corpus (tests/data/mime-corpus/SOURCE.txt): what
 * another parser makes of them.  Where we read a broken one otherwise, it says why. */
#include "check.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "mime/mime.h"

#define CORPUS "tests/data/mime-corpus/"

static struct slice
text_of(const json_t *o, const char *name)
{
	const json_t *s = json_object_get(o, name);

	return json_is_string(s) ? slice_make(json_string_value(s), json_string_length(s)) : (struct slice){ 0 };
}

static json_t *
load(const char *path)
{
	json_error_t error;
	json_t *all = json_load_file(path, JSON_ALLOW_NUL, &error);

	if (all == NULL)
		fail_msg("%s: %s", path, error.text);
	return all;
}

/* Blanks in a row are one: the corpus folds, we unfold. */
static void
squeeze(struct slice in, struct buf *out)
{
	bool blank = false;

	in = slice_trim(in);
	for (size_t i = 0; i < in.len; i++) {
		bool is = strchr(" \t\r\n", in.ptr[i]) != NULL;

		if (!is || !blank)
			(void)buf_char(out, is ? ' ' : in.ptr[i]);
		blank = is;
	}
}

static bool
same_text(struct slice a, struct slice b)
{
	struct buf x, y;
	bool same;

	buf_init(&x, 100000);
	buf_init(&y, 100000);
	squeeze(a, &x);
	squeeze(b, &y);
	same = slice_eq(buf_slice_of(&x), buf_slice_of(&y));
	buf_clear(&x);
	buf_clear(&y);
	return same;
}

/* ---- Date ---- */

static void
dates(void **unused)
{
	static const char *const other[] = {
		"20 11 (some", " 4 8 15", "by 2002:",	/* months are names; this field is no Received: */
		"Tue, 1 Jul 2003 ((invalid)",		/* an open comment hides the rest, not the date before it */
		"Thu, 10 Jul 1997 14:53:31 EST5EDT",	/* no zone of RFC 5322: unknown, UTC */
	};
	json_t *all = load(CORPUS "date.json"), *one;
	size_t i;

	(void)unused;
	json_array_foreach(all, i, one) {
		const json_t *e = json_object_get(one, "expected");
		struct slice header = text_of(one, "header");
		struct mime_date d = { 0 };
		bool ok = mime_date(header, &d), skip = false;
		int zone = 0;

		for (size_t k = 0; k < LEN(other); k++) {
			struct slice h = header;

			skip |= slice_prefix(&h, other[k]);
		}
		if (skip)
			continue;
		check_row(i, ok == json_is_object(e));
		if (!ok)
			continue;
		zone = (int)(json_integer_value(json_object_get(e, "tz_hour")) * 60 +
		    json_integer_value(json_object_get(e, "tz_minute")));
		if (json_is_true(json_object_get(e, "tz_before_gmt")))
			zone = -zone;
		check_row(i, d.zone_min == zone);
		check_row(i, d.utc + zone * 60 == timegm(&(struct tm){
		    .tm_year = (int)json_integer_value(json_object_get(e, "year")) - 1900,
		    .tm_mon = (int)json_integer_value(json_object_get(e, "month")) - 1,
		    .tm_mday = (int)json_integer_value(json_object_get(e, "day")),
		    .tm_hour = (int)json_integer_value(json_object_get(e, "hour")),
		    .tm_min = (int)json_integer_value(json_object_get(e, "minute")),
		    .tm_sec = (int)json_integer_value(json_object_get(e, "second")) }));
	}
	json_decref(all);
}

/* ---- Content-Type ---- */

static bool
has_param(struct slice params, const json_t *pair)
{
	const char *name = json_string_value(json_array_get(pair, 0));
	const json_t *value = json_array_get(pair, 1);
	struct buf got;
	bool same;

	if (strstr(name, "-language") != NULL)
		return true;	/* we leave it out */
	buf_init(&got, 100000);
	same = mime_param_utf8(params, name, &got) &&
	    same_text(buf_slice_of(&got), slice_make(json_string_value(value), json_string_length(value)));
	buf_clear(&got);
	return same;
}

static void
content_types(void **unused)
{
	static const char *const other[] = {
		"text/plain/format",		/* '/' is no character of a token */
		"\xc3\xa1/",			/* nor is an octet of UTF-8 */
		"malicious/", "test/encoded",	/* nonsense behind '*' */
		"application/pdf\n",		/* charset in every piece */
		"image/jpeg;\n   name=\"",	/* blanks between encoded-words go in quotes too */
		"inva/lid",			/* an open quoted-string loses blanks at its end */
		"text/plain; name=  ",		/* an empty parameter is one */
	};
	json_t *all = load(CORPUS "content_type.json"), *one;
	size_t i;

	(void)unused;
	json_array_foreach(all, i, one) {
		const json_t *e = json_object_get(one, "expected"), *attributes;
		struct slice header = text_of(one, "header"), subtype = text_of(e, "c_subtype");
		struct buf message;
		struct mime m;
		json_t *pair;
		size_t k;
		bool skip = subtype.ptr == NULL;	/* without a subtype it is text/plain to us */

		for (k = 0; k < LEN(other); k++) {
			struct slice h = header;

			skip |= slice_prefix(&h, other[k]);
		}
		if (skip)
			continue;
		buf_init(&message, 100000);
		(void)buf_text(&message, "Content-Type:");
		(void)buf_slice(&message, header);
		assert_true(mime_parse(buf_slice_of(&message), &m));
		check_row(i, m.part[0].type.len == text_of(e, "c_type").len &&
		    strncasecmp(m.part[0].type.ptr, text_of(e, "c_type").ptr, m.part[0].type.len) == 0);
		check_row(i, m.part[0].subtype.len == subtype.len &&
		    strncasecmp(m.part[0].subtype.ptr, subtype.ptr, subtype.len) == 0);
		attributes = json_object_get(e, "attributes");
		json_array_foreach(attributes, k, pair)
			check_row(i, has_param(m.part[0].type_params, pair));
		mime_clear(&m);
		buf_clear(&message);
	}
	json_decref(all);
}

/* ---- unstructured ---- */

static void
unstructured(void **unused)
{
	json_t *all = load(CORPUS "unstructured.json"), *one;
	size_t i, compared = 0;

	(void)unused;
	json_array_foreach(all, i, one) {
		struct slice header = text_of(one, "header"), want = text_of(one, "expected");
		struct buf field, got;
		struct mime_field f;
		struct slice rest;

		buf_init(&field, 100000);
		buf_init(&got, 100000);
		(void)buf_text(&field, "Subject:");
		(void)buf_slice(&field, header);
		rest = buf_slice_of(&field);
		assert_true(mime_field_next(&rest, true, &f));
		assert_true(mime_value_utf8(f.value, &got));
		/* "[x]=?..." without a blank between, a piece of base64 on each line: as written. */
		if (slice_find(header, '[') == header.len && memmem(header.ptr, header.len, "Some text", 9) == NULL &&
		    memmem(header.ptr, header.len, "Hello\n _", 8) == NULL && memmem(header.ptr, header.len, "Hello\r\n", 7) == NULL) {
			if (!same_text(buf_slice_of(&got), want))
				fail_msg("row %zu: %s", i, buf_cstr(&got));
			compared++;
		}
		buf_clear(&field);
		buf_clear(&got);
	}
	assert_true(compared > 20);
	json_decref(all);
}

/* ---- addresses ---- */


static void
check_address(size_t row, const struct mime_address *a, const json_t *want)
{
	struct slice name = text_of(want, "name"), address = text_of(want, "address");
	struct buf got;

	buf_init(&got, 100000);
	if (a->name.ptr != NULL)
		(void)mime_value_utf8(a->name, &got);
	check_row(row, same_text(buf_slice_of(&got), name));
	buf_reset(&got);
	(void)buf_slice(&got, a->local);
	if (a->domain.len > 0)
		(void)buf_fmt(&got, "@%.*s", (int)a->domain.len, a->domain.ptr);
	check_row(row, slice_eq(buf_slice_of(&got), address));
	buf_clear(&got);
}

/* Comments are not joined to names, URLs are no addresses, "a  . b" is "a.b". */
static bool
comparable(struct slice header)
{
	return memmem(header.ptr, header.len, "://", 3) == NULL && memmem(header.ptr, header.len, "mailto:", 7) == NULL &&
	    slice_find(header, '(') == header.len && memmem(header.ptr, header.len, "  . ", 4) == NULL &&
	    memmem(header.ptr, header.len, "invalid@", 8) == NULL && memmem(header.ptr, header.len, "\n\n", 2) == NULL &&
	    memmem(header.ptr, header.len, "> =?", 4) == NULL;
}

static void
addresses(void **unused)
{
	json_t *all = load(CORPUS "address.json"), *one;
	size_t i, compared = 0;

	(void)unused;
	json_array_foreach(all, i, one) {
		const json_t *list = json_object_get(json_object_get(one, "expected"), "List");
		struct slice header = text_of(one, "header");
		struct mime_addresses it;
		struct mime_address a;
		size_t n = 0;

		mime_addresses_init(&it, header);
		while (mime_addresses_next(&it, &a)) {
			if (json_is_array(list) && comparable(header))
				check_address(i, &a, json_array_get(list, n));
			n++;
		}
		mime_addresses_clear(&it);
		if (json_is_array(list) && comparable(header)) {
			check_row(i, n == json_array_size(list));
			compared++;
		}
	}
	assert_true(compared > 25);
	json_decref(all);
}

static int
open_charsets(void **unused)
{
	(void)unused;
	mime_charsets_open();
	return 0;
}

static int
close_charsets(void **unused)
{
	(void)unused;
	mime_charsets_close();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dates),
		cmocka_unit_test(content_types),
		cmocka_unit_test(unstructured),
		cmocka_unit_test(addresses),
	};

	return cmocka_run_group_tests(tests, open_charsets, close_charsets);
}
