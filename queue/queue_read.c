#include "queue_read.h"

#include <sys/mman.h>
#include <unistd.h>

#include "log.h"
#include "qid.h"
#include "queue_result.h"

bool
queue_read(struct queue *q, const struct message *m, struct record_message *r, struct slice *content)
{
	struct record_head head;
	struct record_moved moved;
	struct slice body;

	if (!queue_log_read(&q->log, m->segment, m->offset, &q->scratch, &head, &body, content))
		return false;
	if (head.type == RECORD_TYPE_moved) {
		if (!record_get_moved(body, &moved))
			return false;
		body = moved.message;
	} else if (head.type != RECORD_TYPE_message) {
		return false;
	}
	return record_get_message(body, r) && r->qid == m->qid;
}

int
queue_content_fd(struct slice content)
{
	int fd = memfd_create("message", MFD_CLOEXEC);

	if (fd == -1)
		return -1;
	if (write(fd, content.ptr, content.len) == (ssize_t)content.len && lseek(fd, 0, SEEK_SET) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

bool
queue_read_or_hold(struct queue *q, const struct message *m, struct record_message *r,
    struct slice *content)
{
	char text[QID_TEXT];

	if (queue_read(q, m, r, content))
		return true;
	log_say(LOG_LEVEL_ERROR, "%s: its record in segment %llu at %u is damaged; it is held",
	    qid_print((struct qid){ m->qid }, text), (unsigned long long)m->segment->seq, m->offset);
	if ((m->flags & MESSAGE_HELD) == 0)
		(void)result_action(q, m, ACTION_HOLD, UID_NONE, "its record in the log is damaged");
	return false;
}
