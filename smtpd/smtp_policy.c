#include "smtp_policy.h"

enum smtp_where
smtp_policy_rcpt(struct routes *r, struct addr *rcpt)
{
	struct route route;
	struct addr canonical;

	addr_canonical(rcpt, &canonical);
	switch (routes_find(r, &canonical, &route)) {
	case OK:
		*rcpt = canonical;
		return RCPT_LOCAL;
	case TEMP:
		return RCPT_TEMP;
	case PERM:
		break;
	}
	switch (routes_domain(r, addr_domain(rcpt))) {
	case OK:
		return RCPT_UNKNOWN;
	case PERM:
		return RCPT_REMOTE;
	default:
		return RCPT_TEMP;
	}
}

bool
smtp_policy_postmaster(struct routes *r, struct addr *out)
{
	struct slice domain;
	struct buf text;
	bool ok;

	if (!routes_default_domain(r, &domain))
		return false;
	buf_init(&text, ADDR_MAX);
	(void)buf_text(&text, "postmaster@");
	(void)buf_slice(&text, domain);
	ok = !text.full && addr_parse(buf_slice_of(&text), out);
	buf_clear(&text);
	return ok;
}

enum verdict
smtp_policy_may_send(struct routes *r, struct slice login, const struct addr *sender)
{
	return routes_may_send(r, login, sender);
}
