/* relay_dns: MX and address look-ups by libunbound on the event loop. */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unbound.h>
#include <unbound-event.h>

#include "log.h"
#include "relay.h"

#define MX_MAX 10	/* hosts looked at; two look-ups each bound the cost of a message */

struct relay_dns {
	struct ub_ctx	*ctx;
	const char	*hostname;
};

struct mx {
	uint16_t	preference;
	char		name[256];
	struct mail_host found[DEST_HOSTS_MAX];
	size_t		found_n;
};

struct find {
	struct relay_dns *dns;
	char		 name[256];
	relay_dns_done	 done;
	void		*ctx;
	struct mx	 mx[MX_MAX];
	size_t		 mx_n;
	size_t		 asked;		/* answers still to come */
	bool		 trouble;	/* one of the look-ups failed for now */
	bool		 starting;	/* still asking: an answer may come before ub_resolve_event() returns */
	bool		 mx_here;	/* such an answer for MX, */
	bool		 mx_readable;	/* with what it said */
	int		 mx_rcode;
};

/* One question: which host of the find it belongs to, and what was asked. */
struct question {
	struct find	*find;
	size_t		 mx;
	int		 type;
};

static void
finish(struct find *f, struct mail_hosts *hosts)
{
	f->done(f->ctx, hosts);
	free(f);
}

static void
fail(struct find *f, bool permanent, const char *dsn, const char *text)
{
	struct mail_hosts hosts = { .permanent = permanent };

	(void)snprintf(hosts.dsn, sizeof(hosts.dsn), "%s", dsn);
	(void)snprintf(hosts.text, sizeof(hosts.text), "%s", text);
	finish(f, &hosts);
}

/* All addresses are there: in the order of the hosts. */
static void
addresses_done(struct find *f)
{
	struct mail_hosts hosts = { .n = 0 };
	char text[400];

	for (size_t i = 0; i < f->mx_n; i++)
		for (size_t k = 0; k < f->mx[i].found_n && hosts.n < DEST_HOSTS_MAX; k++)
			hosts.at[hosts.n++] = f->mx[i].found[k];
	if (hosts.n > 0) {
		finish(f, &hosts);
		return;
	}
	(void)snprintf(text, sizeof(text), "Host or domain name not found. Name service error for name=%s type=%s: %s",
	    f->name, "A", f->trouble ? "Host not found, try again" : "Host not found");
	fail(f, !f->trouble, f->trouble ? "4.4.3" : "5.4.4", text);
}

static void
add_address(struct mx *mx, int family, const unsigned char *raw)
{
	struct mail_host *h;

	if (mx->found_n == DEST_HOSTS_MAX)
		return;
	h = &mx->found[mx->found_n];
	*h = (struct mail_host){ 0 };
	(void)snprintf(h->name, sizeof(h->name), "%s", mx->name);
	if (family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)&h->addr;

		in->sin_family = AF_INET;
		memcpy(&in->sin_addr, raw, 4);
		h->addr_len = sizeof(*in);
	} else {
		struct sockaddr_in6 *in = (struct sockaddr_in6 *)&h->addr;

		in->sin6_family = AF_INET6;
		memcpy(&in->sin6_addr, raw, 16);
		h->addr_len = sizeof(*in);
	}
	if (inet_ntop(family, raw, h->text, sizeof(h->text)) != NULL)
		mx->found_n++;
}

/* Walk the answer section; call each for the records of the wanted type. */
static bool
each_record(const unsigned char *packet, int len, int type, struct find *f, struct mx *mx,
    void (*each)(struct find *f, struct mx *mx, ns_msg *msg, ns_rr *rr))
{
	ns_msg msg;
	ns_rr rr;

	if (len <= 0 || ns_initparse(packet, len, &msg) != 0)
		return false;
	for (int i = 0; i < ns_msg_count(msg, ns_s_an); i++)
		if (ns_parserr(&msg, ns_s_an, i, &rr) == 0 && (int)ns_rr_type(rr) == type && ns_rr_class(rr) == ns_c_in)
			each(f, mx, &msg, &rr);
	return true;
}

static void
each_address(struct find *f, struct mx *mx, ns_msg *msg, ns_rr *rr)
{
	(void)f;
	(void)msg;
	if (ns_rr_type(*rr) == ns_t_a && ns_rr_rdlen(*rr) == 4)
		add_address(mx, AF_INET, ns_rr_rdata(*rr));
	else if (ns_rr_type(*rr) == ns_t_aaaa && ns_rr_rdlen(*rr) == 16)
		add_address(mx, AF_INET6, ns_rr_rdata(*rr));
}

static void
each_mx(struct find *f, struct mx *unused, ns_msg *msg, ns_rr *rr)
{
	struct mx add = { .found_n = 0 };
	const unsigned char *data = ns_rr_rdata(*rr);
	size_t at;

	(void)unused;
	if (ns_rr_rdlen(*rr) < 3 || f->mx_n == MX_MAX)
		return;
	add.preference = (uint16_t)ns_get16(data);
	if (dn_expand(ns_msg_base(*msg), ns_msg_end(*msg), data + 2, add.name, sizeof(add.name)) < 0)
		return;
	/* By preference; within one, a new host comes at a random place (RFC 5321 section 5.1). */
	for (at = 0; at < f->mx_n; at++)
		if (f->mx[at].preference > add.preference ||
		    (f->mx[at].preference == add.preference && (random() & 1) != 0))
			break;
	memmove(&f->mx[at + 1], &f->mx[at], (f->mx_n - at) * sizeof(f->mx[0]));
	f->mx[at] = add;
	f->mx_n++;
}

static void on_answer(void *arg, int rcode, void *packet, int len, int sec, char *why_bogus, int limited);

static void
ask(struct find *f, const char *name, size_t mx, int type)
{
	struct question *q = malloc(sizeof(*q));
	int id;

	f->asked++;
	if (q != NULL) {
		*q = (struct question){ .find = f, .mx = mx, .type = type };
		if (ub_resolve_event(f->dns->ctx, name, type, ns_c_in, q, on_answer, &id) == 0)
			return;
		free(q);
	}
	f->trouble = true;
	f->asked--;
}

static void
ask_addresses(struct find *f)
{
	f->starting = true;
	for (size_t i = 0; i < f->mx_n; i++) {
		unsigned char raw[16];

		if (inet_pton(AF_INET, f->mx[i].name, raw) == 1) {
			add_address(&f->mx[i], AF_INET, raw);
		} else if (inet_pton(AF_INET6, f->mx[i].name, raw) == 1) {
			add_address(&f->mx[i], AF_INET6, raw);
		} else {
			ask(f, f->mx[i].name, i, ns_t_a);
			ask(f, f->mx[i].name, i, ns_t_aaaa);
		}
	}
	f->starting = false;
	if (f->asked == 0)
		addresses_done(f);
}

/* Those that are not better than ourselves would send it back to us (RFC 5321 section 5.1). */
static bool
drop_own(struct find *f)
{
	for (size_t i = 0; i < f->mx_n; i++) {
		if (strcasecmp(f->mx[i].name, f->dns->hostname) != 0)
			continue;
		while (i > 0 && f->mx[i - 1].preference == f->mx[i].preference)
			i--;
		f->mx_n = i;
	}
	return f->mx_n > 0;
}

static void
mx_done(struct find *f, int rcode, bool readable)
{
	char text[400];

	if (rcode == ns_r_nxdomain) {
		(void)snprintf(text, sizeof(text), "Host or domain name not found. Name service error for name=%s type=MX: Host not found", f->name);
		fail(f, true, "5.1.2", text);
	} else if (rcode != ns_r_noerror || !readable) {
		(void)snprintf(text, sizeof(text), "Host or domain name not found. Name service error for name=%s type=MX: Host not found, try again", f->name);
		fail(f, false, "4.4.3", text);
	} else if (f->mx_n == 1 && f->mx[0].name[0] == '\0') {	/* RFC 7505 */
		(void)snprintf(text, sizeof(text), "Domain %s does not accept mail (nullMX)", f->name);
		fail(f, true, "5.1.10", text);
	} else if (f->mx_n == 0) {	/* implicit MX */
		f->mx_n = 1;
		f->mx[0] = (struct mx){ .found_n = 0 };
		(void)snprintf(f->mx[0].name, sizeof(f->mx[0].name), "%s", f->name);
		ask_addresses(f);
	} else if (!drop_own(f)) {
		(void)snprintf(text, sizeof(text), "mail for %s loops back to myself", f->name);
		fail(f, true, "5.4.6", text);
	} else {
		ask_addresses(f);
	}
}

static void
on_answer(void *arg, int rcode, void *packet, int len, int sec, char *why_bogus, int limited)
{
	struct question *q = arg;
	struct find *f = q->find;
	int type = q->type;
	bool readable;

	(void)limited;
	(void)why_bogus;
	/* rcode is that of the look-up; what the zone says stands in the packet. */
	if (rcode == ns_r_noerror && len >= NS_HFIXEDSZ)
		rcode = ((const unsigned char *)packet)[3] & 0x0f;
	if (sec == 1)	/* bogus: as if there was no answer */
		rcode = ns_r_servfail;
	readable = rcode != ns_r_noerror ||
	    each_record(packet, len, type, f, &f->mx[q->mx], type == ns_t_mx ? each_mx : each_address);
	free(q);
	f->asked--;
	if (type == ns_t_mx) {
		f->mx_here = f->starting;
		f->mx_rcode = rcode;
		f->mx_readable = readable;
		if (!f->starting)
			mx_done(f, rcode, readable);
		return;
	}
	if ((rcode != ns_r_noerror && rcode != ns_r_nxdomain) || !readable)
		f->trouble = true;
	if (f->asked == 0 && !f->starting)
		addresses_done(f);
}

void
relay_dns_find(struct relay_dns *dns, const char *name, bool mx, relay_dns_done done, void *ctx)
{
	struct find *f = calloc(1, sizeof(*f));
	size_t len = strlen(name);

	if (f == NULL) {
		const struct mail_hosts none = { .dsn = "4.3.0", .text = "out of memory" };

		done(ctx, &none);
		return;
	}
	*f = (struct find){ .dns = dns, .done = done, .ctx = ctx };
	if (len > 2 && name[0] == '[' && name[len - 1] == ']') {	/* an address literal goes there alone */
		if (strncasecmp(name, "[IPv6:", 6) == 0)
			(void)snprintf(f->name, sizeof(f->name), "%.*s", (int)(len - 7), name + 6);
		else
			(void)snprintf(f->name, sizeof(f->name), "%.*s", (int)(len - 2), name + 1);
		mx = false;
	} else {
		(void)snprintf(f->name, sizeof(f->name), "%s", name);
	}
	if (mx) {
		f->starting = true;
		ask(f, f->name, 0, ns_t_mx);
		f->starting = false;
		if (f->mx_here)
			mx_done(f, f->mx_rcode, f->mx_readable);
		else if (f->asked == 0)
			fail(f, false, "4.4.3", "the resolver does not answer");
		return;
	}
	f->mx_n = 1;
	(void)snprintf(f->mx[0].name, sizeof(f->mx[0].name), "%s", f->name);
	ask_addresses(f);
}

/* The first question makes libunbound read its files; that must be over before confinement. */
static void
on_warm(void *arg, int rcode, void *packet, int len, int sec, char *why_bogus, int limited)
{
	(void)rcode;
	(void)packet;
	(void)len;
	(void)sec;
	(void)why_bogus;
	(void)limited;
	*(bool *)arg = true;
}

struct relay_dns *
relay_dns_open(struct event_base *base, const char *resolver, const char *hostname)
{
	static bool warm;
	struct relay_dns *dns = calloc(1, sizeof(*dns));
	int rc = 0, id;

	if (dns == NULL || (dns->ctx = ub_ctx_create_event(base)) == NULL)
		log_fatal(71, "the resolver cannot be started");
	dns->hostname = hostname;
	if (resolver != NULL)
		rc = ub_ctx_set_fwd(dns->ctx, resolver);
	else
		(void)ub_ctx_resolvconf(dns->ctx, NULL);	/* without one: from the root */
	(void)ub_ctx_hosts(dns->ctx, NULL);
	(void)ub_ctx_set_option(dns->ctx, "do-not-query-localhost:", "no");
	(void)ub_ctx_set_option(dns->ctx, "outgoing-range:", "64");
	(void)ub_ctx_set_option(dns->ctx, "so-reuseport:", "no");
	if (rc != 0)
		log_fatal(78, "resolver = \"%s\": %s; write an address, or address@port", resolver, ub_strerror(rc));
	rc = ub_resolve_event(dns->ctx, "localhost.", ns_t_a, ns_c_in, &warm, on_warm, &id);
	for (int i = 0; rc == 0 && !warm && i < 100; i++)
		(void)event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	if (rc != 0)
		log_fatal(71, "the resolver cannot be started: %s", ub_strerror(rc));
	return dns;
}
