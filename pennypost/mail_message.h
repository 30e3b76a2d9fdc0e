/*
 * mail_message: one message that sendmail was given, on its way to queue.
 *
 * The header is kept in memory; a body of more than IPC_INLINE_MAX goes to a
 * file without a name (in /var/tmp), so that it can be sent again when queue
 * is restarted meanwhile, and given to the drop helper when it is not there.
 */
#ifndef PP_MAIL_MESSAGE_H
#define PP_MAIL_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "buf.h"
#include "cli.h"
#include "mail_header.h"
#include "mail_lines.h"

#define MESSAGE_HEADER_MAX (16 * 1024 * 1024)	/* octets; -t with very many recipients */

struct mail_message {
	struct buf		 raw;		/* header as given; recipients are read from it */
	struct buf		 header;	/* without Bcc: and the like; CRLF lines, no empty one at its end */
	struct mail_header	 info;
	struct buf		 body;		/* in memory, or */
	int			 body_fd;	/* in a file; -1 */
	uint64_t		 body_size;
	bool			 eight_bit;

	bool			 in_header;	/* while it is being read */
	size_t			 scanned;
	bool			 blank;		/* an empty line came behind the header */
	uint64_t		 limit;		/* octets of the whole; 0 none */
	bool			 too_big;
};

void mail_message_init(struct mail_message *m, uint64_t limit);
void mail_message_clear(struct mail_message *m);

/*
 * Take content (CRLF lines, from mail_lines.h).  False: no memory or no disk
 * (errno), or too big (m->too_big; what comes may be thrown away).
 */
bool mail_message_feed(struct mail_message *m, struct slice lines);
/* All has come: scan the header. */
bool mail_message_end(struct mail_message *m, bool drop_bcc);

/* What mail_message_finish() puts in. */
struct mail_extra {
	const char	*id;		/* for a Message-ID: */
	const char	*hostname;
	struct slice	 name, from;	/* for a From: */
	time_t		 now;
};

/* Append the header with the fields that are missing and its empty line; id gets the Message-ID. */
bool mail_message_finish(const struct mail_message *m, const struct mail_extra *extra, struct buf *out, struct buf *id);

/* Write the body to fd. */
bool mail_message_copy_body(const struct mail_message *m, int fd);

#endif
