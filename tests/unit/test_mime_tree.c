/* mime: the parts of messages; limits, time, and a corpus of real and broken mail. */
#include "check.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mime/mime.h"

#define CORPUS "tests/data/mime-corpus"

/* ---- a tree as text: type/subtype:octets,lines(children) ---- */

static void
print_part(const struct mime *m, uint32_t at, struct buf *out)
{
	const struct mime_part *p = &m->part[at];

	(void)buf_fmt(out, "%.*s/%.*s:%llu,%llu", (int)p->type.len, p->type.ptr, (int)p->subtype.len, p->subtype.ptr,
	    (unsigned long long)p->body_size.octets, (unsigned long long)p->body_size.lines);
	if (p->child == MIME_NONE)
		return;
	(void)buf_char(out, p->kind == MIME_MESSAGE ? '[' : '(');
	for (uint32_t c = p->child; c != MIME_NONE; c = m->part[c].next) {
		if (c != p->child)
			(void)buf_char(out, ' ');
		print_part(m, c, out);
	}
	(void)buf_char(out, p->kind == MIME_MESSAGE ? ']' : ')');
}

/* Every part's counts are those of its text, and every part lies within its parent. */
static void
check_tree(const struct mime *m)
{
	for (uint32_t i = 0; i < m->n; i++) {
		const struct mime_part *p = &m->part[i];
		struct mime_size body = mime_measure(p->body);

		assert_int_equal(p->body_size.octets, body.octets);
		assert_int_equal(p->body_size.lines, body.lines);
		assert_int_equal(p->header_octets, mime_measure(p->header).octets);
		assert_true(p->type.len > 0 && p->subtype.len > 0 && p->transfer_encoding.len > 0);
		assert_true((p->kind == MIME_LEAF) == (p->child == MIME_NONE));
		assert_true(p->depth <= MIME_DEPTH_MAX);
		if (i == 0)
			continue;
		assert_true(p->header.ptr >= m->part[p->parent].body.ptr);
		if (p->body.len > 0)	/* of an empty one the line end before the boundary belongs to its header */
			assert_true(p->body.ptr + p->body.len <= m->part[p->parent].body.ptr + m->part[p->parent].body.len);
	}
}

/* With LF for CRLF. */
static char *
with_lf(struct slice s, size_t *len)
{
	char *out = malloc(s.len + 1);

	*len = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] != '\r' || i + 1 == s.len || s.ptr[i + 1] != '\n')
			out[(*len)++] = s.ptr[i];
	}
	return out;
}

static void
check_print(size_t row, struct slice text, const char *want)
{
	struct buf out;
	struct mime m;

	buf_init(&out, 100000);
	assert_true(mime_parse(text, &m));
	check_tree(&m);
	print_part(&m, 0, &out);
	if (strcmp(buf_cstr(&out), want) != 0)
		fail_msg("row %zu: %s", row, buf_cstr(&out));
	buf_clear(&out);
	mime_clear(&m);
}

#define MIXED "Content-Type: multipart/mixed; boundary=b\r\n\r\n"

static void
trees(void **unused)
{
	static const struct { const char *text, *tree; } row[] = {
		{ "", "text/plain:0,0" },
		{ "Subject: x\r\n\r\nhello\r\n", "text/plain:7,1" },
		{ "Content-Type: text/HTML; x=y\r\n\r\na\r\nb", "text/HTML:4,2" },
		{ "Content-Type: nonsense\r\n\r\na", "text/plain:1,1" },
		{ MIXED "pre\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: image/png\r\n\r\ntwo\r\n\r\n--b--\r\nepi\r\n",
		    "multipart/mixed:68,11(text/plain:3,1 image/png:5,1)" },
		{ MIXED "--b\r\n\r\n--b--\r\n", "multipart/mixed:14,3(text/plain:0,0)" },
		/* a delimiter in a header; blanks behind it; one that only begins like it */
		{ MIXED "--b\r\nX: y\r\n--b  \r\n\r\nx\r\n--bb\r\n--b--", "multipart/mixed:34,7(text/plain:0,0 text/plain:7,2)" },
		/* not closed, without line end, cut off */
		{ MIXED "--b\r\n\r\nx", "multipart/mixed:8,3(text/plain:1,1)" },
		{ MIXED "--b", "multipart/mixed:3,1(text/plain:0,0)" },
		{ MIXED "no delimiter\r\n", "multipart/mixed:14,1" },
		{ "Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n", "multipart/mixed:10,3" },
		{ "Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n\r\nx\r\n", "multipart/mixed:9,3" },
		/* an inner multipart that is not closed ends with the outer */
		{ MIXED "--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\n1\r\n--c\r\n\r\n2\r\n--b\r\n\r\n3\r\n--b--\r\n",
		    "multipart/mixed:93,13(multipart/alternative:18,6(text/plain:1,1 text/plain:1,1) text/plain:1,1)" },
		/* boundaries of which one begins with the other */
		{ "Content-Type: multipart/mixed; boundary=ab\r\n\r\n--ab\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nx\r\n--a--\r\n--ab--\r\n",
		    "multipart/mixed:76,8(multipart/mixed:15,4(text/plain:1,1))" },
		/* messages in messages */
		{ "Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nhi\r\n", "message/rfc822:19,3[text/plain:4,1]" },
		{ "Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\n\r\nx", "message/rfc822:35,4[message/rfc822:3,2[text/plain:1,1]]" },
		{ MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\nS: i\r\n\r\nhi\r\n--b--\r\n", "multipart/mixed:56,7(message/rfc822:10,3[text/plain:2,1])" },
		{ "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3Vi\r\n", "message/rfc822:6,1" },
		{ "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nS: i\r\n\r\nhi\r\n--b--", "multipart/digest:24,6(message/rfc822:10,3[text/plain:2,1])" },
		{ "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--", "multipart/digest:42,5(text/plain:2,1)" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		size_t len;
		char *lf = with_lf(slice_of(row[i].text), &len);

		check_print(i, slice_of(row[i].text), row[i].tree);
		check_print(i, slice_make(lf, len), row[i].tree);	/* the same sizes */
		free(lf);
	}
}

static void
fields_of_a_part(void **unused)
{
	static const char text[] =
	    "Content-Type: Text/Plain; charset=utf-8\r\nContent-Transfer-Encoding: Quoted-Printable\r\n"
	    "Content-ID: <x@y>\r\nContent-Description: a\r\n b\r\nContent-Disposition: attachment; filename=f\r\n"
	    "Content-MD5: Q2h\r\nContent-Language: de, en\r\nContent-Location: http://x/\r\n\r\nbody";
	const struct mime_part *p;
	struct mime m;

	(void)unused;
	assert_true(mime_parse(SLICE(text), &m));
	p = &m.part[0];
	assert_true(slice_is(p->type, "Text") && slice_is(p->subtype, "Plain"));
	assert_true(slice_is(p->type_params, "; charset=utf-8"));
	assert_int_equal(p->encoding, MIME_QUOTED_PRINTABLE);
	assert_true(slice_is(p->transfer_encoding, "Quoted-Printable"));
	assert_true(slice_is(p->id, "<x@y>") && slice_is(p->description, "a\r\n b"));
	assert_true(slice_is(p->disposition, "attachment") && slice_is(p->disposition_params, "; filename=f"));
	assert_true(slice_is(p->md5, "Q2h") && slice_is(p->language, "de, en") && slice_is(p->location, "http://x/"));
	mime_clear(&m);
	assert_true(mime_parse(SLICE("Content-Disposition: ;\r\n\r\n"), &m));
	assert_null(m.part[0].disposition.ptr);
	assert_true(slice_is(m.part[0].transfer_encoding, "7BIT"));
	mime_clear(&m);
}

/* RFC 3501 section 6.4.5 has this message as its example. */
static const char example[] =
    "Content-Type: multipart/mixed; boundary=m\r\n\r\n"
    "--m\r\nContent-Type: text/plain\r\n\r\nP1\r\n"
    "--m\r\nContent-Type: application/octet-stream\r\n\r\nP2\r\n"
    "--m\r\nContent-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary=n\r\n\r\n"
    "--n\r\nContent-Type: text/plain\r\n\r\nP3.1\r\n--n\r\nContent-Type: application/octet-stream\r\n\r\nP3.2\r\n--n--\r\n"
    "--m\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n"
    "--o\r\nContent-Type: image/gif\r\n\r\nP4.1\r\n"
    "--o\r\nContent-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary=p\r\n\r\n"
    "--p\r\nContent-Type: text/plain\r\n\r\nP4.2.1\r\n--p\r\nContent-Type: multipart/alternative; boundary=q\r\n\r\n"
    "--q\r\nContent-Type: text/plain\r\n\r\nP4.2.2.1\r\n--q\r\nContent-Type: text/richtext\r\n\r\nP4.2.2.2\r\n--q--\r\n--p--\r\n"
    "--o--\r\n--m--\r\n";

static void
numbered(void **unused)
{
	static const struct { uint32_t path[5]; const char *body; } row[] = {
		{ { 1 }, "P1" }, { { 2 }, "P2" }, { { 3, 1 }, "P3.1" }, { { 3, 2 }, "P3.2" }, { { 4, 1 }, "P4.1" },
		{ { 4, 2, 1 }, "P4.2.1" }, { { 4, 2, 2, 1 }, "P4.2.2.1" }, { { 4, 2, 2, 2 }, "P4.2.2.2" },
		{ { 5 }, NULL }, { { 1, 1 }, NULL }, { { 3, 3 }, NULL }, { { 4, 2, 2, 2, 1 }, NULL }, { { UINT32_MAX }, NULL },
	};
	struct mime m;

	(void)unused;
	assert_true(mime_parse(SLICE(example), &m));
	for (size_t i = 0; i < LEN(row); i++) {
		size_t n = 0;
		uint32_t at;

		while (n < 5 && row[i].path[n] != 0)
			n++;
		at = mime_part_at(&m, row[i].path, n);
		check_row(i, (at == MIME_NONE) == (row[i].body == NULL));
		check_row(i, at == MIME_NONE || slice_is(m.part[at].body, row[i].body));
	}
	assert_int_equal(mime_part_at(&m, NULL, 0), 0);
	assert_int_equal(m.part[mime_part_at(&m, (uint32_t[]){ 3 }, 1)].kind, MIME_MESSAGE);
	mime_clear(&m);
	assert_true(mime_parse(SLICE("\r\nplain"), &m));	/* no multipart: itself is part 1 */
	assert_int_equal(mime_part_at(&m, (uint32_t[]){ 1 }, 1), 0);
	assert_int_equal(mime_part_at(&m, (uint32_t[]){ 2 }, 1), MIME_NONE);
	assert_int_equal(mime_part_at(&m, (uint32_t[]){ 1, 1 }, 2), MIME_NONE);
	mime_clear(&m);
}

/* ---- V8: limits and linear time ---- */

static void
deep_multiparts(struct buf *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)buf_fmt(b, "Content-Type: multipart/mixed; boundary=b%zu\r\n\r\n--b%zu\r\n", i, i);
}

static void
deep_messages(struct buf *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)buf_text(b, "Content-Type: message/rfc822\r\n\r\n");
}

static void
many_parts(struct buf *b, size_t n)
{
	(void)buf_text(b, MIXED);
	for (size_t i = 0; i < n; i++)
		(void)buf_text(b, "--b\r\n\r\nx\r\n");
}

static void
many_fields(struct buf *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)buf_text(b, "A: b\r\n");
}

static void
many_folds(struct buf *b, size_t n)
{
	(void)buf_text(b, "Content-Type: text/plain;");
	for (size_t i = 0; i < n; i++)
		(void)buf_text(b, "\r\n a=b;");
}

static void
many_comments(struct buf *b, size_t n)
{
	(void)buf_text(b, "Content-Type: ");
	for (size_t i = 0; i < n; i++)
		(void)buf_text(b, "((((");
}

/* Lines that nearly are one of a hundred boundaries. */
static void
near_boundaries(struct buf *b, size_t n)
{
	char almost[180];

	memset(almost, 'x', sizeof(almost));
	for (size_t i = 0; i < 99; i++) {
		(void)buf_fmt(b, "Content-Type: multipart/mixed; boundary=%.170s%zu\r\n\r\n--%.170s%zu\r\n", almost, i, almost, i);
	}
	(void)buf_text(b, "\r\n");
	for (size_t i = 0; i < n; i++)
		(void)buf_fmt(b, "--%.170sy\r\n", almost);
}

static double
time_of(void (*make)(struct buf *, size_t), size_t n, uint32_t *parts)
{
	struct timespec from, to;
	struct buf b;
	struct mime m;
	double best = 1e9;

	buf_init(&b, 64 << 20);
	make(&b, n);
	assert_false(b.full);
	for (int i = 0; i < 3; i++) {
		double s;

		(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
		assert_true(mime_parse(buf_slice_of(&b), &m));
		(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
		s = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
		best = s < best ? s : best;
		*parts = m.n;
		mime_clear(&m);
	}
	buf_clear(&b);
	return best;
}

static void
limits_and_time(void **unused)
{
	static const struct { void (*make)(struct buf *, size_t); size_t n; } row[] = {
		{ deep_multiparts, 100000 }, { deep_messages, 150000 }, { many_parts, 500000 }, { many_fields, 800000 },
		{ many_folds, 700000 }, { many_comments, 1200000 }, { near_boundaries, 28000 },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		uint32_t parts;
		double half = time_of(row[i].make, row[i].n, &parts);
		double whole = time_of(row[i].make, 2 * row[i].n, &parts);

		check_row(i, parts <= MIME_PARTS_MAX);
#ifndef PP_SANITIZE
		/* some 10 MB each: RELIABILITY asks for less than a second, and for linear time */
		if (whole > 1.0 || (whole > 0.05 && whole / half > 3.2))
			fail_msg("row %zu: %.3f s, then %.3f s", i, half, whole);
#else
		(void)half, (void)whole;
#endif
	}
}

/* ---- the corpus ---- */

static void
check_message(struct slice text)
{
	struct mime_envelope e;
	struct mime_field f;
	struct mime_key key;
	struct slice rest;
	struct mime m;
	size_t octets = 0;

	assert_true(mime_parse(text, &m));
	check_tree(&m);
	rest = m.part[0].header;
	while (mime_field_next(&rest, true, &f))
		octets += f.raw.len;
	assert_int_equal(octets + rest.len, m.part[0].header.len);
	mime_envelope(m.part[0].header, &e);
	assert_true(mime_key_init(&key, SLICE("no such text in any of them")));
	assert_false(mime_match_body(&key, &m));
	mime_key_clear(&key);
	mime_clear(&m);
}

static struct buf
read_file(const char *folder, const char *name)
{
	char path[512];
	struct buf b;
	FILE *f;

	(void)snprintf(path, sizeof(path), CORPUS "/%s/%s", folder, name);
	buf_init(&b, 32 << 20);
	f = fopen(path, "rb");
	assert_non_null(f);
	while (!feof(f) && !ferror(f))
		buf_add(&b, fread(buf_room(&b, 65536), 1, 65536, f));
	(void)fclose(f);
	return b;
}

/* Whole; cut at many places; with LF. */
static void
corpus(void **unused)
{
	static const char *const folders[] = { "rfc", "legacy", "malformed" };
	size_t n = 0;

	(void)unused;
	for (size_t i = 0; i < LEN(folders); i++) {
		char path[512];
		struct dirent *d;
		DIR *dir;

		(void)snprintf(path, sizeof(path), CORPUS "/%s", folders[i]);
		dir = opendir(path);
		assert_non_null(dir);
		while ((d = readdir(dir)) != NULL) {
			struct buf b;
			size_t len, step;
			char *lf;

			if (strstr(d->d_name, ".eml") == NULL)
				continue;
			b = read_file(folders[i], d->d_name);
			check_message(buf_slice_of(&b));
			step = b.len / 100 + 1;
			for (size_t cut = 0; cut < b.len; cut += step)
				check_message(slice_make(b.ptr, cut));
			lf = with_lf(buf_slice_of(&b), &len);
			check_message(slice_make(lf, len));
			free(lf);
			buf_clear(&b);
			n++;
		}
		(void)closedir(dir);
	}
	assert_int_equal(n, 87);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trees),
		cmocka_unit_test(fields_of_a_part),
		cmocka_unit_test(numbered),
		cmocka_unit_test(limits_and_time),
		cmocka_unit_test(corpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
