#include "deliver_maildir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "log.h"
#include "store/store.h"

#define KEEP_USEC	(3 * 1000000)	/* a Maildir that is not used is closed after */
#define FILES_OTHER	384		/* descriptors for everything else */
#define FILES_A_STORE	5
#define FILES_AN_ITEM	(FILES_A_STORE + 1)
#define ITEMS_MIN	8

/* An open Maildir: messages for one user share it, in a group and from one group to the next. */
struct open_store {
	int		 root;
	char		*path;
	uint64_t	 hash;		/* of path */
	uint64_t	 quota;
	struct store	*store;
	uint64_t	 group;		/* the last that used it */
	uint64_t	 used_usec;
};

struct batch_item {
	struct rcpt		*rcpt;
	struct store_item	*item;
	uint64_t		 quota;
	struct addr		 to;
};

struct batch {
	const char		*hostname, *relay;
	struct store_group	*group;		/* NULL: begun with the next item */
	uint64_t		 number;	/* of the group, from 1 */
	struct batch_item	 item[BATCH_ITEMS];
	size_t			 n, items_max;
	struct open_store	 open[BATCH_STORES + BATCH_ITEMS];
	size_t			 open_n, open_max;
	size_t			 in_group;	/* of the open ones */
};

struct batch *
batch_new(const char *hostname, const char *relay, size_t files)
{
	struct batch *b = calloc(1, sizeof(*b));
	size_t spare = files > FILES_OTHER ? files - FILES_OTHER : 0;

	if (b == NULL)
		return NULL;
	b->hostname = hostname;
	b->relay = relay;
	b->number = 1;
	b->items_max = spare / FILES_AN_ITEM;
	if (b->items_max > BATCH_ITEMS)
		b->items_max = BATCH_ITEMS;
	if (b->items_max < ITEMS_MIN)
		b->items_max = ITEMS_MIN;
	spare = spare > b->items_max * FILES_AN_ITEM ? spare - b->items_max * FILES_AN_ITEM : 0;
	b->open_max = b->items_max + (spare / FILES_A_STORE < BATCH_STORES ? spare / FILES_A_STORE : BATCH_STORES);
	return b;
}

static void
close_store(struct batch *b, size_t at)
{
	store_close(b->open[at].store);
	free(b->open[at].path);
	b->open[at] = b->open[--b->open_n];
}

/* End the group: what was committed stays, of the rest nothing. */
static void
end_group(struct batch *b)
{
	store_group_free(b->group);
	b->group = NULL;
	b->number++;
	b->n = b->in_group = 0;
}

bool
batch_rest(struct batch *b)
{
	uint64_t now = now_mono_usec();

	for (size_t i = b->open_n; i-- > 0; )
		if (b->open[i].group != b->number && now - b->open[i].used_usec > KEEP_USEC)
			close_store(b, i);
	return b->open_n > 0;
}

void
batch_free(struct batch *b)
{
	if (b == NULL)
		return;
	end_group(b);
	while (b->open_n > 0)
		close_store(b, b->open_n - 1);
	free(b);
}

/* ---- results ---- */

struct failure {
	enum store_error	 error;
	const char		*dsn, *text;
};

/* All of them are deferred: mail is never lost.  RFC 3463. */
static const struct failure failures[] = {
	{ STORE_OVERQUOTA,	"4.2.2", "mailbox is full" },
	{ STORE_NOSPACE,	"4.3.1", "the disk is full" },
	{ STORE_BUSY,		"4.2.0", "the mailbox is in use by somebody who does not let go" },
	{ STORE_MEMORY,		"4.3.0", "not enough memory or file descriptors" },
	{ STORE_NOPERM,		"4.2.0", "the mailbox may not be opened" },
	{ STORE_NONEXISTENT,	"4.2.0", "the mailbox has no inbox" },
};

static void
give_failure(struct rcpt *r, const char *relay, const char *home, uint64_t quota, enum store_error error, int number)
{
	const char *dsn = "4.3.0", *text = "the mailbox cannot be written";

	for (size_t i = 0; i < LEN(failures); i++) {
		if (failures[i].error == error) {
			dsn = failures[i].dsn;
			text = failures[i].text;
		}
	}
	if (error == STORE_OVERQUOTA)
		rcpt_result(r, OUTCOME_DEFERRED, dsn, relay, "%s (limit %llu octets)", text, (unsigned long long)quota);
	else
		rcpt_result(r, OUTCOME_DEFERRED, dsn, relay, "%s: %s", text, store_error_text(error));
	if (error == STORE_IO || error == STORE_NOPERM || error == STORE_MEMORY)
		log_say(LOG_LEVEL_ERROR, "mailbox %s: %s: %s", home, store_error_text(error), strerror(number));
}

/* ---- adding ---- */

static void
say(void *ctx, const char *text)
{
	log_say(LOG_LEVEL_WARNING, "mailbox %s: %s", (const char *)ctx, text);
}

/* errno of store_dir() as one of the store's errors. */
static enum store_error
error_of(int number)
{
	switch (number) {
	case ENOSPC:
	case EDQUOT:
		return STORE_NOSPACE;
	case EACCES:
	case EPERM:
	case ELOOP:
	case ENOTDIR:
		return STORE_NOPERM;
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return STORE_MEMORY;
	default:
		return STORE_IO;
	}
}

static uint64_t
hash_of(const char *path)
{
	uint64_t hash = 14695981039346656037u;	/* FNV-1a */

	for (; *path != '\0'; path++)
		hash = (hash ^ (unsigned char)*path) * 1099511628211u;
	return hash;
}

/* The place of the Maildir among the open ones, open_n if it is not there.  One that is elsewhere now is closed. */
static size_t
find_open(struct batch *b, int root, const char *path, uint64_t quota)
{
	uint64_t hash = hash_of(path);

	for (size_t i = 0; i < b->open_n; i++) {
		const struct open_store *o = &b->open[i];

		if (o->hash != hash || o->root != root || strcmp(o->path, path) != 0)
			continue;
		if (o->group == b->number || (o->quota == quota && store_still_at(o->store, root, path)))
			return i;
		close_store(b, i);
		break;
	}
	return b->open_n;
}

/* Close the one that was not needed for the longest time. */
static void
make_room(struct batch *b)
{
	size_t oldest = 0;

	for (size_t i = 1; i < b->open_n; i++)
		if (b->open[i].group < b->open[oldest].group)
			oldest = i;
	close_store(b, oldest);
}

static struct store *
open_new(struct batch *b, int root, const char *path, uint64_t quota, enum store_error *error)
{
	struct open_store o = { .root = root, .path = strdup(path), .hash = hash_of(path), .quota = quota };
	struct store_options options = {
		.hostname = b->hostname, .quota = quota, .create = true, .keep = true, .say = say, .say_ctx = o.path,
	};
	int fd;

	*error = STORE_MEMORY;
	if (o.path == NULL)
		return NULL;
	fd = path[0] == '\0' ? root : store_dir(root, path, true);
	if (fd == -1)
		*error = error_of(errno);
	else
		o.store = store_open(fd, &options, error);
	if (fd != -1 && fd != root) {
		int number = errno;

		(void)close(fd);
		errno = number;
	}
	if (o.store == NULL) {
		int number = errno;

		free(o.path);
		errno = number;
		return NULL;
	}
	b->open[b->open_n++] = o;
	return o.store;
}

static struct store *
open_store(struct batch *b, int root, const char *path, uint64_t quota, enum store_error *error)
{
	size_t at = find_open(b, root, path, quota);

	if (at == b->open_n) {
		if (b->open_n == b->open_max)
			make_room(b);
		at = b->open_n;
		if (open_new(b, root, path, quota, error) == NULL)
			return NULL;
	}
	if (b->open[at].group != b->number)
		b->in_group++;
	b->open[at].group = b->number;
	b->open[at].used_usec = now_mono_usec();
	return b->open[at].store;
}

static bool
write_item(struct batch *b, struct rcpt *r, struct store_item *item, const struct addr *to)
{
	const struct job *job = r->job;
	struct buf head;
	bool ok;

	buf_init(&head, 4096);
	ok = header_put_trace(&head, job->m.sender, r->m.orig_to, addr_text(to));
	if (ok) {
		store_group_write(b->group, item, buf_slice_of(&head));
		if (job->m.in_file)
			store_group_write_fd(b->group, item, job->fd, 0, job->m.size);
		else
			store_group_write(b->group, item, job->m.content);
	}
	buf_clear(&head);
	return ok;
}

void
batch_add(struct batch *b, struct rcpt *r, int root, const char *maildir, uint64_t quota, const struct addr *to)
{
	const struct job *job = r->job;
	const struct store_new what = {
		.folder = SLICE("INBOX"), .qid = { job->m.qid }, .rcpt = r->m.index, .repeat = job->m.repeat != 0,
		.size = job_size(job),
	};
	struct store_item *item = NULL;
	struct store *store;
	enum store_error error;

	if (b->group == NULL)
		b->group = store_group_new(STORE_EACH);
	errno = 0;
	store = open_store(b, root, maildir, quota, &error);
	if (store == NULL) {
		give_failure(r, b->relay, maildir, quota, error, errno);
		return;
	}
	if (b->group != NULL)
		item = store_group_add(b->group, store, &what);
	if (item == NULL) {
		give_failure(r, b->relay, maildir, quota, STORE_MEMORY, ENOMEM);
		return;
	}
	if (!write_item(b, r, item, to)) {
		store_group_cancel(b->group, item);
		give_failure(r, b->relay, maildir, quota, STORE_MEMORY, ENOMEM);
		return;
	}
	b->item[b->n++] = (struct batch_item){ .rcpt = r, .item = item, .quota = quota, .to = *to };
	if (b->n == b->items_max || b->in_group == b->items_max)
		batch_commit(b);
}

void
batch_commit(struct batch *b)
{
	if (b->n == 0) {
		end_group(b);
		return;
	}
	(void)store_group_commit(b->group);
	for (size_t i = 0; i < b->n; i++) {
		const struct batch_item *bi = &b->item[i];

		if (bi->item->error != STORE_OK)
			give_failure(bi->rcpt, b->relay, bi->to.text, bi->quota, bi->item->error, errno);
		else
			rcpt_result(bi->rcpt, OUTCOME_DONE, "2.0.0", b->relay, bi->item->repeated ?
			    "delivered to maildir (it was there already)" : "delivered to maildir");
	}
	end_group(b);
}

/* ---- loops ---- */

bool
deliver_hop_check(struct rcpt *r, unsigned hops)
{
	if (job_header(r->job) != OK) {
		rcpt_result(r, OUTCOME_DEFERRED, "4.3.0", "none", "the message cannot be read from the spool");
		return false;
	}
	if (r->job->header.received > hops) {
		rcpt_result(r, OUTCOME_FAILED, "5.4.6", "none", "too many hops: %u Received: lines, the limit is %u",
		    r->job->header.received, hops);
		return false;
	}
	return true;
}

bool
deliver_loop_check(struct rcpt *r, const struct addr *to, unsigned hops, const char *relay)
{
	if (!deliver_hop_check(r, hops))
		return false;
	if (header_was_delivered_to(&r->job->header, to)) {
		rcpt_result(r, OUTCOME_FAILED, "5.4.6", relay, "mail forwarding loop for %s: it was delivered there before",
		    to->text);
		return false;
	}
	return true;
}
