/* One entry an address; postmaster, owners, aliases that list themselves; what leads nowhere. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "maps_table.h"
#include "routes_record.h"

#define LEVELS 100	/* as expand.c */

/* ---- order and look-up ---- */

static int
compare_entry(const void *a, const void *b)
{
	const struct maps_entry *x = a, *y = b;
	int order = strcmp(x->key, y->key);

	if (order != 0)
		return order;
	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	return (x->line > y->line) - (x->line < y->line);
}

static int
compare_key(const void *key, const void *element)
{
	return strcmp(key, ((const struct maps_entry *)element)->key);
}

struct maps_entry *
maps_entry_find(struct maps_table *t, const char *key)
{
	return t->sorted == 0 ? NULL : bsearch(key, t->at, t->sorted, sizeof(*t->at), compare_key);
}

/* Fold, and put the domain that it is short for in its place.  False: not a domain of ours. */
static bool
canonical(struct maps_table *t, const struct addr *a, struct addr *out)
{
	char text[ADDR_MAX + ADDR_DOMAIN_MAX + 2];
	struct addr folded;
	struct maps_domain *d;
	int n;

	addr_canonical(a, &folded);
	d = maps_domain_find(t, addr_domain(&folded));
	if (d == NULL)
		return false;
	if (d->means == NULL) {
		*out = folded;
		return true;
	}
	n = snprintf(text, sizeof(text), "%.*s@%s", (int)folded.local_len, folded.text, d->means);
	return n > 0 && (size_t)n < sizeof(text) && addr_parse(slice_of(text), out);
}

struct maps_entry *
maps_resolve(struct maps_table *t, const struct addr *a)
{
	char catchall[ADDR_DOMAIN_MAX + 3];
	struct addr key, base;
	struct slice detail;
	struct maps_entry *e;

	if (!canonical(t, a, &key))
		return NULL;
	e = maps_entry_find(t, key.text);
	if (e == NULL && addr_detail(&key, &base, &detail))
		e = maps_entry_find(t, base.text);
	if (e == NULL) {
		(void)snprintf(catchall, sizeof(catchall), "*@%.*s", (int)addr_domain(&key).len, addr_domain(&key).ptr);
		e = maps_entry_find(t, catchall);
	}
	return e;
}

/* ---- several entries at one address ---- */

static void
free_entry(struct maps_entry *e)
{
	free(e->key);
	free(e->home);
	if (e->hash != NULL)
		explicit_bzero(e->hash, strlen(e->hash));
	free(e->hash);
	free(e->owner);
	buf_clear(&e->targets);
}

/* `later` stands at the same address as `first`, which wins: say so where a person would want to know. */
static void
warn_double(struct maps_table *t, const struct maps_entry *first, const struct maps_entry *later)
{
	const char *file = maps_file(t, later->file), *first_file = maps_file(t, first->file);

	if (first->source == later->source && first->file == later->file)
		maps_problem(t, true, file, later->line, "%s is there twice; line %u comes first and stays, "
		    "remove one of the two", later->key, first->line);
	else if (first->source == FROM_ACCOUNTS && later->source == FROM_SYSTEM)
		maps_problem(t, true, first_file, first->line, "%s is also a user of the machine; mail goes to this account",
		    first->key);
	else if (first->source == FROM_ACCOUNTS)
		maps_problem(t, true, file, later->line, "the alias %s is never used: the mailbox of that name "
		    "(%s:%u) comes first", later->key, first_file, first->line);
	else
		maps_problem(t, true, file, later->line, "%s is an alias in %s:%u too; that one comes first",
		    later->key, first_file, first->line);
}

/* Take the mailbox of a user of the machine into the entry of the alias of that name. */
static void
join_system(struct maps_entry *alias, struct maps_entry *user)
{
	alias->has_mailbox = alias->system = true;
	alias->home = user->home;
	alias->uid = user->uid;
	alias->gid = user->gid;
	alias->file = user->file;
	alias->line = user->line;
	user->home = NULL;
}

static void
sort_entries(struct maps_table *t)
{
	if (t->n > 0)
		qsort(t->at, t->n, sizeof(*t->at), compare_entry);
	t->sorted = t->n;
}

static void
join_entries(struct maps_table *t)
{
	size_t kept = 0;

	sort_entries(t);
	for (size_t i = 0; i < t->n; i++) {
		struct maps_entry *e = &t->at[i], *last = kept == 0 ? NULL : &t->at[kept - 1];

		if (last == NULL || strcmp(last->key, e->key) != 0) {
			t->at[kept++] = *e;
			continue;
		}
		if (e->source == FROM_SYSTEM && !last->has_mailbox)
			join_system(last, e);
		else if (e->source != FROM_SYSTEM || last->source == FROM_ACCOUNTS)
			warn_double(t, last, e);
		free_entry(e);
	}
	t->n = t->sorted = kept;
}

/* ---- postmaster ---- */

/* Does mail to local@domain reach anybody?  text gets the address. */
static bool
leads_somewhere(struct maps_table *t, const char *local, const char *domain, char *text, size_t size)
{
	struct addr a;

	(void)snprintf(text, size, "%s@%s", local, domain);
	return addr_parse(slice_of(text), &a) && maps_resolve(t, &a) != NULL;
}

static const char *
any_mailbox(const struct maps_table *t)
{
	for (size_t i = 0; i < t->domain_n; i++)
		if (t->domain[i].first_mailbox != NULL)
			return t->domain[i].first_mailbox;
	return t->first_user;
}

/*
 * postmaster or root of this domain has no entry: whom to send it to.  RFC 5321
 * section 4.5.1 wants postmaster to work at every domain, and what cron says to
 * root should reach somebody.  NULL: nobody is there.
 */
static const char *
find_somebody(struct maps_table *t, const char *name, const struct maps_domain *d, char *text, size_t size)
{
	bool own = strcmp(d->name, t->host) == 0;

	if (!own && leads_somewhere(t, "postmaster", t->host, text, size))
		return text;
	if (leads_somewhere(t, own && strcmp(name, "root") == 0 ? "postmaster" : "root", t->host, text, size))
		return text;
	return d->first_mailbox != NULL ? d->first_mailbox : any_mailbox(t);
}

static void
add_somebody(struct maps_table *t, const char *name, const struct maps_domain *d)
{
	char key[ADDR_MAX + 16], text[ADDR_MAX + 16];
	const char *to;
	struct maps_entry *e;

	if (d->means != NULL || leads_somewhere(t, name, d->name, key, sizeof(key)))
		return;
	to = find_somebody(t, name, d, text, sizeof(text));
	if (to == NULL) {
		const char *file = strcmp(d->name, t->host) == 0 ? t->conf->aliases : maps_file(t, d->alias_file);

		maps_problem(t, true, file, 0, "mail to %s@%s leads nowhere, and it should reach a person; "
		    "add a line %s: you@your.domain", name, d->name, name);
		return;
	}
	e = maps_entry_add(t, slice_of(key));
	if (e == NULL)
		return;
	e->source = FROM_US;
	e->has_alias = true;
	e->file = e->alias_file = maps_file_add(t, "built in");
	if (!route_target_put(&e->targets, TARGET_ADDRESS, slice_of(to)))
		t->no_memory = true;
}

/* The host's own first: the others may lead to it. */
static void
add_postmasters(struct maps_table *t)
{
	for (size_t i = 0; i < t->domain_n && !t->no_memory; i++) {
		add_somebody(t, "postmaster", &t->domain[i]);
		if (i != 0)
			continue;
		sort_entries(t);
		if (t->conf->system_users)
			add_somebody(t, "root", &t->domain[i]);
		sort_entries(t);
	}
	sort_entries(t);
}

/* ---- owners, and aliases that list themselves ---- */

static void
link_owner(struct maps_table *t, struct maps_entry *e)
{
	char text[ADDR_MAX + 16];
	struct addr owner;

	if (e->key[0] == '"' || e->key[0] == '*')
		return;
	(void)snprintf(text, sizeof(text), "owner-%s", e->key);
	if (!addr_parse(slice_of(text), &owner) || maps_entry_find(t, owner.text) == NULL)
		return;
	e->owner = strdup(text);
	if (e->owner == NULL)
		t->no_memory = true;
}

/* An alias that lists itself means the account of that name: \name. */
static void
link_self(struct maps_table *t, struct maps_entry *e)
{
	struct slice rest = buf_slice_of(&e->targets);
	struct target target;
	struct buf linked;
	bool found = false;

	buf_init(&linked, e->targets.cap);
	while (routes_next_target(&rest, &target)) {
		bool self = target.kind == TARGET_ADDRESS && slice_is(target.text, e->key);

		found |= self;
		if (!route_target_put(&linked, self ? TARGET_LOCAL_FINAL : target.kind, target.text))
			t->no_memory = true;
	}
	if (found) {
		buf_clear(&e->targets);
		e->targets = linked;
	} else {
		buf_clear(&linked);
	}
}

/* ---- what leads nowhere, and round in circles ---- */

static void
check_target(struct maps_table *t, const struct maps_entry *e, const struct target *target)
{
	const char *file = maps_file(t, e->alias_file);
	struct addr a, mine;
	struct maps_entry *to;

	if (!addr_parse(target->text, &a) || !canonical(t, &a, &mine))
		return;		/* elsewhere */
	to = maps_resolve(t, &a);
	if (target->kind == TARGET_LOCAL_FINAL && (to == NULL || !to->has_mailbox))
		maps_problem(t, true, file, e->alias_line, "%s leads to the mailbox %s, which does not exist", e->key, a.text);
	else if (target->kind == TARGET_ADDRESS && to == NULL)
		maps_problem(t, true, file, e->alias_line, "%s leads to %s, and nobody is there", e->key, a.text);
}

/* Depth first; each entry is looked at once.  False once a circle was found. */
static bool
check_circle(struct maps_table *t, struct maps_entry *e, int level)
{
	struct slice rest = buf_slice_of(&e->targets);
	struct target target;
	struct addr a;
	bool good = true;

	if (e->on_path || level > LEVELS) {
		maps_problem(t, true, maps_file(t, e->alias_file), e->alias_line, level > LEVELS ?
		    "%s is the end of more than 100 levels of aliases; mail to it will be returned" :
		    "%s leads back to itself; mail to it will be returned", e->key);
		return false;
	}
	if (e->seen || !e->has_alias)
		return true;
	e->seen = e->on_path = true;
	while (good && routes_next_target(&rest, &target)) {
		struct maps_entry *to;

		if (target.kind != TARGET_ADDRESS || !addr_parse(target.text, &a))
			continue;
		to = maps_resolve(t, &a);
		if (to != NULL)
			good = check_circle(t, to, level + 1);
	}
	e->on_path = false;
	return good;
}

static void
check_entry(struct maps_table *t, struct maps_entry *e)
{
	struct slice rest = buf_slice_of(&e->targets);
	struct target target;

	while (routes_next_target(&rest, &target))
		if (target.kind == TARGET_ADDRESS || target.kind == TARGET_LOCAL_FINAL)
			check_target(t, e, &target);
	(void)check_circle(t, e, 0);
}

void
maps_link(struct maps_table *t)
{
	join_entries(t);
	add_postmasters(t);
	for (size_t i = 0; i < t->n && !t->no_memory; i++) {
		if (!t->at[i].has_alias)
			continue;
		link_owner(t, &t->at[i]);
		link_self(t, &t->at[i]);
	}
	for (size_t i = 0; i < t->n && !t->no_memory; i++)
		if (t->at[i].has_alias)
			check_entry(t, &t->at[i]);
}
