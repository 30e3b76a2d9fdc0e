/* relay_dest: destinations: their hosts, the deliveries that wait, how many connections they get. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "log.h"
#include "relay.h"

#define HOSTS_GOOD_USEC	(60 * 1000000ull)	/* a look-up is trusted so long while mail keeps coming */

static struct dest *
dest_find(struct relay *r, struct slice key)
{
	for (struct dest *d = r->dests; d != NULL; d = d->next)
		if (slice_ieq(key, d->key))
			return d;
	return NULL;
}

static struct dest *
dest_new(struct relay *r, struct slice key)
{
	struct dest *d = calloc(1, sizeof(*d));

	if (d == NULL || !slice_text(key, d->key, sizeof(d->key))) {
		free(d);
		return NULL;
	}
	d->relay = r;
	d->last = &d->first;
	d->next = r->dests;
	r->dests = d;
	return d;
}

static void
dest_forget(struct dest *d)
{
	struct dest **at = &d->relay->dests;

	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	free(d);
}

struct delivery *
dest_take(struct dest *d)
{
	struct delivery *take = d->first;

	if (take == NULL)
		return NULL;
	d->first = take->next;
	if (d->first == NULL)
		d->last = &d->first;
	take->next = NULL;
	return take;
}

void
dest_return(struct dest *d, struct delivery *again)
{
	again->next = d->first;
	if (d->first == NULL)
		d->last = &again->next;
	d->first = again;
}

static void
fail_waiting(struct dest *d, bool permanent, const char *dsn, const char *text)
{
	struct delivery *f;

	while ((f = dest_take(d)) != NULL)
		delivery_fail(f, permanent, dsn, text);
}

static size_t
waiting(const struct dest *d)
{
	size_t n = 0;

	for (const struct delivery *f = d->first; f != NULL; f = f->next)
		n++;
	return n;
}

/* Idle connections first; then as many new ones as there is work for and the limit allows. */
static void
dest_work(struct dest *d)
{
	size_t work = waiting(d);
	struct relay_conn *next;

	for (struct relay_conn *c = d->conns; c != NULL && work > 0; c = next) {
		next = relay_conn_next(c);
		if (relay_conn_idle(c)) {
			relay_conn_wake(c);
			work--;
		}
	}
	for (; work > 0 && d->conn_n < d->relay->daemon.conf.relay_connections; work--) {
		if (!relay_conn_open(d)) {
			if (d->conn_n == 0)
				fail_waiting(d, false, "4.3.0", "out of memory or descriptors");
			return;
		}
	}
}

static void
dest_resolved(void *ctx, const struct mail_hosts *hosts)
{
	struct dest *d = ctx;

	d->resolving = false;
	d->hosts = *hosts;
	d->resolved_mono_usec = now_mono_usec();
	if (hosts->n > 0) {
		dest_work(d);
		return;
	}
	fail_waiting(d, hosts->permanent, hosts->dsn, hosts->text);
	if (d->conn_n == 0)
		dest_forget(d);
}

void
dest_add(struct relay *r, struct slice domain, struct delivery *add)
{
	const char *smarthost = r->daemon.conf.smarthost.host;
	struct slice key = smarthost != NULL ? slice_of(smarthost) : domain;
	struct dest *d = dest_find(r, key);

	if (d == NULL)
		d = dest_new(r, key);
	if (d == NULL) {
		delivery_fail(add, false, "4.3.0", "out of memory");
		return;
	}
	add->next = NULL;
	*d->last = add;
	d->last = &add->next;
	if (d->resolving)
		return;
	if (d->hosts.n > 0 && now_mono_usec() - d->resolved_mono_usec < HOSTS_GOOD_USEC) {
		dest_work(d);
		return;
	}
	d->resolving = true;
	relay_dns_find(r->dns, d->key, smarthost == NULL, dest_resolved, d);
}

void
dest_conn_gone(struct dest *d)
{
	if (d->first != NULL && !d->resolving)
		dest_work(d);
	else if (d->first == NULL && d->conn_n == 0 && !d->resolving)
		dest_forget(d);
}

void
dest_unreachable(struct dest *d, const char *text)
{
	/* While another connection works, the host is there after all: let those wait for it. */
	if (d->conn_n <= 1)
		fail_waiting(d, false, "4.4.1", text);
}
