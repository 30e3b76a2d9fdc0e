/* sendmail -bv: say what would become of each recipient; deliver nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "expand_files.h"
#include "routes.h"
#include "sendmail.h"

/* False: nobody is behind one of them. */
static bool
say_targets(const char *address, const struct expansion *e)
{
	static const char *const kinds[] = {
		[EXPAND_MAILBOX] = "mailbox", [EXPAND_REMOTE] = "relayed to", [EXPAND_FILE] = "file", [EXPAND_COMMAND] = "command", [EXPAND_UNKNOWN] = "unknown user",
	};

	bool good = true;

	for (size_t i = 0; i < e->n; i++)
		good = good && e->at[i].kind != EXPAND_UNKNOWN;
	(void)printf("%s... %s:", address, good ? "deliverable" : "undeliverable");
	for (size_t i = 0; i < e->n; i++)
		(void)printf("%s %s %s", i > 0 ? "," : "", kinds[e->at[i].kind], e->at[i].text);
	(void)putchar('\n');
	return good;
}

/* EX_OK, EX_NOUSER or EX_TEMPFAIL. */
static int
verify(struct routes *r, const struct addr *a)
{
	struct expand_ops ops;
	struct expansion e = { 0 };
	int rc = EX_OK;

	switch (routes_domain(r, addr_domain(a))) {
	case PERM:
		(void)printf("%s... deliverable: relayed\n", a->text);
		return EX_OK;
	case TEMP:
		(void)printf("%s... cannot tell now: the maps cannot be read\n", a->text);
		return EX_TEMPFAIL;
	case OK:
		break;
	}
	expand_files(&ops);
	switch (expand_address(r, a, &ops, &e)) {
	case OK:
		rc = say_targets(a->text, &e) ? EX_OK : EX_NOUSER;
		break;
	case TEMP:
		(void)printf("%s... cannot tell now: %s %s\n", a->text, e.dsn, e.why);
		rc = EX_TEMPFAIL;
		break;
	case PERM:
		(void)printf("%s... undeliverable: %s %s\n", a->text, e.dsn, e.why);
		rc = EX_NOUSER;
		break;
	}
	expansion_clear(&e);
	return rc;
}

int
sendmail_verify(struct cli *c, const struct sendmail_options *o)
{
	int dirfd = open(c->conf.map_dir, O_PATH | O_DIRECTORY | O_CLOEXEC), rc = EX_OK;
	struct routes *r = dirfd < 0 ? NULL : routes_open(dirfd);

	if (r == NULL) {
		cli_errno(c, "%s", c->conf.map_dir);
		if (dirfd >= 0)
			(void)close(dirfd);
		return EX_OSFILE;
	}
	for (size_t i = 0; i < o->rcpt_n; i++) {
		char full[ADDR_MAX + 2];
		struct addr a;
		int one;

		(void)snprintf(full, sizeof(full), "%s%s%s", o->rcpts[i], strchr(o->rcpts[i], '@') == NULL ? "@" : "",
		    strchr(o->rcpts[i], '@') == NULL ? c->conf.hostname : "");
		if (!addr_parse(slice_of(full), &a)) {
			(void)printf("%s... undeliverable: 5.1.3 this is no address\n", o->rcpts[i]);
			rc = EX_NOUSER;
			continue;
		}
		one = verify(r, &a);
		if (one == EX_NOUSER || rc == EX_OK)
			rc = one;
	}
	routes_close(r);
	(void)close(dirfd);
	return rc;
}
