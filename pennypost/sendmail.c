/* sendmail, mailq, newaliases: see sendmail.h for the parts. */
#include "sendmail.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "ipc.h"
#include "log.h"
#include "maps.h"
#include "qid.h"
#include "queue_cmd.h"
#include "queue_list.h"
#include "routes.h"
#include "trace_cmd.h"

#define CHUNK		65536
#define VERBOSE_MS	10000	/* -v waits so long for the first attempt */
#define RCPTS_MAX	(12 * 1024 * 1024)	/* octets; the drop file's header has to hold them */

/* ---- the transaction ---- */

static int
compare_addr(const void *a, const void *b)
{
	return strcasecmp(a, b);
}

void
submission_reset(struct submission *s)
{
	tdestroy(s->seen, free);
	s->seen = NULL;
	s->rcpt_n = 0;
	buf_clear(&s->rcpts);
	mail_message_clear(&s->message);
	mail_message_init(&s->message, s->cli->conf.message_size);
}

/* A bare local part is one of our host's (its own address). */
static bool
complete(const struct submission *s, struct slice text, struct addr *out)
{
	char full[ADDR_MAX + ADDR_DOMAIN_MAX + 4];

	if (addr_parse(text, out))
		return true;
	if (text.len == 0 || text.len > ADDR_LOCAL_MAX + 2 || slice_find(text, '\0') != text.len)
		return false;
	(void)snprintf(full, sizeof(full), "%.*s@%s", (int)text.len, text.ptr, s->cli->conf.hostname);
	return addr_parse(slice_of(full), out);
}

bool
submission_sender(struct submission *s, struct slice text)
{
	text = slice_trim(text);
	if (text.len > 0 && text.ptr[0] == '<' && text.ptr[text.len - 1] == '>')
		text = slice_sub(text, 1, text.len - 2);
	if (text.len == 0) {
		addr_null(&s->sender);
		return true;
	}
	if (complete(s, text, &s->sender))
		return true;
	cli_say(s->cli, "'%.*s' is no sender address", (int)text.len, text.ptr);
	return false;
}

bool
submission_add(struct submission *s, struct slice text)
{
	struct ipc_rcpt rcpt = { .hint = HINT_UNKNOWN, .notify = (uint8_t)s->options->notify };
	struct addr a;
	char *key, **found;

	text = slice_trim(text);
	if (text.len > 1 && text.ptr[0] == '<' && text.ptr[text.len - 1] == '>')
		text = slice_sub(text, 1, text.len - 2);
	if (!complete(s, text, &a)) {
		cli_say(s->cli, "'%.*s' is no recipient address", (int)text.len, text.ptr);
		return false;
	}
	key = strdup(a.text);
	found = key == NULL ? NULL : tsearch(key, &s->seen, compare_addr);
	if (found == NULL || *found != key) {	/* no memory, or there already */
		free(key);
		return found != NULL;
	}
	rcpt.addr = addr_text(&a);
	s->rcpts.cap = RCPTS_MAX;
	s->rcpt_n++;
	if (ipc_add_rcpt(&s->rcpts, &rcpt))
		return true;
	cli_say(s->cli, "too many recipients");
	return false;
}

static bool
add_one(void *ctx, struct slice text)
{
	return submission_add(ctx, text);
}

/* ---- who calls ---- */

/* -F, else NAME, else the first part of GECOS, where '&' is the login name. */
static void
set_full_name(struct submission *s, const struct passwd *pw)
{
	const char *name = s->options->full_name, *env = getenv("NAME");
	size_t len = 0;

	if (name == NULL && env != NULL && env[0] != '\0')
		name = env;
	if (name != NULL) {
		(void)snprintf(s->full_name, sizeof(s->full_name), "%s", name);
	} else {
		for (const char *p = pw->pw_gecos; *p != '\0' && *p != ',' && len + 1 < sizeof(s->full_name); p++) {
			if (*p != '&') {
				s->full_name[len++] = *p;
				continue;
			}
			for (const char *l = pw->pw_name; *l != '\0' && len + 1 < sizeof(s->full_name); l++)
				s->full_name[len++] = l == pw->pw_name ? (char)toupper((unsigned char)*l) : *l;
		}
		s->full_name[len] = '\0';
	}
	for (char *p = s->full_name; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
}

static int
set_caller(struct submission *s)
{
	const struct passwd *pw = getpwuid(getuid());

	if (pw == NULL) {
		cli_say(s->cli, "user id %ld has no name", (long)getuid());
		return EX_OSERR;
	}
	(void)snprintf(s->login, sizeof(s->login), "%s", pw->pw_name);
	set_full_name(s, pw);
	if (!complete(s, slice_of(s->login), &s->self)) {
		cli_say(s->cli, "%s@%s is no address", s->login, s->cli->conf.hostname);
		return EX_OSERR;
	}
	s->sender = s->self;
	if (s->options->sender != NULL && !submission_sender(s, slice_of(s->options->sender)))
		return EX_DATAERR;
	return EX_OK;
}

/* ---- -bm ---- */

static int
read_message(struct submission *s)
{
	struct mail_lines lines = { .dot_ends = !s->options->dots };
	static char chunk[CHUNK];
	struct buf out;
	ssize_t n = 1;
	bool ok = true;

	buf_init(&out, CHUNK * 3);
	while (ok && !lines.ended && n != 0) {
		n = read(0, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		if (n > 0)
			(void)mail_lines_feed(&lines, slice_make(chunk, (size_t)n), &out);
		else
			mail_lines_end(&lines, &out);
		ok = !out.full && mail_message_feed(&s->message, buf_slice_of(&out));
		buf_reset(&out);
	}
	buf_clear(&out);
	s->message.eight_bit = lines.eight_bit;
	if (n < 0) {
		cli_errno(s->cli, "standard input");
		return EX_DATAERR;
	}
	ok = ok && mail_message_end(&s->message, s->options->from_header);
	if (!ok && s->message.too_big) {
		cli_say(s->cli, "the message is larger than message-size, which is %llu octets",
		    (unsigned long long)s->cli->conf.message_size);
		return EX_DATAERR;
	}
	if (!ok)
		cli_errno(s->cli, "the message cannot be kept");
	return ok ? EX_OK : EX_TEMPFAIL;
}

/*
 * RFC 8689 wants the promise kept on every hop, and relay does not ask the next
 * one for it: only mail that stays here can be promised.
 */
static bool
stays_here(struct submission *s)
{
	struct slice list = buf_slice_of(&s->rcpts);
	struct routes *r = NULL;
	struct ipc_rcpt rcpt;
	bool bad = false, here;
	struct addr a;
	int dirfd;

	dirfd = open(s->cli->conf.map_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = dirfd < 0 ? NULL : routes_open(dirfd);
	here = r != NULL;
	while (here && ipc_next_rcpt(&list, &rcpt, &bad))
		here = addr_parse(rcpt.addr, &a) && routes_domain(r, addr_domain(&a)) == OK;
	routes_close(r);
	if (dirfd >= 0)
		(void)close(dirfd);
	if (!here)
		cli_say(s->cli, "REQUIRETLS cannot be promised for recipients at other hosts");
	return here;
}

static int
take_rcpts(struct submission *s)
{
	const struct sendmail_options *o = s->options;
	bool bad = false;

	for (size_t i = 0; i < o->rcpt_n; i++)
		if (!submission_add(s, slice_of(o->rcpts[i])))
			return EX_DATAERR;
	if (o->from_header) {
		if (!mail_header_rcpts(buf_slice_of(&s->message.raw), s->message.info.resent, add_one, s, &bad))
			return EX_DATAERR;
		if (bad) {
			cli_say(s->cli, "an address in To:, Cc: or Bcc: cannot be read");
			return EX_DATAERR;
		}
	}
	if (s->rcpt_n == 0) {
		cli_say(s->cli, o->from_header ? "no recipients in the message, and none given" : "no recipients given");
		return EX_USAGE;
	}
	return o->requiretls && !stays_here(s) ? EX_UNAVAILABLE : EX_OK;
}

static int
submit(struct submission *s)
{
	int rc = EX_OK;

	if (!s->options->from_header && s->options->rcpt_n == 0)
		rc = take_rcpts(s);	/* says so before it waits for a message */
	if (rc == EX_OK)
		rc = read_message(s);
	if (rc == EX_OK && s->rcpt_n == 0)
		rc = take_rcpts(s);
	if (rc == EX_OK)
		rc = submission_send(s);
	if (rc == EX_OK && s->options->verbose && s->dropped)
		(void)printf("kept in a file until queue is back\n");
	else if (rc == EX_OK && s->options->verbose) {
		(void)printf("queued as %s\n", s->id);
		trace_first_attempt(s->cli, s->id, VERBOSE_MS);
	}
	return rc;
}

static int
run_submission(struct cli *c, const struct sendmail_options *o)
{
	struct submission s = { .cli = c, .options = o };
	int rc;

	buf_init(&s.rcpts, RCPTS_MAX);
	mail_message_init(&s.message, c->conf.message_size);
	rc = set_caller(&s);
	if (rc == EX_OK)
		rc = o->mode == MODE_SMTP ? sendmail_smtp(&s) : submit(&s);
	submission_reset(&s);
	mail_message_clear(&s.message);
	return rc;
}

/* ---- -bi, -q ---- */

static int
new_aliases(struct cli *c)
{
	struct maps_report report = { 0 };
	int rc;

	(void)maps_compile(&c->conf, false, &report);
	(void)cli_problems(NULL, &report.problems);
	rc = report.exit_code;
	if (rc == EX_OK)
		(void)printf("%s: %zu aliases, longest %zu bytes, %zu bytes total\n", c->conf.aliases,
		    report.aliases, report.longest, report.total);
	maps_report_clear(&report);
	return rc;
}

static int
flush(struct cli *c, const struct sendmail_options *o)
{
	struct ipc_queue_do request = {
		.action = ACTION_RETRY, .rcpt = slice_of(o->flush_rcpt), .sender = slice_of(o->flush_sender),
	};
	struct qid q;

	if (o->flush_id != NULL) {
		if (!qid_parse(slice_of(o->flush_id), &q)) {
			cli_say(c, "'%s' is no queue id", o->flush_id);
			return EX_USAGE;
		}
		request.qid = q.n;
	}
	return queue_do(c, &request, NULL);
}

static int
run(struct cli *c, const struct sendmail_options *o)
{
	static const struct ipc_queue_list all = { 0 };

	switch (o->mode) {
	case MODE_LIST:
		return queue_list(c, &all, o->json);
	case MODE_ALIASES:
		return new_aliases(c);
	case MODE_VERIFY:
		if (o->rcpt_n == 0) {
			cli_say(c, "no recipients given");
			return EX_USAGE;
		}
		return sendmail_verify(c, o);
	case MODE_FLUSH:
		return flush(c, o);
	case MODE_IGNORE:
		return EX_OK;
	default:
		return run_submission(c, o);
	}
}

int
sendmail_main(int argc, char **argv)
{
	struct sendmail_options o;
	struct cli c = { .conf_file = conf_default_file() };
	const char *base = strrchr(argv[0], '/');
	char why[300];
	int rc;

	c.program = base == NULL ? argv[0] : base + 1;
	log_setup(&(struct log_setup){ .tag = "pennypost", .program = c.program, .hostname = "localhost", .fd = 2 });
	if (!sendmail_options(c.program, argc, argv, &o, why, sizeof(why))) {
		cli_say(&c, "%s", why);
		return EX_USAGE;
	}
	if (o.mode == MODE_DAEMON) {
		cli_say(&c, "daemons are not started this way; use: systemctl start pennypost, or: pennypost start");
		return EX_UNAVAILABLE;
	}
	if (o.conf_file != NULL) {
		c.conf_file = o.conf_file;
		c.conf_given = true;
	}
	/* Whoever sends mail has no part in a half-made edit; compiling aliases by old options would hide it. */
	if (o.mode == MODE_ALIASES ? !cli_load(&c) : !cli_load_running(&c, true))
		return EX_CONFIG;
	rc = run(&c, &o);
	conf_clear(&c.conf);
	if (fflush(stdout) != 0 && rc == EX_OK)
		rc = EX_IOERR;
	return rc;
}
