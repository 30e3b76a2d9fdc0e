/* queue: list, show, hold, release, retry, delete, export. */
#include "queue_cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "qid.h"
#include "queue_list.h"
#include "verdict.h"

#define USAGE "pennypost queue list [ID] [--from ADDRESS] [--to ADDRESS]\n" \
	"       pennypost queue show ID\n" \
	"       pennypost queue hold|release|delete ID ... | --all | [--from ADDRESS] [--to ADDRESS]\n" \
	"       pennypost queue retry [ID ...] [--from ADDRESS] [--to ADDRESS]\n" \
	"       pennypost queue export ID | --dir DIR [ID ...]"

static bool
parse_id(const struct cli *c, const char *text, uint64_t *out)
{
	struct qid q;

	if (!qid_parse(slice_of(text), &q)) {
		cli_say(c, "'%s' is no queue id", text);
		return false;
	}
	*out = q.n;
	return true;
}

/* The answer queue_end. */
static int
end_code(const struct cli *c, struct slice frame, uint16_t code, uint64_t *count)
{
	struct ipc_queue_end end;

	if (code != IPC_queue_end || !ipc_get_queue_end(frame, &end)) {
		cli_say(c, "queue gave an answer that makes no sense");
		return EX_PROTOCOL;
	}
	if (count != NULL)
		*count = end.count;
	if (end.verdict == OK)
		return EX_OK;
	cli_say(c, "%.*s", (int)end.text.len, end.text.ptr);
	/* PERM is both: no such message, or not for this caller. */
	if (end.verdict == TEMP)
		return EX_TEMPFAIL;
	return end.text.len > 0 && memmem(end.text.ptr, end.text.len, "root", 4) != NULL ? EX_NOPERM : EX_NOINPUT;
}

int
queue_do(struct cli *c, const struct ipc_queue_do *request, uint64_t *count)
{
	struct client client;
	struct slice frame;
	struct buf out;
	uint16_t code;
	int rc;

	if (!queue_open(c, &client, &rc))
		return rc;
	buf_init(&out, IPC_FRAME_MAX);
	if (client_send(&client, &out, ipc_put_queue_do(&out, request), -1) &&
	    client_recv(&client, CLIENT_WAIT_MS, &frame, &code, NULL)) {
		rc = end_code(c, frame, code, count);
	} else {
		cli_errno(c, "queue does not answer");
		rc = EX_TEMPFAIL;
	}
	client_close(&client);
	return rc;
}

/* ---- list ---- */

static int
list(struct cli *c, int argc, char **argv)
{
	const char *from = NULL, *to = NULL;
	const struct cli_option options[] = { { "--from", &from, NULL }, { "--to", &to, NULL }, { NULL, NULL, NULL } };
	struct ipc_queue_list filter = { 0 };

	if (!cli_options(c, options, &argc, argv))
		return EX_USAGE;
	if (argc > 2)
		return cli_usage(c, USAGE);
	if (argc == 2 && !parse_id(c, argv[1], &filter.qid))
		return EX_USAGE;
	filter.sender = slice_of(from);
	filter.rcpt = slice_of(to);
	return queue_list(c, &filter, c->json);
}

/* ---- export, show ---- */

/* A descriptor with the message, or -1 with *rc. */
static int
fetch(struct cli *c, uint64_t qid, int *rc)
{
	const struct ipc_queue_export request = { .qid = qid };
	struct ipc_queue_content content;
	struct client client;
	struct slice frame;
	struct buf out;
	uint16_t code;
	int fd = -1;

	if (!queue_open(c, &client, rc))
		return -1;
	buf_init(&out, IPC_FRAME_MAX);
	if (!client_send(&client, &out, ipc_put_queue_export(&out, &request), -1) ||
	    !client_recv(&client, CLIENT_WAIT_MS, &frame, &code, &fd)) {
		cli_errno(c, "queue does not answer");
		*rc = EX_TEMPFAIL;
	} else if (code == IPC_queue_content && ipc_get_queue_content(frame, &content) && fd >= 0) {
		*rc = EX_OK;
	} else {
		*rc = end_code(c, frame, code, NULL);
		if (*rc == EX_OK)
			*rc = EX_PROTOCOL;
	}
	client_close(&client);
	if (*rc == EX_OK)
		return fd;
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

/* Content without the CRs of its line ends: as files are. */
static bool
copy_out(int fd, FILE *to)
{
	static char chunk[65536];
	off_t at = 0;
	ssize_t n;
	bool cr = false;

	while ((n = pread(fd, chunk, sizeof(chunk), at)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (cr && chunk[i] != '\n')
				(void)putc('\r', to);
			cr = chunk[i] == '\r';
			if (!cr)
				(void)putc(chunk[i], to);
		}
		at += n;
	}
	if (cr)
		(void)putc('\r', to);
	return n == 0 && fflush(to) == 0 && ferror(to) == 0;
}

static int
export_to_file(struct cli *c, int dirfd, const char *dir, uint64_t qid)
{
	char id[QID_TEXT], name[QID_TEXT + 8];
	int rc, in = fetch(c, qid, &rc), fd;
	FILE *to;

	if (in < 0)
		return rc;
	(void)snprintf(name, sizeof(name), "%s.eml", qid_print((struct qid){ qid }, id));
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	to = fd < 0 ? NULL : fdopen(fd, "w");
	rc = to != NULL && copy_out(in, to) && fsync(fd) == 0 ? EX_OK : EX_CANTCREAT;
	if (rc != EX_OK)
		cli_errno(c, "%s/%s", dir, name);
	else
		(void)printf("%s/%s\n", dir, name);
	if (to != NULL)
		(void)fclose(to);
	else if (fd >= 0)
		(void)close(fd);
	(void)close(in);
	return rc;
}

static bool
add_ids(struct slice items, uint64_t **ids, size_t *n)
{
	struct ipc_queue_item item;
	uint64_t *grown;
	bool bad = false;

	while (ipc_next_queue_item(&items, &item, &bad)) {
		if (*n > 0 && (*ids)[*n - 1] == item.qid)
			continue;
		grown = reallocarray(*ids, *n + 1, sizeof(**ids));
		if (grown == NULL)
			return false;
		*ids = grown;
		(*ids)[(*n)++] = item.qid;
	}
	return !bad;
}

/* Ids of all messages: from the list, which is asked for first. */
static int
all_ids(struct cli *c, uint64_t **ids, size_t *n)
{
	const struct ipc_queue_list filter = { 0 };
	struct ipc_queue_items items;
	struct client client;
	struct slice frame;
	struct buf out;
	uint16_t code = 0;
	int rc;

	if (!queue_open(c, &client, &rc))
		return rc;
	buf_init(&out, IPC_FRAME_MAX);
	rc = EX_TEMPFAIL;
	if (client_send(&client, &out, ipc_put_queue_list(&out, &filter), -1)) {
		while (client_recv(&client, CLIENT_WAIT_MS, &frame, &code, NULL) && code == IPC_queue_items &&
		    ipc_get_queue_items(frame, &items) && add_ids(items.items, ids, n))
			;
		rc = end_code(c, frame, code, NULL);
	}
	client_close(&client);
	return rc;
}

static int
export_dir(struct cli *c, const char *dir, int argc, char **argv)
{
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = EX_OK, one;
	uint64_t *ids = NULL;
	size_t n = 0;

	if (dirfd < 0) {
		cli_errno(c, "%s", dir);
		return EX_CANTCREAT;
	}
	if (argc == 1)
		rc = all_ids(c, &ids, &n);
	for (size_t i = 0; rc == EX_OK && i < n; i++) {
		one = export_to_file(c, dirfd, dir, ids[i]);
		if (one != EX_OK && one != EX_NOINPUT)	/* it may have been delivered meanwhile */
			rc = one;
	}
	for (int i = 1; rc == EX_OK && i < argc; i++) {
		uint64_t qid;

		rc = parse_id(c, argv[i], &qid) ? export_to_file(c, dirfd, dir, qid) : EX_USAGE;
	}
	free(ids);
	(void)close(dirfd);
	return rc;
}

static int
export(struct cli *c, int argc, char **argv)
{
	const char *dir = NULL;
	const struct cli_option options[] = { { "--dir", &dir, NULL }, { NULL, NULL, NULL } };
	uint64_t qid;
	int fd, rc;

	if (!cli_options(c, options, &argc, argv))
		return EX_USAGE;
	if (dir != NULL)
		return export_dir(c, dir, argc, argv);
	if (argc != 2)
		return cli_usage(c, USAGE);
	if (!parse_id(c, argv[1], &qid))
		return EX_USAGE;
	fd = fetch(c, qid, &rc);
	if (fd < 0)
		return rc;
	if (!copy_out(fd, stdout))
		rc = EX_IOERR;
	(void)close(fd);
	return rc;
}

static int
show(struct cli *c, int argc, char **argv)
{
	struct ipc_queue_list filter = { 0 };
	int fd, rc;

	if (argc != 2)
		return cli_usage(c, USAGE);
	if (!parse_id(c, argv[1], &filter.qid))
		return EX_USAGE;
	fd = fetch(c, filter.qid, &rc);
	if (fd < 0)
		return rc;
	rc = queue_list(c, &filter, c->json);
	if (rc == EX_OK && !c->json) {
		(void)putchar('\n');
		if (!copy_out(fd, stdout))
			rc = EX_IOERR;
	}
	(void)close(fd);
	return rc;
}

/* ---- hold, release, retry, delete ---- */

static int
act(struct cli *c, int argc, char **argv, enum ipc_action action, const char *done)
{
	const char *from = NULL, *to = NULL;
	bool all = false;
	const struct cli_option options[] = {
		{ "--from", &from, NULL }, { "--to", &to, NULL }, { "--all", NULL, &all }, { NULL, NULL, NULL },
	};
	struct ipc_queue_do request = { .action = (uint8_t)action };
	uint64_t count, sum = 0;
	int rc = EX_OK;

	if (!cli_options(c, options, &argc, argv))
		return EX_USAGE;
	request.sender = slice_of(from);
	request.rcpt = slice_of(to);
	all |= action == ACTION_RETRY;
	if (argc == 1 && !all && from == NULL && to == NULL)
		return cli_usage(c, USAGE);
	if (argc == 1) {
		rc = queue_do(c, &request, &sum);
	} else {
		for (int i = 1; rc == EX_OK && i < argc; i++) {
			rc = parse_id(c, argv[i], &request.qid) ? queue_do(c, &request, &count) : EX_USAGE;
			if (rc == EX_OK)
				sum += count;
		}
	}
	if (rc == EX_OK && c->json)
		cli_json(json_pack("{s:I}", "messages", (json_int_t)sum));
	else if (rc == EX_OK)
		(void)printf("%llu message%s %s\n", (unsigned long long)sum, sum == 1 ? "" : "s", done);
	return rc;
}

static int
hold(struct cli *c, int argc, char **argv)
{
	return act(c, argc, argv, ACTION_HOLD, "on hold");
}

static int
release(struct cli *c, int argc, char **argv)
{
	return act(c, argc, argv, ACTION_RELEASE, "released");
}

static int
retry(struct cli *c, int argc, char **argv)
{
	return act(c, argc, argv, ACTION_RETRY, "to be tried now");
}

static int
delete(struct cli *c, int argc, char **argv)
{
	return act(c, argc, argv, ACTION_DELETE, "deleted");
}

int
cmd_queue(struct cli *c, int argc, char **argv)
{
	static const struct cli_verb verbs[] = {
		{ "list", list }, { "show", show }, { "hold", hold }, { "release", release },
		{ "retry", retry }, { "delete", delete }, { "export", export }, { NULL, NULL },
	};

	return cli_verb(c, verbs, argc, argv, USAGE);
}
