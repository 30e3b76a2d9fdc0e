/* subscriptions.c: the file of that name, as Dovecot writes it.
 *
 * Version 1 is a name a line.  Version 2 begins with "V\t2" and an empty line,
 * and has tabs between the levels of a name.  We read both and write version 1.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "store_int.h"

#define SUBSCRIPTIONS_FILE	"subscriptions"
#define COURIER_FILE		"courierimapsubscribed"
#define SUBSCRIPTIONS_OCTETS	(4 * 1024 * 1024)

/* One line of the file as a canonical name; false if it is none. */
static bool
parse_line(struct slice line, bool tabs, char out[STORE_NAME_MAX + 1])
{
	char name[STORE_NAME_MAX + 1];

	if (!slice_text(line, name, sizeof(name)))
		return false;
	for (char *p = name; tabs && *p != '\0'; p++) {
		if (*p == '\t')
			*p = STORE_SEPARATOR;
	}
	return store_name_check(slice_of(name), false, out);
}

/* Lines of "INBOX.name": read while there is no list of our own. */
static enum store_error
read_courier(struct store *s, struct buf *out)
{
	enum store_error error;
	struct slice rest;
	struct buf text;

	buf_init(&text, SUBSCRIPTIONS_OCTETS);
	error = store_read_file(s->dir, COURIER_FILE, SUBSCRIPTIONS_OCTETS - 4096, &text);
	rest = buf_slice_of(&text);
	while (error == STORE_OK && rest.len > 0) {
		struct slice line = slice_cut(&rest, '\n');
		char name[STORE_NAME_MAX + 1];

		if (!slice_ieq(line, "INBOX"))
			(void)slice_iprefix(&line, "INBOX.");
		if (parse_line(line, false, name))
			(void)buf_fmt(out, "%s\n", name);
	}
	buf_clear(&text);
	return error == STORE_NONEXISTENT ? STORE_OK : error;	/* nothing is subscribed */
}

enum store_error
subscriptions_read(struct store *s, struct buf *out)
{
	enum store_error error;
	struct slice rest;
	struct buf text;
	bool tabs;

	buf_init(&text, SUBSCRIPTIONS_OCTETS);
	error = store_read_file(s->dir, SUBSCRIPTIONS_FILE, SUBSCRIPTIONS_OCTETS - 4096, &text);
	rest = buf_slice_of(&text);
	tabs = error == STORE_OK && slice_prefix(&rest, "V\t2\n");
	while (error == STORE_OK && rest.len > 0) {
		char name[STORE_NAME_MAX + 1];

		if (parse_line(slice_cut(&rest, '\n'), tabs, name))
			(void)buf_fmt(out, "%s\n", name);
	}
	buf_clear(&text);
	if (error == STORE_NONEXISTENT)
		error = read_courier(s, out);
	return out->full ? STORE_MEMORY : error;
}

enum store_error
subscriptions_write(struct store *s, struct slice lines)
{
	return store_write_file(s, s->dir, SUBSCRIPTIONS_FILE, lines);
}

enum store_error
store_subscribe(struct store *s, struct slice name, bool on)
{
	char canonical[STORE_NAME_MAX + 1];
	struct buf old, fresh;
	struct slice rest;
	bool found = false;
	enum store_error error;
	int lock;

	if (!store_name_check(name, false, canonical))
		return STORE_NAME;
	error = store_uidvalidity_lock(s, &lock);
	if (error != STORE_OK)
		return store_done(s, error);
	buf_init(&old, SUBSCRIPTIONS_OCTETS);
	buf_init(&fresh, SUBSCRIPTIONS_OCTETS);
	error = subscriptions_read(s, &old);
	rest = buf_slice_of(&old);
	while (error == STORE_OK && rest.len > 0) {
		struct slice line = slice_cut(&rest, '\n');

		if (slice_is(line, canonical))
			found = true;
		else
			(void)buf_fmt(&fresh, "%.*s\n", (int)line.len, line.ptr);
	}
	if (on)
		(void)buf_fmt(&fresh, "%s\n", canonical);
	if (error == STORE_OK && fresh.full)
		error = STORE_MEMORY;
	if (error == STORE_OK && found != on)
		error = subscriptions_write(s, buf_slice_of(&fresh));
	error = store_done(s, error);
	buf_clear(&old);
	buf_clear(&fresh);
	(void)close(lock);
	return error;
}
