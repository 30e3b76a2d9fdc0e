/*
 * queue_load: speaks to queue's sockets as fast as it can, and counts.
 *
 *	queue_load submit RUN_DIR CONNECTIONS IN_FLIGHT MESSAGES OCTETS [DOMAINS]
 *		messages with one recipient each, IN_FLIGHT under way on every
 *		connection (as smtpd's workers do); prints messages a second
 *	queue_load serve RUN_DIR relay|deliver done|defer MESSAGES
 *		takes jobs and answers them until so many recipients are served
 *	queue_load wait RUN_DIR SECONDS
 *		one small message after the other; prints how many, and the median
 *		and longest time to the answer, in ms
 *	queue_load list RUN_DIR
 *		the whole queue; prints when the first and the last item came
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "ipc.h"

#define LEASE 1000

static double
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static _Noreturn void
die(const char *what)
{
	(void)fprintf(stderr, "queue_load: %s\n", what);
	exit(1);
}

static int
connect_to(const char *run_dir, const char *name, const char *me)
{
	const struct ipc_hello hello = { .version = IPC_VERSION, .program = slice_of(me) };
	int dirfd = open(run_dir, O_PATH | O_DIRECTORY), fd = ipc_connect(dirfd, name);
	struct buf b;

	if (fd == -1)
		die("cannot connect");
	(void)close(dirfd);
	buf_init(&b, 100);
	if (!ipc_put_hello(&b, &hello) || ipc_send(fd, buf_slice_of(&b), -1) != IPC_IO_OK)
		die("hello failed");
	buf_clear(&b);
	return fd;
}

static void
send_frame(int fd, struct buf *frame, bool good)
{
	enum ipc_io io;

	if (!good)
		die("frame too large");
	while ((io = ipc_send(fd, buf_slice_of(frame), -1)) == IPC_IO_AGAIN)
		(void)ipc_wait(fd, true, 1000);
	if (io != IPC_IO_OK)
		die("connection lost");
	buf_reset(frame);
}

/* ---- submit ---- */

struct submitter {
	int		 fd;
	unsigned	 in_flight;
	uint64_t	 next, left;
};

static struct buf out, in;
static char content[IPC_INLINE_MAX];

static void
lease(struct submitter *s)
{
	const struct ipc_submit_lease m = { .count = LEASE };

	send_frame(s->fd, &out, ipc_put_submit_lease(&out, &m));
}

static void
submit_one(struct submitter *s, unsigned long n, size_t octets, unsigned domains)
{
	static struct buf rcpts;
	char to[64];
	struct ipc_rcpt rcpt = { .addr = { to, 0 }, .hint = HINT_REMOTE };
	struct ipc_submit m = { .qid = s->next, .origin = ORIGIN_SMTP, .received_usec = (uint64_t)(now() * 1e6),
	    .sender = SLICE("sender@client.example"), .client_name = SLICE("client.example"),
	    .client_address = SLICE("192.0.2.1"), .helo = SLICE("client.example"), .protocol = SLICE("ESMTP"),
	    .message_id = SLICE("<20261123.4711@client.example>"), .content = { content, octets } };

	if (rcpts.cap == 0)
		buf_init(&rcpts, 1000);
	buf_reset(&rcpts);
	rcpt.addr.len = (size_t)snprintf(to, sizeof(to), "user%lu@destination%lu.example", n, n % domains);
	(void)ipc_add_rcpt(&rcpts, &rcpt);
	m.rcpts = buf_slice_of(&rcpts);
	send_frame(s->fd, &out, ipc_put_submit(&out, &m));
	s->next++;
	s->left--;
	s->in_flight++;
}

/* Take all that is there; returns messages answered. */
static unsigned long
take_answers(struct submitter *s)
{
	struct ipc_submit_result r;
	struct ipc_submit_ids ids;
	unsigned long n = 0;
	int passed;

	while (ipc_recv(s->fd, &in, &passed) == IPC_IO_OK) {
		if (ipc_get_submit_ids(buf_slice_of(&in), &ids)) {
			s->next = ids.first;
			s->left = ids.count;
		} else if (ipc_get_submit_result(buf_slice_of(&in), &r)) {
			if (r.verdict != 0)
				die("a message was refused");
			s->in_flight--;
			n++;
		}
	}
	return n;
}

static void
submit(const char *run_dir, unsigned conns, unsigned in_flight, unsigned long messages, size_t octets, unsigned domains)
{
	struct submitter *s = calloc(conns, sizeof(*s));
	struct pollfd *p = calloc(conns, sizeof(*p));
	unsigned long sent = 0, done = 0;
	double began;

	if (s == NULL || p == NULL || octets > sizeof(content))
		die("bad arguments");
	memset(content, 'x', sizeof(content));
	memcpy(content, "Subject: x\r\n\r\n", 14);
	for (unsigned i = 0; i < conns; i++) {
		s[i].fd = connect_to(run_dir, "queue-submit", "smtpd");
		p[i] = (struct pollfd){ .fd = s[i].fd, .events = POLLIN };
		lease(&s[i]);
	}
	began = now();
	while (done < messages) {
		for (unsigned i = 0; i < conns; i++) {
			unsigned before = (unsigned)s[i].left;

			while (sent < messages && s[i].in_flight < in_flight && s[i].left > 0)
				submit_one(&s[i], sent++, octets, domains);
			if (before > 0 && s[i].left == 0)
				lease(&s[i]);
		}
		if (poll(p, conns, 10000) <= 0)
			die("no answer");
		for (unsigned i = 0; i < conns; i++)
			if (p[i].revents != 0)
				done += take_answers(&s[i]);
	}
	(void)printf("%.0f\n", (double)messages / (now() - began));
	free(s);
	free(p);
}

/* ---- wait ---- */

static int
compare_double(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void
wait_times(const char *run_dir, double seconds)
{
	struct submitter s = { .fd = connect_to(run_dir, "queue-submit", "smtpd") };
	size_t n = 0, size = (size_t)(seconds * 100000);
	double *took = calloc(size, sizeof(*took)), end = now() + seconds;

	if (took == NULL)
		die("no memory");
	memset(content, 'x', sizeof(content));
	lease(&s);
	while (now() < end && n < size) {
		double began = now();

		if (s.left == 0)
			lease(&s);
		while (s.left == 0 && ipc_wait(s.fd, false, 10000))
			(void)take_answers(&s);
		submit_one(&s, n, 1000, 100);
		while (s.in_flight > 0 && ipc_wait(s.fd, false, 60000))
			(void)take_answers(&s);
		took[n++] = (now() - began) * 1e3;
	}
	qsort(took, n, sizeof(*took), compare_double);
	(void)printf("%zu %.2f %.1f\n", n, took[n / 2], took[n - 1]);
	free(took);
}

/* ---- serve ---- */

static unsigned long
answer_job(int fd, const struct ipc_job *job, bool defer)
{
	struct ipc_job_results m = { .job = job->job, .qid = job->qid };
	struct slice list = job->rcpts;
	struct ipc_job_rcpt one;
	struct buf results;
	bool bad = false;
	unsigned long n = 0;

	buf_init(&results, IPC_FRAME_MAX);
	while (ipc_next_job_rcpt(&list, &one, &bad)) {
		const struct ipc_job_result r = { .index = one.index, .outcome = defer ? OUTCOME_DEFERRED : OUTCOME_DONE,
		    .dsn = defer ? SLICE("4.2.0") : SLICE("2.0.0"), .relay = SLICE("mx.destination.example[192.0.2.2]:25"),
		    .text = defer ? SLICE("host mx.destination.example[192.0.2.2] said: 450 4.2.0 try again later") : SLICE("250 2.0.0 Ok") };

		(void)ipc_add_job_result(&results, &r);
		n++;
	}
	m.results = buf_slice_of(&results);
	send_frame(fd, &out, ipc_put_job_results(&out, &m));
	buf_clear(&results);
	return n;
}

static void
serve(const char *run_dir, const char *channel, bool defer, unsigned long recipients)
{
	struct ipc_job_ready ready = { .slots = 256 };
	struct ipc_job job;
	char name[40];
	unsigned long done = 0;
	int fd, passed;

	(void)snprintf(name, sizeof(name), "queue-%s", channel);
	fd = connect_to(run_dir, name, channel);
	send_frame(fd, &out, ipc_put_job_ready(&out, &ready));
	while (done < recipients) {
		if (!ipc_wait(fd, false, 120000))
			die("no jobs");
		ready.slots = 0;
		while (ipc_recv(fd, &in, &passed) == IPC_IO_OK) {
			if (!ipc_get_job(buf_slice_of(&in), &job))
				continue;
			done += answer_job(fd, &job, defer);
			if (passed != -1)
				(void)close(passed);
			ready.slots++;
		}
		if (ready.slots > 0)
			send_frame(fd, &out, ipc_put_job_ready(&out, &ready));
	}
	(void)usleep(200000);
}

/* ---- list ---- */

static void
list(const char *run_dir)
{
	const struct ipc_queue_list m = { 0 };
	struct ipc_queue_items items;
	struct ipc_queue_item item;
	struct ipc_queue_end end;
	double began = now(), first = 0;
	unsigned long n = 0;
	int fd = connect_to(run_dir, "queue-control", "pennypost"), passed;

	send_frame(fd, &out, ipc_put_queue_list(&out, &m));
	for (;;) {
		if (!ipc_wait(fd, false, 10000))
			die("no answer");
		while (ipc_recv(fd, &in, &passed) == IPC_IO_OK) {
			bool bad = false;

			if (ipc_get_queue_items(buf_slice_of(&in), &items)) {
				if (n == 0)
					first = now() - began;
				while (ipc_next_queue_item(&items.items, &item, &bad))
					n++;
			} else if (ipc_get_queue_end(buf_slice_of(&in), &end)) {
				(void)printf("%lu items, first after %.3f s, all after %.3f s\n", n, first, now() - began);
				return;
			}
		}
	}
}

int
main(int argc, char **argv)
{
	buf_init(&out, IPC_FRAME_MAX);
	buf_init(&in, IPC_FRAME_MAX);
	if (argc >= 7 && strcmp(argv[1], "submit") == 0)
		submit(argv[2], (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]), strtoul(argv[5], NULL, 10),
		    strtoul(argv[6], NULL, 10), argc > 7 ? (unsigned)atoi(argv[7]) : 100);
	else if (argc == 6 && strcmp(argv[1], "serve") == 0)
		serve(argv[2], argv[3], strcmp(argv[4], "defer") == 0, strtoul(argv[5], NULL, 10));
	else if (argc == 4 && strcmp(argv[1], "wait") == 0)
		wait_times(argv[2], atof(argv[3]));
	else if (argc == 3 && strcmp(argv[1], "list") == 0)
		list(argv[2]);
	else
		die("see the comment at the head of queue_load.c");
	return 0;
}
