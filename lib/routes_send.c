/* routes_may_send(): who receives an address may send as it, so its aliases are followed. */
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "routes.h"

#define VISITS	1000	/* addresses looked at for one question */

/* Addresses still to be looked at and those that were: one growing list. */
struct visit {
	struct addr	*at;
	size_t		 n, size;
};

static bool
visit_add(struct visit *v, const struct addr *a)
{
	for (size_t i = 0; i < v->n; i++)
		if (addr_same(&v->at[i], a))
			return true;
	if (v->n == VISITS)
		return true;
	if (v->n == v->size) {
		size_t size = v->size == 0 ? 16 : v->size * 2;
		struct addr *grown = reallocarray(v->at, size, sizeof(*grown));

		if (grown == NULL)
			return false;
		v->at = grown;
		v->size = size;
	}
	v->at[v->n++] = *a;
	return true;
}

/* The mailbox of the login: its canonical address. */
static enum verdict
login_mailbox(struct routes *r, struct slice login, struct addr *out)
{
	struct route route;
	struct slice domain;
	struct addr a;
	struct buf b;
	enum verdict v = PERM;

	buf_init(&b, ADDR_MAX);
	(void)buf_slice(&b, login);
	if (slice_find(login, '@') == login.len) {
		if (!routes_default_domain(r, &domain)) {
			buf_clear(&b);
			return routes_ready(r) ? PERM : TEMP;
		}
		(void)buf_char(&b, '@');
		(void)buf_slice(&b, domain);
	}
	if (!b.full && addr_parse(buf_slice_of(&b), &a)) {
		v = routes_find_mailbox(r, &a, &route);
		if (v == OK)
			*out = route.key;
	}
	buf_clear(&b);
	return v;
}

/* Look at one address: OK when it reaches the mailbox, PERM when not (its targets were added), TEMP. */
static enum verdict
visit_one(struct routes *r, struct visit *v, const struct addr *a, const struct addr *mailbox)
{
	struct route route;
	struct target target;
	struct addr next;
	enum verdict found = routes_find(r, a, &route);

	if (found != OK)
		return found;
	if (route.kind == ROUTE_MAILBOX)
		return addr_same(&route.key, mailbox) ? OK : PERM;
	while (routes_next_target(&route.targets, &target)) {
		if (target.kind != TARGET_ADDRESS && target.kind != TARGET_LOCAL_FINAL)
			continue;
		if (!addr_parse(target.text, &next))
			return TEMP;
		if (target.kind == TARGET_LOCAL_FINAL && addr_same(&next, mailbox))
			return OK;
		if (target.kind == TARGET_ADDRESS && !visit_add(v, &next))
			return TEMP;
	}
	return PERM;
}

enum verdict
routes_may_send(struct routes *r, struct slice login, const struct addr *a)
{
	struct visit v = { 0 };
	struct addr mailbox;
	enum verdict result = login_mailbox(r, login, &mailbox);

	if (result != OK)
		return result;
	if (!visit_add(&v, a))
		result = TEMP;
	for (size_t i = 0; i < v.n; i++) {
		struct addr one = v.at[i];	/* the list moves as it grows */

		result = visit_one(r, &v, &one, &mailbox);
		if (result != PERM)
			break;
	}
	free(v.at);
	return result;
}
