#include "expand.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aliases.h"

/* An alias, .forward or :include: file that is being followed; the chain up is the path to it. */
struct step {
	const struct step	*up;
	int			 level;
	char			 key[ADDR_MAX + 1];	/* of the alias; "" for an :include: */
	const struct route	*user;		/* his .forward file, or a file included there; NULL: the machine's */
	bool			 included;	/* an :include: file: addresses alone */
	const char		*sender;	/* owner- in force, or NULL */
	char			*via;		/* text up to here */
};

struct expander {
	struct routes		*routes;
	const struct expand_ops	*ops;
	struct expansion	*out;
	size_t			 size;		/* of out->at */
	struct addr		*seen;		/* aliases already followed */
	size_t			 seen_n, seen_size;
	size_t			 looked;	/* for EXPAND_ALIASES */
};

static enum verdict follow_address(struct expander *x, const struct addr *a, const struct step *up);

static enum verdict __attribute__((format(printf, 4, 5)))
give_up(struct expander *x, enum verdict v, const char *dsn, const char *fmt, ...)
{
	va_list ap;

	(void)snprintf(x->out->dsn, sizeof(x->out->dsn), "%s", dsn);
	va_start(ap, fmt);
	(void)vsnprintf(x->out->why, sizeof(x->out->why), fmt, ap);
	va_end(ap);
	return v;
}

static enum verdict
no_memory(struct expander *x)
{
	return give_up(x, TEMP, "4.3.0", "not enough memory");
}

static enum verdict
add(struct expander *x, enum expand_kind kind, struct slice text, const struct step *up)
{
	struct expansion *e = x->out;
	struct expand_target *t;

	if (e->n >= EXPAND_TARGETS)
		return give_up(x, PERM, "5.4.6", "more than %d recipients behind one alias", EXPAND_TARGETS);
	if (e->n == x->size) {
		size_t size = x->size == 0 ? 8 : x->size * 2;
		struct expand_target *grown = reallocarray(e->at, size, sizeof(*grown));

		if (grown == NULL)
			return no_memory(x);
		e->at = grown;
		x->size = size;
	}
	t = &e->at[e->n++];
	*t = (struct expand_target){ .kind = kind, .text = slice_dup(text) };
	t->via = strdup(up == NULL || up->via == NULL ? "" : up->via);
	if (up != NULL && up->sender != NULL && (t->sender = strdup(up->sender)) == NULL)
		return no_memory(x);
	return t->text == NULL || t->via == NULL ? no_memory(x) : OK;
}

/* "~user+detail" and the action, for what stands in a .forward file. */
static enum verdict
add_action(struct expander *x, enum expand_kind kind, struct slice text, const struct step *up)
{
	struct buf b;
	enum verdict v;

	buf_init(&b, 320);
	if (up->user != NULL) {
		(void)buf_char(&b, '~');
		(void)buf_slice(&b, addr_local(&up->user->key));
		if (alias_detail_safe(up->user->detail)) {
			(void)buf_char(&b, '+');
			(void)buf_slice(&b, up->user->detail);
		}
	}
	(void)buf_slice(&b, text);
	v = b.full ? give_up(x, PERM, "5.3.5", "a file name or command is too long") :
	    add(x, kind, buf_slice_of(&b), up);
	buf_clear(&b);
	return v;
}

/* ---- the path, for loops and for people ---- */

static bool
on_path(const struct step *s, const char *key)
{
	for (; s != NULL; s = s->up)
		if (strcmp(s->key, key) == 0)
			return true;
	return false;
}

/* "alias loop: a@x -> b@x -> a@x" */
static enum verdict
loop(struct expander *x, const struct step *up, const char *key)
{
	const struct step *path[EXPAND_LEVELS + 2];
	size_t n = 0;
	struct buf b;

	for (; up != NULL && n < LEN(path); up = up->up) {
		if (up->key[0] != '\0')
			path[n++] = up;
		if (strcmp(up->key, key) == 0)
			break;
	}
	buf_init(&b, sizeof(x->out->why) - 50);
	while (n > 0)
		(void)buf_fmt(&b, "%s -> ", path[--n]->key);
	(void)buf_text(&b, key);
	(void)give_up(x, PERM, "5.4.6", "alias loop: %s", b.full ? key : buf_cstr(&b));
	buf_clear(&b);
	return PERM;
}

/* Was this alias followed already?  Else it is noted. */
static enum verdict
note_seen(struct expander *x, const struct addr *key, bool *was)
{
	*was = false;
	for (size_t i = 0; i < x->seen_n; i++)
		if (strcmp(x->seen[i].text, key->text) == 0)
			*was = true;
	if (*was)
		return OK;
	if (++x->looked > EXPAND_ALIASES)
		return give_up(x, PERM, "5.4.6", "more than %d aliases behind one address", EXPAND_ALIASES);
	if (x->seen_n == x->seen_size) {
		size_t size = x->seen_size == 0 ? 8 : x->seen_size * 2;
		struct addr *grown = reallocarray(x->seen, size, sizeof(*grown));

		if (grown == NULL)
			return no_memory(x);
		x->seen = grown;
		x->seen_size = size;
	}
	x->seen[x->seen_n++] = *key;
	return OK;
}

/* Text of the step from `what` to text: "FILE:LINE alias info@x -> alice@x". */
static char *
via_text(const struct step *up, struct slice file, uint32_t line, const char *what, const char *key, struct slice text)
{
	const char *before = up == NULL || up->via == NULL ? "" : up->via;
	char *via, place[16] = "";

	if (line > 0)		/* what is built in has none */
		(void)snprintf(place, sizeof(place), ":%u", line);
	if (asprintf(&via, "%s%s%.*s%s %s %s -> %.*s", before, before[0] == '\0' ? "" : "; ",
	    (int)file.len, file.ptr, place, what, key, (int)text.len, text.ptr) < 0)
		return NULL;
	return via;
}

/* ---- following ---- */

/* `\user`: the mailbox of that address. */
static enum verdict
follow_final(struct expander *x, const struct addr *a, const struct step *up)
{
	struct route route;

	switch (routes_find_mailbox(x->routes, a, &route)) {
	case OK:
		return add(x, EXPAND_MAILBOX, addr_text(a), up);
	case PERM:
		return add(x, EXPAND_UNKNOWN, addr_text(a), up);
	case TEMP:
		break;
	}
	return give_up(x, TEMP, "4.3.0", "the alias map cannot be read");
}

static enum verdict follow_text(struct expander *x, struct slice text, struct slice domain, const char *path,
    struct step *here);

/* The targets of an :include: file; as a step of its own it counts as a level. */
static enum verdict
follow_include(struct expander *x, struct slice path, struct slice domain, const struct step *up)
{
	struct step here = { .up = up, .level = up->level + 1, .user = up->user, .included = true,
	    .sender = up->sender, .via = up->via };
	char name[ALIAS_VALUE_MAX + 1];
	struct buf text;
	enum verdict v;

	if (here.level > EXPAND_LEVELS || ++x->looked > EXPAND_ALIASES || !slice_text(path, name, sizeof(name)))
		return give_up(x, PERM, "5.4.6", "too many levels of aliases and :include: files");
	if (x->ops == NULL || x->ops->include == NULL)
		return give_up(x, TEMP, "4.3.0", ":include:%s cannot be read here", name);
	buf_init(&text, EXPAND_FILE_MAX);
	v = x->ops->include(x->ops->ctx, up->user, path, &text);
	if (v == OK)
		v = follow_text(x, buf_slice_of(&text), domain, name, &here);
	else
		v = give_up(x, TEMP, "4.3.0", "cannot read :include:%s", name);
	buf_clear(&text);
	return v;
}

static enum verdict
follow_target(struct expander *x, const struct target *t, struct slice domain, const struct step *up)
{
	struct addr a;

	switch (t->kind) {
	case TARGET_FILE:
		return add_action(x, EXPAND_FILE, t->text, up);
	case TARGET_COMMAND:
		return add_action(x, EXPAND_COMMAND, t->text, up);
	case TARGET_INCLUDE:
		return follow_include(x, t->text, domain, up);
	case TARGET_ADDRESS:
	case TARGET_LOCAL_FINAL:
		break;
	}
	if (!alias_address(t->text, domain, &a))
		return give_up(x, TEMP, "4.3.5", "'%.*s' is no address", (int)t->text.len, t->text.ptr);
	return t->kind == TARGET_LOCAL_FINAL ? follow_final(x, &a, up) : follow_address(x, &a, up);
}

/* The values in text, which is the .forward or :include: file `path`. */
static enum verdict
follow_text(struct expander *x, struct slice text, struct slice domain, const char *path, struct step *here)
{
	struct alias_error error = { 0 };
	struct alias_value value;
	struct alias_list list;
	enum alias_next next;
	struct buf action;
	enum verdict v = OK;

	buf_init(&value.text, ALIAS_VALUE_MAX + 1);
	buf_init(&action, ALIAS_VALUE_MAX + 1);
	alias_list_init(&list, text, 1, true);
	while (v == OK && (next = alias_list_next(&list, &value, &error)) != ALIAS_END) {
		struct target target = { value.kind, buf_slice_of(&value.text) };

		if (next == ALIAS_GOT && here->included && value.kind != TARGET_ADDRESS && value.kind != TARGET_LOCAL_FINAL) {
			error.line = value.line;
			(void)snprintf(error.text, sizeof(error.text), "files, commands and :include: are refused in an :include:");
			next = ALIAS_ERROR;
		}
		if (next == ALIAS_ERROR) {
			if (x->ops->mistake != NULL)
				x->ops->mistake(x->ops->ctx, path, error.line, error.text);
			v = give_up(x, TEMP, "4.3.5", "%s:%u: %s", path, error.line, error.text);
			break;
		}
		if (value.kind == TARGET_COMMAND) {
			buf_reset(&action);
			(void)buf_char(&action, '|');
			(void)buf_slice(&action, target.text);
			target.text = buf_slice_of(&action);
		}
		v = follow_target(x, &target, domain, here);
	}
	buf_clear(&action);
	buf_clear(&value.text);
	return v;
}

/* Are there mistakes in it, or nothing at all? */
static bool
forward_usable(struct expander *x, struct slice text, const char *path)
{
	struct alias_error error;
	struct alias_value value;
	struct alias_list list;
	enum alias_next next;
	bool some = false, good = true;

	buf_init(&value.text, ALIAS_VALUE_MAX + 1);
	alias_list_init(&list, text, 1, true);
	while ((next = alias_list_next(&list, &value, &error)) != ALIAS_END) {
		some = true;
		if (next == ALIAS_GOT)
			continue;
		good = false;
		if (x->ops->mistake != NULL)
			x->ops->mistake(x->ops->ctx, path, error.line, error.text);
	}
	buf_clear(&value.text);
	return some && good;
}

/*
 * A user of the machine: his .forward, or his mailbox.  His own address in his
 * .forward means the mailbox: he is on the path then.
 */
static enum verdict
follow_user(struct expander *x, const struct addr *a, const struct route *route, const struct step *up)
{
	struct step here = { .up = up, .level = up == NULL ? 1 : up->level + 1, .sender = up == NULL ? NULL : up->sender };
	char path[1100];
	struct buf text;
	enum verdict v;

	if (x->ops == NULL || x->ops->forward == NULL || on_path(up, route->key.text) || here.level > EXPAND_LEVELS)
		return add(x, EXPAND_MAILBOX, addr_text(a), up);
	buf_init(&text, EXPAND_FILE_MAX);
	(void)snprintf(path, sizeof(path), "%.*s/.forward", (int)route->home.len, route->home.ptr);
	v = x->ops->forward(x->ops->ctx, route, &text);
	if (v == TEMP) {
		v = give_up(x, TEMP, "4.3.0", "cannot read %s", path);
	} else if (v == PERM || !forward_usable(x, buf_slice_of(&text), path)) {
		v = add(x, EXPAND_MAILBOX, addr_text(a), up);
	} else if (++x->looked > EXPAND_ALIASES) {
		v = give_up(x, PERM, "5.4.6", "more than %d aliases behind one address", EXPAND_ALIASES);
	} else {
		memcpy(here.key, route->key.text, sizeof(here.key));
		here.user = route;
		here.via = via_text(up, slice_of(path), 1, "forward", route->key.text, SLICE("..."));
		v = here.via == NULL ? no_memory(x) :
		    follow_text(x, buf_slice_of(&text), addr_domain(&route->key), path, &here);
		free(here.via);
	}
	buf_clear(&text);
	return v;
}

static enum verdict
follow_alias(struct expander *x, const struct route *route, const struct step *up)
{
	struct step here = { .up = up, .level = up == NULL ? 1 : up->level + 1, .sender = up == NULL ? NULL : up->sender };
	struct slice targets = route->targets;
	struct target target;
	char *sender = NULL;
	enum verdict v;
	bool was;

	if (on_path(up, route->key.text))
		return loop(x, up, route->key.text);
	if (here.level > EXPAND_LEVELS)
		return give_up(x, PERM, "5.4.6", "more than %d levels of aliases, at %s", EXPAND_LEVELS, route->key.text);
	v = note_seen(x, &route->key, &was);
	if (v != OK || was)
		return v;
	memcpy(here.key, route->key.text, sizeof(here.key));
	if (route->owner.len > 0) {
		sender = slice_dup(route->owner);
		if (sender == NULL)
			return no_memory(x);
		here.sender = sender;
	}
	while (v == OK && routes_next_target(&targets, &target)) {
		here.via = via_text(up, route->file, route->line, route->kind == ROUTE_CATCHALL ? "catch-all" : "alias",
		    here.key, target.text);
		v = here.via == NULL ? no_memory(x) : follow_target(x, &target, addr_domain(&route->key), &here);
		free(here.via);
	}
	free(sender);
	return v;
}

static enum verdict
follow_address(struct expander *x, const struct addr *a, const struct step *up)
{
	struct route route;

	switch (routes_domain(x->routes, addr_domain(a))) {
	case PERM:
		return add(x, EXPAND_REMOTE, addr_text(a), up);
	case TEMP:
		return give_up(x, TEMP, "4.3.0", "the alias map cannot be read");
	case OK:
		break;
	}
	switch (routes_find(x->routes, a, &route)) {
	case TEMP:
		return give_up(x, TEMP, "4.3.0", "the alias map cannot be read");
	case PERM:
		if (up == NULL)
			return give_up(x, PERM, "5.1.1", "no such mailbox: %s", a->text);
		return add(x, EXPAND_UNKNOWN, addr_text(a), up);
	case OK:
		break;
	}
	if (route.kind != ROUTE_MAILBOX)
		return follow_alias(x, &route, up);
	if (route.system)
		return follow_user(x, a, &route, up);
	return add(x, EXPAND_MAILBOX, addr_text(a), up);
}

/* ---- duplicates ---- */

static int
compare_text(const void *a, const void *b)
{
	const struct expand_target *const *x = a, *const *y = b;
	int order = strcmp((*x)->text, (*y)->text);

	if (order != 0)
		return order;
	return (*x > *y) - (*x < *y);	/* both point into one array: the earlier first */
}

static void
target_clear(struct expand_target *t)
{
	free(t->text);
	free(t->sender);
	free(t->via);
	*t = (struct expand_target){ 0 };
}

/* Sorted by text, all but the first of equal ones are emptied; then the gaps are closed. */
static enum verdict
drop_duplicates(struct expander *x)
{
	struct expansion *e = x->out;
	struct expand_target **order;
	size_t kept = 0;

	if (e->n < 2)
		return OK;
	order = reallocarray(NULL, e->n, sizeof(struct expand_target *));
	if (order == NULL)
		return no_memory(x);
	for (size_t i = 0; i < e->n; i++)
		order[i] = &e->at[i];
	qsort(order, e->n, sizeof(struct expand_target *), compare_text);
	for (size_t i = 1, first = 0; i < e->n; i++) {
		if (strcmp(order[i]->text, order[first]->text) == 0)
			target_clear(order[i]);
		else
			first = i;
	}
	free(order);
	for (size_t i = 0; i < e->n; i++)
		if (e->at[i].text != NULL)
			e->at[kept++] = e->at[i];
	e->n = kept;
	return OK;
}

enum verdict
expand_address(struct routes *r, const struct addr *a, const struct expand_ops *ops, struct expansion *out)
{
	struct expander x = { .routes = r, .ops = ops, .out = out };
	struct addr canonical;
	enum verdict v;

	*out = (struct expansion){ 0 };
	addr_canonical(a, &canonical);
	v = follow_address(&x, &canonical, NULL);
	if (v == OK)
		v = drop_duplicates(&x);
	free(x.seen);
	if (v == OK && out->n == 0)
		v = give_up(&x, PERM, "5.2.4", "%s leads to nobody: the list is empty", canonical.text);
	if (v == OK && out->n == 1 && out->at[0].kind == EXPAND_MAILBOX)
		out->direct = out->at[0].via[0] == '\0' && strcmp(out->at[0].text, canonical.text) == 0;
	if (v != OK) {
		struct expansion why = *out;

		expansion_clear(out);
		memcpy(out->dsn, why.dsn, sizeof(out->dsn));
		memcpy(out->why, why.why, sizeof(out->why));
	}
	return v;
}

void
expansion_clear(struct expansion *e)
{
	for (size_t i = 0; i < e->n; i++)
		target_clear(&e->at[i]);
	free(e->at);
	*e = (struct expansion){ 0 };
}
