/*
 * Recipients that are not final: aliases are followed (lib/expand.h), and what
 * comes out goes back to queue.  :include: and .forward files are read by
 * processes under other uids: expand_address() is run again when one has come,
 * with all that is known so far.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aliases.h"
#include "deliver_worker.h"
#include "expand.h"
#include "log.h"

#define TARGETS_FRAME	(60 * 1024)	/* octets of targets in one result */

/* What is known of one file. */
struct known {
	struct known	*next;
	char		 what[321];	/* of which process, as in deliver_spawn */
	char		 path[321];	/* :include:; "" a .forward */
	bool		 looked;	/* ASK_CHECK said that it is there */
	bool		 have;		/* verdict and text are final */
	enum verdict	 verdict;
	struct buf	 text;
};

/* Hangs on rcpt.more while it waits. */
struct expanding {
	struct known	*known;
	struct known	*wanted;	/* the one that has been asked for */
};

struct run {
	struct worker	*w;
	struct rcpt	*r;
	struct known	*missing;	/* the first file that was not known */
};

void
expand_forget(struct rcpt *r)
{
	struct expanding *x = r->more;
	struct known *next;

	r->more = NULL;
	if (x == NULL)
		return;
	for (struct known *k = x->known; k != NULL; k = next) {
		next = k->next;
		buf_clear(&k->text);
		free(k);
	}
	free(x);
}

/* The entry for this file; made if there is none.  NULL: no memory. */
static struct known *
known_of(struct rcpt *r, const char *what, const char *path)
{
	struct expanding *x = r->more;
	struct known *k;

	if (x == NULL)
		r->more = x = calloc(1, sizeof(*x));
	if (x == NULL)
		return NULL;
	for (k = x->known; k != NULL; k = k->next)
		if (strcmp(k->what, what) == 0 && strcmp(k->path, path) == 0)
			return k;
	k = calloc(1, sizeof(*k));
	if (k == NULL)
		return NULL;
	(void)snprintf(k->what, sizeof(k->what), "%s", what);
	(void)snprintf(k->path, sizeof(k->path), "%s", path);
	buf_init(&k->text, EXPAND_FILE_MAX);
	k->next = x->known;
	x->known = k;
	return k;
}

/* What a file says, or note that it is wanted. */
static enum verdict
from_known(struct run *run, const char *what, const char *path, struct buf *out)
{
	struct known *k = known_of(run->r, what, path);

	if (k == NULL)
		return TEMP;
	if (!k->have) {
		if (run->missing == NULL)
			run->missing = k;
		return TEMP;
	}
	if (k->verdict == OK && !buf_slice(out, buf_slice_of(&k->text)))
		return TEMP;
	return k->verdict;
}

/* The user's address, with the detail if a file may be named after it: what his action process is asked for by. */
static void
user_what(const struct route *user, char *out, size_t size)
{
	struct slice domain = addr_domain(&user->key), local = addr_local(&user->key);

	if (alias_detail_safe(user->detail))
		(void)snprintf(out, size, "%.*s+%.*s@%.*s", (int)local.len, local.ptr, (int)user->detail.len,
		    user->detail.ptr, (int)domain.len, domain.ptr);
	else
		(void)snprintf(out, size, "%s", user->key.text);
}

static enum verdict
on_forward(void *ctx, const struct route *user, struct buf *out)
{
	char what[321];

	user_what(user, what, sizeof(what));
	return from_known(ctx, what, "", out);
}

static enum verdict
on_include(void *ctx, const struct route *user, struct slice path, struct buf *out)
{
	char what[321], name[321];

	if (!slice_text(path, name, sizeof(name)))
		return PERM;
	if (user != NULL)
		user_what(user, what, sizeof(what));
	else
		(void)snprintf(what, sizeof(what), ":include:%.300s", name);
	return from_known(ctx, what, name, out);
}

static void
on_mistake(void *ctx, const char *file, unsigned line, const char *text)
{
	(void)ctx;
	log_say(LOG_LEVEL_WARNING, "%s:%u: %s", file, line, text);
}

/* ---- asking for files ---- */

static void
cannot_ask(struct rcpt *r)
{
	expand_forget(r);
	rcpt_result(r, OUTCOME_DEFERRED, "4.3.0", "local", "not enough memory");
}

/* A .forward is first looked for by the user's mailbox process: mostly there is none. */
static void
ask_for(struct worker *w, struct rcpt *r, struct known *k)
{
	struct slice what = slice_of(k->what), detail = SLICE("");
	struct child_request q = { .ask = ASK_FILE, .action = true, .what = what, .path = slice_of(k->path) };
	struct addr a, base;
	struct expanding *x = r->more;

	x->wanted = k;
	if (addr_parse(what, &a) && addr_detail(&a, &base, &detail))
		q.detail = detail;
	if (k->path[0] == '\0' && !k->looked) {
		q.ask = ASK_CHECK;
		q.action = false;
		if (detail.len > 0)
			q.what = addr_text(&base);
	}
	if (!children_ask(w->children, &q, r))
		cannot_ask(r);
}

static bool
read_memfd(int fd, struct buf *out)
{
	off_t at = 0;

	for (;;) {
		char *room = buf_room(out, 16384);
		ssize_t n = room == NULL ? -1 : pread(fd, room, 16384, at);

		if (n <= 0)
			return n == 0;
		buf_add(out, (size_t)n);
		at += n;
	}
}

void
expand_answer(struct worker *w, struct rcpt *r, enum child_ask ask, enum verdict verdict, struct slice text, int memfd)
{
	struct expanding *x = r->more;
	struct known *k = x == NULL ? NULL : x->wanted;

	if (k != NULL && ask == ASK_CHECK && verdict == OK) {
		k->looked = true;
		ask_for(w, r, k);
	} else if (k != NULL && verdict == TEMP) {
		rcpt_result(r, OUTCOME_DEFERRED, "4.3.0", "local", "cannot read %s%s%s%.*s",
		    k->path[0] == '\0' ? "the .forward of " : ":include:", k->path[0] == '\0' ? k->what : k->path,
		    text.len > 0 ? ": " : "", (int)text.len, text.ptr);
		expand_forget(r);
	} else if (k != NULL) {
		buf_reset(&k->text);
		k->text.cap = EXPAND_FILE_MAX + 16384;
		k->have = true;
		k->verdict = verdict == OK && (memfd == -1 || !read_memfd(memfd, &k->text)) ? TEMP : verdict;
		expand_rcpt(w, r);
	}
	if (memfd != -1)
		(void)close(memfd);
}

/* ---- results ---- */

static bool
put_target(struct buf *list, const struct expand_target *t, const struct rcpt *r)
{
	/* A bounce stays a bounce: its sender is not replaced, or two lists could write to each other for ever. */
	bool new_sender = t->sender != NULL && r->job->m.sender.len > 0;
	const struct ipc_target target = {
		.addr = slice_of(t->text), .remote = t->kind == EXPAND_REMOTE, .new_sender = new_sender,
		.sender = slice_of(new_sender ? t->sender : ""),
	};

	return ipc_add_target(list, &target);
}

static void
give_targets(struct rcpt *r, const struct expansion *e)
{
	struct buf list, text;

	buf_init(&list, TARGETS_FRAME + 1024);
	buf_init(&text, 4096);
	(void)buf_fmt(&text, "expanded to %zu: %s", e->n, e->at[0].via);
	for (size_t i = 0; i < e->n; i++) {
		if (list.len > TARGETS_FRAME - 1024) {
			rcpt_expanded(r, buf_slice_of(&list), true, buf_cstr(&text));
			buf_reset(&list);
		}
		if (!put_target(&list, &e->at[i], r)) {
			/* Parts that were sent are forgotten by queue when another result comes. */
			rcpt_result(r, OUTCOME_DEFERRED, "4.3.0", "local", "not enough memory");
			break;
		}
	}
	if (!r->done)
		rcpt_expanded(r, buf_slice_of(&list), false, buf_cstr(&text));
	buf_clear(&text);
	buf_clear(&list);
}

void
expand_rcpt(struct worker *w, struct rcpt *r)
{
	struct run run = { .w = w, .r = r };
	const struct expand_ops ops = {
		.include = on_include, .forward = on_forward, .mistake = on_mistake, .ctx = &run,
	};
	struct expansion e;
	enum verdict v;
	struct addr a;

	if (!addr_parse(r->m.addr, &a)) {
		rcpt_result(r, OUTCOME_FAILED, "5.1.3", "none", "not an address");
		return;
	}
	v = expand_address(w->routes, &a, &ops, &e);
	if (v == TEMP && run.missing != NULL) {
		expansion_clear(&e);
		ask_for(w, r, run.missing);
		return;
	}
	expand_forget(r);
	if (v != OK)
		rcpt_result(r, v == PERM ? OUTCOME_FAILED : OUTCOME_DEFERRED, e.dsn, "local", "%s", e.why);
	else if (e.direct)
		deliver_mailbox(w, r, &a);
	else
		give_targets(r, &e);
	expansion_clear(&e);
}
