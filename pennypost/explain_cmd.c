/*
 * explain: the dry run of a message: what smtpd would answer and where deliver
 * would put it, by the same maps and the same code, with the rule that says so.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "expand_files.h"
#include "routes.h"

#define USAGE "pennypost explain RCPT [--from SENDER] [--ip ADDRESS] [--auth USER] [--size OCTETS]"

struct explain {
	struct cli	*cli;
	struct routes	*routes;
	const char	*from, *ip, *auth;
	uint64_t	 size;
	struct addr	 rcpt;
	json_t		*steps;		/* what was looked at, in order */
	json_t		*targets;
	const char	*verdict;	/* "accept", "reject", "defer", "bounce" */
	char		 reply[700];	/* as smtpd would say it */
};

static void __attribute__((format(printf, 3, 4)))
step(struct explain *x, const char *what, const char *fmt, ...)
{
	char text[900];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)json_array_append_new(x->steps, json_pack("{s:s, s:o}", "step", what, "text", cli_json_text(text, strlen(text))));
}

/* The end of the search: always false. */
static bool __attribute__((format(printf, 3, 4)))
answer(struct explain *x, const char *verdict, const char *fmt, ...)
{
	va_list ap;

	x->verdict = verdict;
	va_start(ap, fmt);
	(void)vsnprintf(x->reply, sizeof(x->reply), fmt, ap);
	va_end(ap);
	return false;
}

/* MAIL FROM: size, and may this login send as this sender. */
static bool
check_sender(struct explain *x)
{
	const struct conf *conf = &x->cli->conf;
	struct addr sender;

	if (x->size > conf->message_size) {
		step(x, "size", "%llu octets are more than message-size of %s, %llu", (unsigned long long)x->size,
		    conf->file, (unsigned long long)conf->message_size);
		return answer(x, "reject", "552 5.3.4 Message size exceeds fixed limit");
	}
	if (x->from == NULL || x->from[0] == '\0' || strcmp(x->from, "<>") == 0)
		return true;
	if (!addr_parse(slice_of(x->from), &sender)) {
		step(x, "sender", "%s is no address", x->from);
		return answer(x, "reject", "501 5.1.7 Bad sender address syntax");
	}
	if (x->auth == NULL) {
		step(x, "sender", "nobody is logged in: any sender is taken");
		return true;
	}
	switch (routes_may_send(x->routes, slice_of(x->auth), &sender)) {
	case OK:
		step(x, "sender", "%s may send as %s: mail to that address reaches the mailbox", x->auth, sender.text);
		return true;
	case TEMP:
		return answer(x, "defer", "451 4.3.0 <%s>: Sender address cannot be checked now", sender.text);
	case PERM:
		break;
	}
	step(x, "sender", "mail to %s does not reach %s", sender.text, x->auth);
	return answer(x, "reject", "553 5.7.1 <%s>: Sender address rejected: not owned by user %s", sender.text, x->auth);
}

/* A recipient at another host.  Nothing more is to be looked up then. */
static bool
remote(struct explain *x)
{
	const struct conf *conf = &x->cli->conf;
	char where[400];

	step(x, "domain", "%.*s is none of our domains (folders of %s)", (int)addr_domain(&x->rcpt).len,
	    addr_domain(&x->rcpt).ptr, conf->domain_dir);
	if (x->auth == NULL) {
		step(x, "relay", "only who is logged in may send to other hosts%s", x->ip == NULL ? "" : "; the address of the client does not count");
		return answer(x, "reject", "554 5.7.1 <%s>: Relay access denied", x->rcpt.text);
	}
	if (conf->smarthost.host != NULL)
		(void)snprintf(where, sizeof(where), "smarthost %s:%u (%s)", conf->smarthost.host, conf->smarthost.port, conf->file);
	else
		(void)snprintf(where, sizeof(where), "the MX of %.*s, port %u", (int)addr_domain(&x->rcpt).len,
		    addr_domain(&x->rcpt).ptr, conf->relay_port);
	step(x, "relay", "%s is logged in: it goes to %s", x->auth, where);
	(void)json_array_append_new(x->targets, json_pack("{s:s, s:s, s:s}", "kind", "remote", "target", x->rcpt.text, "via", where));
	return answer(x, "accept", "250 2.1.5 Ok");
}

/* The rule that the maps have for the address itself. */
static bool
check_rcpt(struct explain *x)
{
	static const char *const kinds[] = { [ROUTE_MAILBOX] = "mailbox", [ROUTE_ALIAS] = "alias", [ROUTE_CATCHALL] = "catch-all" };
	struct route route;
	char place[16] = "";

	switch (routes_domain(x->routes, addr_domain(&x->rcpt))) {
	case PERM:
		return remote(x);
	case TEMP:
		return answer(x, "defer", "451 4.3.0 <%s>: Recipient address cannot be checked now", x->rcpt.text);
	case OK:
		break;
	}
	step(x, "domain", "%.*s is ours", (int)addr_domain(&x->rcpt).len, addr_domain(&x->rcpt).ptr);
	switch (routes_find(x->routes, &x->rcpt, &route)) {
	case PERM:
		step(x, "recipient", "neither mailbox nor alias, with or without +detail, and no catch-all");
		return answer(x, "reject", "550 5.1.1 <%s>: Recipient address rejected: User unknown", x->rcpt.text);
	case TEMP:
		return answer(x, "defer", "451 4.3.0 <%s>: Recipient address cannot be checked now", x->rcpt.text);
	case OK:
		break;
	}
	if (route.line > 0)	/* what is built in has none */
		(void)snprintf(place, sizeof(place), ":%u", route.line);
	step(x, "recipient", "%s %s%s%.*s%s (%.*s%s)", kinds[route.kind], route.key.text,
	    route.detail.len > 0 ? ", detail '" : "", (int)route.detail.len, route.detail.ptr == NULL ? "" : route.detail.ptr,
	    route.detail.len > 0 ? "'" : "", (int)route.file.len, route.file.ptr, place);
	return true;
}

/* Where a mailbox is, and how much it may hold. */
static json_t *
mailbox_place(struct explain *x, const char *address)
{
	struct addr a, canonical;
	struct route route;
	char path[2200];

	if (!addr_parse(slice_of(address), &a))
		return json_null();
	addr_canonical(&a, &canonical);
	if (routes_find_mailbox(x->routes, &canonical, &route) != OK)
		return json_null();
	(void)snprintf(path, sizeof(path), "%s%s%.*s/Maildir", route.system ? "" : x->cli->conf.mail_root,
	    route.system ? "" : "/", (int)route.home.len, route.home.ptr);
	if (route.quota > 0 && x->size > route.quota)
		step(x, "quota", "%llu octets are more than the quota of %s, %llu", (unsigned long long)x->size, address,
		    (unsigned long long)route.quota);
	return cli_json_text(path, strlen(path));
}

static void
add_target(struct explain *x, const struct expand_target *t)
{
	static const char *const kinds[] = {
		[EXPAND_MAILBOX] = "mailbox", [EXPAND_REMOTE] = "remote", [EXPAND_FILE] = "file",
		[EXPAND_COMMAND] = "command", [EXPAND_UNKNOWN] = "unknown",
	};
	json_t *target = json_pack("{s:s, s:o, s:o}", "kind", kinds[t->kind],
	    "target", cli_json_text(t->text, strlen(t->text)), "via", cli_json_text(t->via, strlen(t->via)));

	if (t->kind == EXPAND_MAILBOX)
		(void)json_object_set_new(target, "path", mailbox_place(x, t->text));
	if (t->sender != NULL)
		(void)json_object_set_new(target, "sender", cli_json_text(t->sender, strlen(t->sender)));
	(void)json_array_append_new(x->targets, target);
}

static void
expand(struct explain *x)
{
	struct expand_ops ops;
	struct expansion e = { 0 };
	enum verdict verdict;

	expand_files(&ops);
	verdict = expand_address(x->routes, &x->rcpt, &ops, &e);
	(void)answer(x, verdict == OK ? "accept" : verdict == TEMP ? "defer" : "bounce", "250 2.1.5 Ok");
	if (verdict != OK)
		step(x, "aliases", "%s %s", e.dsn, e.why);
	for (size_t i = 0; i < e.n; i++)
		add_target(x, &e.at[i]);
	expansion_clear(&e);
}

/* ---- what is said ---- */

static void
put_text(const struct explain *x)
{
	const json_t *v;
	size_t i;

	(void)printf("%s\n", x->rcpt.text);
	json_array_foreach(x->steps, i, v)
		(void)printf("  %-10s %s\n", json_string_value(json_object_get(v, "step")), json_string_value(json_object_get(v, "text")));
	(void)printf("  %-10s %s: %s\n", "answer", x->verdict, x->reply);
	json_array_foreach(x->targets, i, v) {
		const char *path = json_string_value(json_object_get(v, "path"));
		const char *via = json_string_value(json_object_get(v, "via"));
		const char *sender = json_string_value(json_object_get(v, "sender"));

		(void)printf("  %-10s %s%s%s%s\n", json_string_value(json_object_get(v, "kind")),
		    json_string_value(json_object_get(v, "target")), path != NULL ? " in " : "", path != NULL ? path : "",
		    strcmp(x->verdict, "accept") == 0 ? "" : " (not reached)");
		if (via != NULL && via[0] != '\0')
			(void)printf("  %-10s by %s\n", "", via);
		if (sender != NULL)
			(void)printf("  %-10s with the envelope sender %s\n", "", sender);
	}
}

static int
exit_code(const struct explain *x)
{
	if (strcmp(x->verdict, "accept") == 0)
		return EX_OK;
	return strcmp(x->verdict, "defer") == 0 ? EX_TEMPFAIL : strncmp(x->reply, "550", 3) == 0 ? EX_NOUSER : EX_UNAVAILABLE;
}

static bool
take_arguments(struct explain *x, int argc, char **argv)
{
	const char *size = NULL;
	const struct cli_option options[] = {
		{ "--from", &x->from, NULL }, { "--ip", &x->ip, NULL }, { "--auth", &x->auth, NULL },
		{ "--size", &size, NULL }, { NULL, NULL, NULL },
	};
	unsigned char raw[16];
	struct addr given;
	char full[ADDR_MAX + ADDR_DOMAIN_MAX + 4];

	if (!cli_options(x->cli, options, &argc, argv))
		return false;
	if (argc != 2) {
		(void)cli_usage(x->cli, USAGE);
		return false;
	}
	(void)snprintf(full, sizeof(full), "%s%s%s", argv[1], strchr(argv[1], '@') == NULL ? "@" : "",
	    strchr(argv[1], '@') == NULL ? x->cli->conf.hostname : "");
	if (!addr_parse(slice_of(full), &given)) {
		cli_say(x->cli, "'%s' is no address", argv[1]);
		return false;
	}
	addr_canonical(&given, &x->rcpt);
	if (size != NULL && !slice_number(slice_of(size), UINT64_MAX, &x->size)) {
		cli_say(x->cli, "--size %s: write a number of octets", size);
		return false;
	}
	if (x->ip != NULL && inet_pton(AF_INET, x->ip, raw) != 1 && inet_pton(AF_INET6, x->ip, raw) != 1) {
		cli_say(x->cli, "--ip %s: write an address like 192.0.2.1 or 2001:db8::1", x->ip);
		return false;
	}
	return true;
}

int
cmd_explain(struct cli *c, int argc, char **argv)
{
	struct explain x = { .cli = c, .verdict = "accept" };
	int dirfd, rc;

	if (!take_arguments(&x, argc, argv))
		return c->help ? EX_OK : EX_USAGE;
	dirfd = open(c->conf.map_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	x.routes = dirfd < 0 ? NULL : routes_open(dirfd);
	if (x.routes == NULL || !routes_ready(x.routes)) {
		cli_say(c, "there are no maps in %s; 'newaliases' or 'pennypost start' makes them", c->conf.map_dir);
		routes_close(x.routes);
		if (dirfd >= 0)
			(void)close(dirfd);
		return EX_OSFILE;
	}
	x.steps = json_array();
	x.targets = json_array();
	if (check_sender(&x) && check_rcpt(&x))
		expand(&x);
	rc = exit_code(&x);
	if (c->json)
		cli_json(json_pack("{s:s, s:s, s:s, s:O, s:O}", "rcpt", x.rcpt.text, "verdict", x.verdict,
		    "reply", x.reply, "steps", x.steps, "targets", x.targets));
	else
		put_text(&x);
	json_decref(x.steps);
	json_decref(x.targets);
	routes_close(x.routes);
	(void)close(dirfd);
	return rc;
}
