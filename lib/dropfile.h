/*
 * dropfile: a message that sendmail left in spool/drop while queue was not
 * there.  Written by the set-gid helper `drop` (or by sendmail itself when the
 * folder is its own user's), taken in by queue.
 *
 * The file, numbers little-endian:
 *	"PPDROP1\n"
 *	u32	octets of the header that follows
 *	header:	u64 octets of content
 *		u64 microseconds since 1970 when it was handed in
 *		u32 uid of the caller (set by the helper, never taken from the caller)
 *		u8  body_8bit
 *		u8  ret: 0 not given, 1 FULL, 2 HDRS
 *		sender, envid, message_id, rcpts: each u32 length and octets;
 *		rcpts is a list of IPC_RCPT elements (ipc_messages.h)
 *		u64 queue id under which it was submitted before without an answer;
 *		missing when it was not
 *	content: lines ending in CRLF, no other CR or LF, no NUL
 * The same octets travel through the pipe from sendmail to the helper.
 *
 * The folder is 0730, owner queue, group drop: the helper may create and
 * rename, nobody but queue may list, and names cannot be guessed.  A file is
 * 0644 and complete from the moment it has a name that dropfile_name() takes:
 * written as "T...", synced, renamed to "D...", folder synced.
 *
 * For queue: what it finds was written by any user of the machine.  Open it
 * with dropfile_open(), never trust the content more than a submit frame of
 * ORIGIN_LOCAL.  Look again every minute: sendmail may have found queue away just
 * before it was back.  To take a file in exactly once, rename it to one that
 * carries the leased id (dropfile_claim_name()), sync the folder, append to
 * the log, unlink; after a crash a claimed file whose id the log knows is only
 * unlinked, and so is one that says an id which the log knows.  "T..." files untouched for 36 hours are left-overs and may go.
 */
#ifndef PP_DROPFILE_H
#define PP_DROPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "ipc.h"
#include "qid.h"
#include "slice.h"

#define DROPFILE_PREFIX		12		/* octets: magic and header length */
#define DROPFILE_HEADER_MAX	(16 * 1024 * 1024)
#define DROPFILE_NAME		64		/* of a file in the folder, with NUL */

struct dropfile {
	uint64_t	content_size;
	uint64_t	received_usec;
	uint32_t	uid;
	bool		body_8bit;
	uint8_t		ret;
	struct slice	sender;		/* empty: <> */
	struct slice	envid;
	struct slice	message_id;
	struct slice	rcpts;		/* for ipc_next_rcpt(); at least one, all well-formed */
	uint64_t	qid;		/* queue may have it under this id already; 0: no */
};

/* Append prefix and header to out (cap: DROPFILE_PREFIX + DROPFILE_HEADER_MAX at least). */
bool dropfile_print(const struct dropfile *d, struct buf *out);

/* Octets of the header behind this prefix; 0 if it is none or over the limit. */
size_t dropfile_prefix(const char prefix[DROPFILE_PREFIX]);

/*
 * Parse a header (without the prefix); views into it.  False if it is not
 * whole, has something left over, holds a control octet where text is meant,
 * or breaks a limit of IPC_SUBMIT or IPC_RCPT.
 */
bool dropfile_parse(struct slice header, struct dropfile *out);

/* A check that content is CRLF lines without NUL, in pieces of any size. */
struct dropfile_lines {
	char	last;	/* octet before the next piece; start with '\n' */
};
bool dropfile_lines_feed(struct dropfile_lines *c, struct slice piece);
bool dropfile_lines_end(const struct dropfile_lines *c);	/* ended in CRLF, or empty */

/* ---- writing ---- */

struct dropfile_writer {
	int			 dirfd;		/* borrowed; O_PATH where the folder may not be read */
	int			 fd;		/* -1: not open */
	uint64_t		 left;		/* octets of content still to come */
	struct dropfile_lines	 lines;
	bool			 bad;		/* content was no CRLF lines: EX_DATAERR */
	char			 tmp[DROPFILE_NAME], name[DROPFILE_NAME];
};

/* All return false with errno on failure; the caller then calls dropfile_abort(). */
bool dropfile_create(struct dropfile_writer *w, int dirfd, const struct dropfile *d);
bool dropfile_write(struct dropfile_writer *w, struct slice content);
/* Durable when it returns true: file and folder are synced. */
bool dropfile_commit(struct dropfile_writer *w);
/* Remove what was written, if it was not committed. */
void dropfile_abort(struct dropfile_writer *w);

/* ---- reading (queue) ---- */

enum dropfile_name { DROPFILE_OTHER, DROPFILE_TEMPORARY, DROPFILE_READY, DROPFILE_CLAIMED };

/* What a name in the folder is; of a claimed one *qid gets the id. */
enum dropfile_name dropfile_name(const char *name, struct qid *qid);
/* The name of this ready file once id q was given to it. */
bool dropfile_claim_name(const char *name, struct qid q, char out[DROPFILE_NAME]);

/*
 * Open dirfd/name without following links; only a regular file with one link.
 * The header is read into `header` (kept by the caller, cap as in
 * dropfile_print()) and parsed into *d; the offset of the descriptor is then
 * the first octet of content.  d->uid is the owner of the file.  -1: errno,
 * EBADMSG for a file that is none of ours or damaged.
 */
int dropfile_open(int dirfd, const char *name, struct buf *header, struct dropfile *d);

#endif
