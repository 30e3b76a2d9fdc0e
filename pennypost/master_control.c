/* master_control: pennypost-control, where the command `pennypost` asks and steers. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "master.h"

bool
control_open(struct master *m)
{
	m->control_fd = -1;
	for (size_t i = 0; i < MASTER_CLIENTS; i++)
		m->client[i].fd = -1;
	for (size_t i = 0; i < m->socket_n; i++)
		if (strcmp(m->socket[i].name, "pennypost-control") == 0)
			m->control_fd = m->socket[i].fd;
	return m->control_fd >= 0;
}

static void
drop(struct master_client *c)
{
	(void)close(c->fd);
	buf_clear(&c->frame);
	c->fd = -1;
	c->waits = false;
}

static bool
send_frame(struct master_client *c, struct buf *out, bool good)
{
	bool ok = good && ipc_send(c->fd, buf_slice_of(out), -1) == IPC_IO_OK;

	buf_clear(out);
	if (!ok)
		drop(c);
	return ok;
}

static bool
send_done(struct master_client *c, enum verdict verdict, const char *text)
{
	const struct ipc_master_done done = { .verdict = (uint8_t)verdict, .text = slice_of(text) };
	struct buf out;

	buf_init(&out, IPC_FRAME_MAX);
	return send_frame(c, &out, ipc_put_master_done(&out, &done));
}

void
control_accept(struct master *m)
{
	int fd = ipc_accept(m->control_fd);
	uid_t uid;

	if (fd < 0)
		return;
	for (size_t i = 0; i < MASTER_CLIENTS; i++) {
		struct master_client *c = &m->client[i];

		if (c->fd >= 0)
			continue;
		if (!ipc_peer_uid(fd, &uid) || (uid != 0 && uid != geteuid()))
			break;
		c->fd = fd;
		c->waits = false;
		buf_init(&c->frame, IPC_FRAME_MAX);
		return;
	}
	(void)close(fd);
}

static const char *
daemon_text(const struct master *m, const struct master_daemon *d, char *out, size_t size)
{
	uint64_t now = master_msec();

	if (!d->wanted)
		return d->kind->optional ? "not installed" : "nothing to listen to";
	if (d->state == DAEMON_BACKOFF && d->due_msec > now)
		(void)snprintf(out, size, "%s; next start in %llu s", d->text,
		    (unsigned long long)(d->due_msec - now + 999) / 1000);
	else
		(void)snprintf(out, size, "%s", d->text);
	for (size_t i = 0; i < m->old_n; i++) {
		size_t len = strlen(out);

		if (strcmp(m->old[i].name, d->kind->name) == 0)
			(void)snprintf(out + len, size - len, "%sold process %ld ends", len > 0 ? "; " : "",
			    (long)m->old[i].process.pid);
	}
	return out;
}

static void
send_status(struct master *m, struct master_client *c)
{
	for (size_t i = 0; i < m->daemon_n; i++) {
		const struct master_daemon *d = &m->daemon[i];
		char text[300];
		const struct ipc_master_daemon frame = {
			.name = slice_of(d->kind->name), .pid = (uint32_t)d->now.pid, .state = (uint8_t)d->state,
			.since_usec = d->now.pid != 0 ? d->since_usec : 0, .restarts = d->restarts,
			.text = slice_of(daemon_text(m, d, text, sizeof(text))),
		};
		struct buf out;

		buf_init(&out, IPC_FRAME_MAX);
		if (!send_frame(c, &out, ipc_put_master_daemon(&out, &frame)))
			return;
	}
	(void)send_done(c, OK, "");
}

static void
do_action(struct master *m, struct master_client *c, uint8_t action)
{
	const char *why = "";
	char text[300];

	switch (action) {
	case MASTER_STATUS:
		send_status(m, c);
		break;
	case MASTER_STOP:
		if (send_done(c, OK, ""))
			log_say(LOG_LEVEL_INFO, "stop: asked for by pennypost stop");
		master_begin_stop(m, 0);
		break;
	case MASTER_RELOAD:
		if (master_begin_reload(m, &why))
			c->waits = true;
		else
			(void)send_done(c, TEMP, why);
		break;
	case MASTER_REOPEN_LOGS:
		(void)send_done(c, logger_start(m, text, sizeof(text)) ? OK : TEMP, text);
		break;
	default:
		(void)send_done(c, PERM, "unknown request");
	}
}

/* One frame: hello is answered with ours, master_do is done; anything else ends the conversation. */
void
control_read(struct master *m, struct master_client *c)
{
	struct ipc_master_do request;
	struct ipc_hello hello;
	struct slice frame;
	uint16_t code;
	enum ipc_io io;
	struct buf out;
	int passed;

	io = ipc_recv(c->fd, &c->frame, &passed);
	if (passed >= 0)
		(void)close(passed);
	if (io == IPC_IO_AGAIN)
		return;
	frame = buf_slice_of(&c->frame);
	if (io != IPC_IO_OK || !ipc_code(frame, &code)) {
		drop(c);
		return;
	}
	if (code == IPC_hello && ipc_get_hello(frame, &hello) && hello.version == IPC_VERSION) {
		const struct ipc_hello own = { .version = IPC_VERSION, .program = SLICE("pennypost") };

		buf_init(&out, IPC_FRAME_MAX);
		(void)send_frame(c, &out, ipc_put_hello(&out, &own));
	} else if (code == IPC_master_do && ipc_get_master_do(frame, &request)) {
		do_action(m, c, request.action);
	} else {
		drop(c);
	}
}

void
control_reload_done(struct master *m, bool ok, const char *text)
{
	for (size_t i = 0; i < MASTER_CLIENTS; i++) {
		struct master_client *c = &m->client[i];

		if (c->fd < 0 || !c->waits)
			continue;
		c->waits = false;
		(void)send_done(c, ok ? OK : TEMP, text);
	}
}

void
control_close(struct master *m)
{
	for (size_t i = 0; i < MASTER_CLIENTS; i++)
		if (m->client[i].fd >= 0)
			drop(&m->client[i]);
}
