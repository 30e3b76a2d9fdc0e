/*
 * What is there, against what the senders were told.  Everything that is found
 * is counted and taken away, so that a run may be long; a message that comes
 * back after that is counted a second time.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "daemon.h"
#include "qid.h"
#include "selftest.h"
#include "verdict.h"

#define TURN_USEC	20000
#define SAID_MAX	10	/* losses told one by one */
#define PLACE_INBOX	PLACES	/* of keepers; then Archive, Sent */
#define ITEM_IDS	100000	/* waiting messages looked at */

struct look {
	struct selftest_suite	*suite;
	struct selftest_shared	*shared;
	uint64_t		 seed;
	struct verify_result	*r;
	unsigned		 said;
};

/* ---- one message that was found ---- */

/* Was it there before?  Under which queue id tells whether it was taken or delivered twice. */
static void
count(struct look *l, uint32_t n, size_t place, uint64_t qid)
{
	struct selftest_fate *f = &l->shared->fate[n];
	char first[QID_TEXT], now[QID_TEXT];

	if (f->seen[place] > 0 && l->said++ < SAID_MAX)
		cli_say(l->suite->cli, "message %u was queued as %s, and again as %s", n,
		    qid_print((struct qid){ f->qid }, first), qid_print((struct qid){ qid }, now));
	if (f->seen[place] < UINT8_MAX)
		f->seen[place]++;
	if (f->qid == 0)
		f->qid = qid;
}

/* A keeper's message, in this folder of his. */
static void
count_keep(struct look *l, const char *where, uint32_t n, size_t place)
{
	const uint32_t at = l->shared->fate[n].keep;
	struct keep *m = at == 0 ? NULL : &l->shared->keeps[(at - 1) / KEEPS_MAX].at[(at - 1) % KEEPS_MAX];
	const char *flags = strstr(where, ":2,");

	if (m == NULL || m->n != n) {
		/* Not of a keeper, or counted at an earlier look and back again. */
		if (l->r->strangers++ < SAID_MAX)
			cli_say(l->suite->cli, "%s, message %u, should not be there", where, n);
		return;
	}
	if (place == PLACE_INBOX + 2) {
		m->seen.sent++;
		return;
	}
	m->seen.inbox = (uint8_t)(m->seen.inbox + (place == PLACE_INBOX));
	m->seen.archive = (uint8_t)(m->seen.archive + (place != PLACE_INBOX));
	m->seen_flagged |= flags != NULL && strchr(flags, 'F') != NULL;
}

static void
saw(struct look *l, const char *where, size_t place, uint64_t qid, struct slice content)
{
	struct cli *c = l->suite->cli;
	bool whole = false;
	uint32_t n;

	l->r->octets += content.len;
	if (!message_parse(l->seed, content, &n, &whole) || n >= atomic_load(&l->shared->next)) {
		/* A bounce, or nothing that a sender made: there should be none. */
		if (l->r->strangers++ < SAID_MAX)
			cli_say(c, "%s is none of the messages that were sent", where);
		return;
	}
	if (!whole && l->r->torn++ < SAID_MAX)
		cli_say(c, "%s, message %u, is not whole", where, n);
	if (place >= PLACES)
		count_keep(l, where, n, place);
	else
		count(l, n, place, qid);
}

static bool
look_at(struct look *l, const char *where, size_t place, uint64_t qid, int fd)
{
	struct stat st;
	void *at;

	if (fstat(fd, &st) != 0)
		return false;
	if (st.st_size == 0) {
		saw(l, where, place, qid, slice_make("", 0));
		return true;
	}
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		return false;
	saw(l, where, place, qid, slice_make(at, (size_t)st.st_size));
	(void)munmap(at, (size_t)st.st_size);
	return true;
}

/* ---- mailboxes ---- */

/* The queue id in a file's name, SECONDS.Q<qid>R<n>.HOST; 0: none. */
static uint64_t
name_qid(const char *name)
{
	struct slice rest = slice_of(name);
	struct qid q = { 0 };

	(void)slice_cut(&rest, 'Q');
	(void)qid_parse(slice_sub(rest, 0, QID_DIGITS), &q);
	return q.n;
}

static bool
look_at_folder(struct look *l, const char *path, size_t place)
{
	const struct dirent *e;
	char where[4800];
	bool ok = true;
	DIR *dir;
	int fd;

	dir = opendir(path);
	if (dir == NULL)
		return errno == ENOENT;		/* no mail came yet */
	while (ok && (e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(where, sizeof(where), "%s/%s", path, e->d_name);
		fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		ok = fd >= 0 && look_at(l, where, place, name_qid(e->d_name), fd) && unlinkat(dirfd(dir), e->d_name, 0) == 0;
		if (!ok)
			cli_errno(l->suite->cli, "%s", where);
		if (fd >= 0)
			(void)close(fd);
	}
	(void)closedir(dir);
	return ok;
}

/* new/ and cur/ of "u0/Maildir", "k1/Maildir/.Sent". */
static bool
look_at_maildir(struct look *l, const char *name, size_t i, const char *folder, size_t place)
{
	static const char *const sub[] = { "new", "cur" };
	char path[4400];
	bool ok = true;

	for (size_t k = 0; k < LEN(sub) && ok; k++) {
		(void)snprintf(path, sizeof(path), "%s/" SELFTEST_DOMAIN "/%s%zu/Maildir%s/%s", l->suite->conf.mail_root,
		    name, i, folder, sub[k]);
		ok = look_at_folder(l, path, place);
	}
	return ok;
}

static bool
look_at_mailboxes(struct look *l)
{
	static const char *const folder[] = { "", "/.Archive", "/.Sent" };
	bool ok = true;

	for (size_t user = 0; user < SELFTEST_USERS && ok; user++)
		ok = look_at_maildir(l, "u", user, "", user);
	for (size_t keeper = 0; keeper < KEEPERS; keeper++)
		for (size_t k = 0; k < LEN(folder) && ok; k++)
			ok = look_at_maildir(l, "k", keeper, folder[k], PLACE_INBOX + k);
	return ok;
}

/* ---- the queue ---- */

static bool
is_away(struct slice rcpts)
{
	struct ipc_queue_rcpt r;
	bool bad = false;

	while (ipc_next_queue_rcpt(&rcpts, &r, &bad))
		if (!slice_is(r.addr, SELFTEST_AWAY))
			return false;
	return !bad;
}

struct waiting {
	uint64_t	*id;		/* of those for SELFTEST_AWAY */
	size_t		 n;
	size_t		 others;	/* still to be delivered */
};

static bool
note_items(struct slice list, struct waiting *w)
{
	struct ipc_queue_item item;
	bool bad = false;

	while (ipc_next_queue_item(&list, &item, &bad)) {
		if (!is_away(item.rcpts))
			w->others++;
		else if (w->n < ITEM_IDS && (w->n == 0 || w->id[w->n - 1] != item.qid))
			w->id[w->n++] = item.qid;
	}
	return !bad;
}

/* Everything that waits; false: queue does not answer (now). */
static bool
list_queue(struct client *client, struct waiting *w)
{
	const struct ipc_queue_list all = { 0 };
	struct ipc_queue_items items;
	struct ipc_queue_end end;
	struct slice frame;
	struct buf out;
	uint16_t code;

	w->n = w->others = 0;
	buf_init(&out, IPC_FRAME_MAX);
	if (!client_send(client, &out, ipc_put_queue_list(&out, &all), -1))
		return false;
	while (client_recv(client, CLIENT_WAIT_MS, &frame, &code, NULL)) {
		if (code == IPC_queue_end)
			return ipc_get_queue_end(frame, &end) && end.verdict == OK;
		if (code != IPC_queue_items || !ipc_get_queue_items(frame, &items) || !note_items(items.items, w))
			return false;
	}
	return false;
}

static bool
look_at_queued(struct look *l, struct client *client, uint64_t qid)
{
	const struct ipc_queue_export export = { .qid = qid };
	const struct ipc_queue_do delete = { .action = ACTION_DELETE, .qid = qid };
	struct ipc_queue_end end;
	struct slice frame;
	struct buf out;
	uint16_t code = 0;
	char where[64], id[QID_TEXT];
	int fd = -1;
	bool ok;

	(void)snprintf(where, sizeof(where), "queued %s", qid_print((struct qid){ qid }, id));
	buf_init(&out, IPC_FRAME_MAX);
	ok = client_send(client, &out, ipc_put_queue_export(&out, &export), -1) &&
	    client_recv(client, CLIENT_WAIT_MS, &frame, &code, &fd) && code == IPC_queue_content && fd >= 0 &&
	    look_at(l, where, PLACE_QUEUE, qid, fd);
	if (fd >= 0)
		(void)close(fd);
	ok = ok && client_send(client, &out, ipc_put_queue_do(&out, &delete), -1) &&
	    client_recv(client, CLIENT_WAIT_MS, &frame, &code, NULL) && code == IPC_queue_end &&
	    ipc_get_queue_end(frame, &end) && end.verdict == OK;
	if (!ok)
		cli_say(l->suite->cli, "%s cannot be read and deleted", where);
	return ok;
}

/* Wait until all that is left is for elsewhere, then look at that. */
static bool
look_at_queue(struct look *l)
{
	const uint64_t wait = l->suite->wait_s * UINT64_C(1000000);
	uint64_t over = now_mono_usec() + wait;
	size_t before = SIZE_MAX;
	struct waiting w = { .id = calloc(ITEM_IDS, sizeof(*w.id)), .others = 1 };
	struct client client = { .fd = -1 };
	bool ok = false;

	while (w.id != NULL && w.others > 0 && now_mono_usec() < over && !selftest_stop) {
		if ((client.fd < 0 && !client_open(&client, &l->suite->conf, "queue-control")) ||
		    !list_queue(&client, &w)) {
			client_close(&client);
			w.others = before;
		}
		if (w.others > 0)
			suite_nap(TURN_USEC);
		if (w.others < before)
			over = now_mono_usec() + wait;
		before = w.others;
	}
	ok = w.others == 0;
	if (!ok && !selftest_stop)
		cli_say(l->suite->cli, before == SIZE_MAX ? "queue does not answer" :
		    "the queue does not run dry: %zu messages wait", before);
	for (size_t i = 0; i < w.n && client.fd >= 0 && !selftest_stop; i++)
		ok &= look_at_queued(l, &client, w.id[i]);
	client_close(&client);
	free(w.id);
	return ok;
}

bool
verify_look(struct selftest_suite *s, struct selftest_shared *shared, uint64_t seed, struct verify_result *r)
{
	struct look l = { .suite = s, .shared = shared, .seed = seed, .r = r };
	const bool dry = look_at_queue(&l);

	return look_at_mailboxes(&l) && dry;
}

/* ---- the answers ---- */

struct judge {
	const struct selftest_suite	*suite;
	struct verify_result		*r;
	uint64_t			 said;
};

static void
say(struct judge *j, uint32_t n, const struct selftest_fate *f, size_t place, const char *what)
{
	static const char *const name[PLACES] = { "mailbox u0", "mailbox u1", "mailbox u2", "mailbox u3", "queue" };

	if (j->said++ < SAID_MAX)
		cli_say(j->suite->cli, "message %u (%s, %u): %s (%s)", n, f->by_sendmail ? "sendmail" : "SMTP", f->code,
		    what, name[place]);
}

/* Each kind of fault counts once a message. */
static void
judge(struct judge *j, uint32_t n, const struct selftest_fate *f, unsigned wanted)
{
	const enum told told = (enum told)atomic_load(&f->told);
	unsigned there = 0, twice = 0, missing, wrong;

	for (size_t p = 0; p < PLACES; p++) {
		there |= f->seen[p] > 0 ? 1u << p : 0;
		twice |= f->seen[p] > 1 ? 1u << p : 0;
	}
	missing = told == TOLD_TAKEN || (told == TOLD_DOUBT && there != 0) ? wanted & ~there : 0;
	wrong = told == TOLD_REFUSED || told == TOLD_NOTHING ? there : there & ~wanted;
	j->r->taken += told == TOLD_TAKEN;
	j->r->refused += told == TOLD_REFUSED;
	j->r->doubt += told == TOLD_DOUBT;
	j->r->doubt_there += told == TOLD_DOUBT && there != 0;
	j->r->lost += missing != 0;
	j->r->doubled += twice != 0;
	j->r->ghosts += wrong != 0;
	for (size_t p = 0; p < PLACES; p++) {
		if ((missing & 1u << p) != 0)
			say(j, n, f, p, told == TOLD_TAKEN ? "was taken, and is lost" : "got no answer, and is there in part");
		if ((twice & 1u << p) != 0)
			say(j, n, f, p, "is there more than once");
		if ((wrong & 1u << p) != 0)
			say(j, n, f, p, told == TOLD_REFUSED ? "was refused, and is there" : "is where it was not sent");
	}
}

static bool
allows(const struct keep *m, const struct keep_counts *c)
{
	return m->seen.inbox == c->inbox && m->seen.archive == c->archive && m->seen.sent == c->sent &&
	    (!m->flagged || m->seen_flagged || c->inbox + c->archive == 0);
}

static void
judge_keep(struct judge *j, const struct keep *m)
{
	const struct keep_counts *a = &m->allowed[0], *b = &m->allowed[m->allowed_n - 1];

	j->r->kept++;
	if (allows(m, a) || allows(m, b))
		return;
	j->r->keeps_wrong++;
	if (j->said++ < SAID_MAX)
		cli_say(j->suite->cli, "message %u (IMAP, after %s): INBOX %u, Archive %u, Sent %u%s instead of %u, %u, %u or "
		    "%u, %u, %u%s", m->n, m->last, m->seen.inbox, m->seen.archive, m->seen.sent, m->seen_flagged ? ", flagged" : "",
		    a->inbox, a->archive, a->sent, b->inbox, b->archive, b->sent, m->flagged ? ", flagged" : "");
}

void
verify_count(const struct selftest_suite *s, struct selftest_shared *shared, uint64_t seed, struct verify_result *r)
{
	const uint32_t end = atomic_load(&shared->next);
	struct judge j = { .suite = s, .r = r };

	r->taken = r->refused = r->doubt = r->doubt_there = r->lost = r->doubled = r->ghosts = 0;
	for (uint32_t n = 0; n < end && n < MESSAGES_MAX; n++)
		judge(&j, n, &shared->fate[n], message_places(seed, n, shared->fate[n].by_sendmail));
	/* What keepers have was taken away: each look is of what they did since the last. */
	for (size_t i = 0; i < KEEPERS; i++) {
		for (uint32_t k = 0; k < shared->keeps[i].n; k++)
			judge_keep(&j, &shared->keeps[i].at[k]);
		shared->keeps[i].n = 0;
	}
}
