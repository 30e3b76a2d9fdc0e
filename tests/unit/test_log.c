/* log: the lines that fail2ban and pflogsumm read (CONVENTIONS.md, section 5). */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "log_events.h"

static int fds[2];

static void
open_log(bool json)
{
	assert_int_equal(pipe(fds), 0);
	log_setup(&(struct log_setup){ .tag = "pennypost", .program = "smtpd", .hostname = "mail.example.org",
	    .fd = fds[1], .json = json });
}

/* The line that was written, without its frame; one line and no more. */
static const char *
line(void)
{
	static char text[5000];
	ssize_t n = read(fds[0], text, sizeof(text) - 1);
	char *body;

	assert_true(n > 0);
	text[n] = '\0';
	assert_true(text[n - 1] == '\n' && strchr(text, '\n') == text + n - 1);
	text[n - 1] = '\0';
	body = strstr(text, "]: ");
	return body == NULL ? text : body + 3;
}

static const struct log_client client = { { NULL, 0 }, { "192.0.2.1", 9 } };

static void
lines_of_smtpd(void **unused)
{
	const struct qid q = { 12345 };

	(void)unused;
	open_log(false);
	log_connect(client);
	assert_string_equal(line(), "connect from unknown[192.0.2.1]");
	log_client_accepted(q, client, SLICE("PLAIN"), SLICE("u@example.org"));
	assert_string_equal(line(), "000000003D7: client=unknown[192.0.2.1], sasl_method=PLAIN, sasl_username=u@example.org");
	log_reject((struct qid){ 0 }, "RCPT", client, SLICE("554 5.7.1 <r@example.com>: Relay access denied"),
	    SLICE("s@example.net"), SLICE("r@example.com"), SLICE("ESMTP"), SLICE("mx.example.net"));
	assert_string_equal(line(), "NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 554 5.7.1 <r@example.com>: "
	    "Relay access denied; from=<s@example.net> to=<r@example.com> proto=ESMTP helo=<mx.example.net>");
	log_sasl_failed(client, SLICE("PLAIN"), "bad password", SLICE("u@example.org"));
	assert_string_equal(line(), "warning: unknown[192.0.2.1]: SASL PLAIN authentication failed: bad password, sasl_username=u@example.org");
	log_lost_connection("AUTH", client);
	assert_string_equal(line(), "lost connection after AUTH from unknown[192.0.2.1]");
	log_too_many_errors("AUTH", client);
	assert_string_equal(line(), "too many errors after AUTH from unknown[192.0.2.1]");
	log_disconnect(client, SLICE("ehlo=1 quit=1 commands=2"));
	assert_string_equal(line(), "disconnect from unknown[192.0.2.1] ehlo=1 quit=1 commands=2");
}

static void
lines_of_queue(void **unused)
{
	const struct log_delivery d = { .program = "smtp", .qid = { 12345 }, .to = SLICE("r@example.com"),
	    .orig_to = SLICE("alias@example.com"), .relay = SLICE("mx.example.com[192.0.2.2]:25"), .conn_use = 2,
	    .delay = 1.2, .delays = { 0.1, 0.01, 0.5, 0.6 }, .dsn = SLICE("2.0.0"), .status = "sent",
	    .text = SLICE("250 2.0.0 Ok: queued as ABC") };

	(void)unused;
	open_log(false);
	log_delivered(&d);
	assert_string_equal(line(), "000000003D7: to=<r@example.com>, orig_to=<alias@example.com>, "
	    "relay=mx.example.com[192.0.2.2]:25, conn_use=2, delay=1.2, delays=0.1/0.01/0.5/0.6, dsn=2.0.0, "
	    "status=sent (250 2.0.0 Ok: queued as ABC)");
	log_message_id(d.qid, SLICE("<x@example.net>"));
	assert_string_equal(line(), "000000003D7: message-id=<x@example.net>");
	log_queue_active(d.qid, SLICE("s@example.net"), 812, 1);
	assert_string_equal(line(), "000000003D7: from=<s@example.net>, size=812, nrcpt=1 (queue active)");
	log_removed(d.qid);
	assert_string_equal(line(), "000000003D7: removed");
}

static void
lines_of_login(void **unused)
{
	struct log_login l = { .program = "imap-login", .user = SLICE("u"), .method = SLICE("PLAIN"),
	    .rip = SLICE("192.0.2.9"), .lip = SLICE("192.0.2.1"), .mpid = 1, .tls = true, .session = SLICE("abc") };

	(void)unused;
	open_log(false);
	log_login(&l);
	assert_string_equal(line(), "Login: user=<u>, method=PLAIN, rip=192.0.2.9, lip=192.0.2.1, mpid=1, TLS, session=<abc>");
	l.mpid = 0;
	log_login_disconnected(&l, "Connection closed (auth failed, 1 attempts in 2 secs)");
	assert_string_equal(line(), "Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<u>, "
	    "method=PLAIN, rip=192.0.2.9, lip=192.0.2.1, TLS, session=<abc>");
}

/* Whatever a peer says: one line, printable (V20). */
static void
hostile_text(void **unused)
{
	static char huge[20000];

	(void)unused;
	memset(huge, 'x', sizeof(huge));
	open_log(false);
	log_reject((struct qid){ 0 }, "RCPT", client, SLICE("550 x"), slice_make("a\r\nb\x1b[2J\0\xff", 9),
	    slice_make(huge, sizeof(huge)), SLICE("SMTP"), SLICE("h"));
	assert_non_null(strstr(line(), "from=<a??b?[2J?"));
	open_log(true);
	log_reject((struct qid){ 0 }, "RCPT", client, SLICE("550 \"x\"\\"), slice_make("a\nb", 3), SLICE("t"), SLICE("SMTP"), SLICE("h"));
	assert_non_null(strstr(line(), "\"reply\":\"550 \\\"x\\\"\\\\\",\"from\":\"a?b\""));
}

/* A log that takes nothing costs lines, never time; the loss is said. */
static void
full_pipe(void **unused)
{
	char text[65536];

	(void)unused;
	open_log(false);
	assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	for (int i = 0; i < 5000; i++)
		log_say(LOG_LEVEL_INFO, "%d", i);
	while (read(fds[0], text, sizeof(text)) > 0)
		;
	log_say(LOG_LEVEL_INFO, "there is room again");
	assert_true(read(fds[0], text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "log lines were dropped"));
}

/* Without a logger: a datagram each, framed as syslogd and the journal want it; a full socket is not waited for. */
static void
datagrams(void **unused)
{
	struct log_setup setup = { .tag = "pennypost", .program = "smtpd", .hostname = "mail.example.org", .sink = LOG_SINK_SYSLOG };
	char text[5000], *pid;
	ssize_t n;

	(void)unused;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds), 0);
	setup.fd = fds[1];
	log_setup(&setup);
	log_say(LOG_LEVEL_WARNING, "one\ntwo");
	n = read(fds[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	assert_memory_equal(text, "<20>", 4);
	pid = strstr(text, " pennypost/smtpd[");
	assert_true(pid == text + 4 + 15);
	assert_string_equal(strchr(pid, ']'), "]: warning: one?two");
	for (int i = 0; i < 20000; i++)
		log_connect(client);
	while (read(fds[0], text, sizeof(text)) > 0)
		;
	log_connect(client);
	n = read(fds[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "log lines were dropped"));
	while (read(fds[0], text, sizeof(text)) > 0)
		;
	setup.sink = LOG_SINK_JOURNAL;
	log_setup(&setup);
	log_connect(client);
	n = read(fds[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	assert_memory_equal(text, "MESSAGE=connect from unknown[192.0.2.1]\nPRIORITY=6\n", 50);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

/* What log-to may name for such a process: a file, never through a link; else syslog. */
static void
opened(void **unused)
{
	char dir[] = "/tmp/pp-log-XXXXXX", file[100], link[100];
	enum log_sink sink = LOG_SINK_JOURNAL;
	int fd;

	(void)unused;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(file, sizeof(file), "%s/log", dir);
	(void)snprintf(link, sizeof(link), "%s/link", dir);
	fd = log_open(file, &sink);
	assert_true(fd >= 0 && sink == LOG_SINK_LINES);
	assert_int_equal(fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK), O_APPEND | O_NONBLOCK);
	(void)close(fd);
	assert_int_equal(symlink(file, link), 0);
	fd = log_open(link, &sink);
	assert_true(sink == LOG_SINK_SYSLOG);
	if (fd >= 0)
		(void)close(fd);
	fd = log_open("stderr", &sink);
	assert_true(sink == LOG_SINK_SYSLOG);
	if (fd >= 0)
		(void)close(fd);
	assert_int_equal(unlink(link) + unlink(file) + rmdir(dir), 0);
}

static int soon_n;

static void
on_soon(void *ctx)
{
	assert_ptr_equal(ctx, fds);
	soon_n++;
}

/* What is in the pipe; lines are counted. */
static size_t
read_all(char *text, size_t size, size_t *lines)
{
	size_t len = 0;
	ssize_t n;

	while (len < size && (n = read(fds[0], text + len, size - len)) > 0)
		len += (size_t)n;
	*lines = 0;
	for (size_t i = 0; i < len; i++)
		*lines += text[i] == '\n';
	return len;
}

static void
open_batch(void)
{
	open_log(false);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	soon_n = 0;
	log_batch(on_soon, fds);
}

static void
close_batch(void)
{
	log_batch(NULL, NULL);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

/* Many lines, one write; a warning takes them along; a child writes its own alone, at once. */
static void
lines_in_a_batch(void **unused)
{
	static char text[300000];
	size_t lines, len;
	int status;
	pid_t pid;

	(void)unused;
	open_batch();
	for (int i = 0; i < 5; i++)
		log_say(LOG_LEVEL_INFO, "line %d", i);
	assert_int_equal(soon_n, 1);
	assert_int_equal(read_all(text, sizeof(text), &lines), 0);
	pid = fork();
	if (pid == 0) {
		log_say(LOG_LEVEL_INFO, "of the child");
		exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	len = read_all(text, sizeof(text) - 1, &lines);
	text[len] = '\0';
	assert_true(lines == 1 && strstr(text, "]: of the child\n") != NULL);
	assert_true(atoi(strchr(text, '[') + 1) == (int)pid);
	assert_true(log_flush());
	len = read_all(text, sizeof(text) - 1, &lines);
	text[len] = '\0';
	assert_int_equal(lines, 5);
	assert_true(strstr(text, "line 0\n") < strstr(text, "line 4\n") && atoi(strchr(text, '[') + 1) == (int)getpid());
	log_say(LOG_LEVEL_INFO, "before");
	assert_int_equal(soon_n, 2);
	log_say(LOG_LEVEL_WARNING, "now");
	(void)read_all(text, sizeof(text), &lines);
	assert_int_equal(lines, 2);
	log_say(LOG_LEVEL_INFO, "the last");
	close_batch();
}

/* A reader that is slow: lines wait, whole and in order, as far as there is room; the rest is counted. */
static void
batch_without_room(void **unused)
{
	static char text[2 * LOG_KEPT], all[2 * LOG_KEPT];
	size_t lines, len = 0;
	const char *at;

	(void)unused;
	open_batch();
	assert_true(fcntl(fds[1], F_SETPIPE_SZ, 4096) >= 4096);
	for (int i = 0; i < 5000; i++)
		log_say(LOG_LEVEL_INFO, "number %d of many, and some words to fill the line", i);
	assert_false(log_flush());
	for (int turn = 0; turn < 1000 && len < sizeof(all) - 1; turn++) {
		size_t n = read_all(text, sizeof(text), &lines);

		assert_true(n == 0 || text[n - 1] == '\n');		/* never a part of a line */
		if (len + n < sizeof(all))
			memcpy(all + len, text, n);
		len += n;
		if (log_flush() && n == 0)
			break;
	}
	all[len] = '\0';
	assert_true(len > LOG_KEPT - 200 && len <= LOG_KEPT);
	at = all;
	for (int i = 0; (at = strstr(at, "]: number ")) != NULL; i++, at++)
		assert_int_equal(atoi(at + 10), i);
	log_say(LOG_LEVEL_INFO, "again");
	assert_true(log_flush());
	len = read_all(text, sizeof(text) - 1, &lines);
	text[len] = '\0';
	assert_true(lines == 2 && strstr(text, "log lines were dropped") != NULL && strstr(text, "]: again\n") != NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)close(fds[0]);		/* nobody reads any more: they are dropped, not kept for ever */
	log_say(LOG_LEVEL_INFO, "to nobody");
	assert_true(log_flush());
	log_batch(NULL, NULL);
	(void)close(fds[1]);
	open_log(false);
	log_say(LOG_LEVEL_INFO, "told");
	assert_true(read(fds[0], text, sizeof(text)) > 0 && strstr(text, "1 log lines were dropped") != NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_smtpd), cmocka_unit_test(lines_of_queue), cmocka_unit_test(lines_of_login),
		cmocka_unit_test(hostile_text), cmocka_unit_test(full_pipe),
		cmocka_unit_test(lines_in_a_batch), cmocka_unit_test(batch_without_room),
		cmocka_unit_test(datagrams), cmocka_unit_test(opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
