/*
 * queue_file: content too large for the log, in spool/large.
 *
 *	QID.tmp		being written by a submitter
 *	QID		whole and synced; its message is in the log, or will be at once
 *
 * The submitter gets a descriptor it can only write to.  One that is no part
 * of the suite gets the end of a pipe instead, and queue copies, so that the
 * size stays within bounds whatever it does.
 */
#ifndef PP_QUEUE_FILE_H
#define PP_QUEUE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "qid.h"
#include "queue.h"
#include "verdict.h"

struct queue_file;

/*
 * Begin the file for this id.  local: of a user (uid), by a pipe as said above,
 * and begun with our Received: line.  *pass gets the descriptor for the
 * submitter, to be closed or sent by the caller.  NULL with errno.
 */
struct queue_file *queue_file_begin(struct queue *q, struct qid qid, bool local, uint32_t uid, int *pass);

/*
 * All was written: sync the file, give it its name, sync the folder.  OK: size
 * octets are durable as spool/large/QID.  PERM: too large, or (local)
 * not CRLF lines.  f is freed; unless OK nothing is left behind.
 *
 * small: content of up to FILE_IN_LOG octets goes there instead, and nothing
 * is left behind: the log takes it, which costs no sync of its own.  May be NULL.
 */
#define FILE_IN_LOG (256u * 1024)
enum verdict queue_file_finish(struct queue *q, struct queue_file *f, struct buf *small, uint64_t *size,
    const char **why);
void queue_file_abort(struct queue *q, struct queue_file *f);	/* NULL is fine */

/* The same for content of our own, in one go. */
enum verdict queue_file_store(struct queue *q, struct qid qid, struct slice content);

/* A read-only descriptor if it is there and has this size, or -1. */
int queue_file_open(const struct queue *q, struct qid qid, uint64_t size);
void queue_file_remove(struct queue *q, struct qid qid);

/* At start: remove what no message of the queue owns; check those that are owned. */
void queue_file_clean(struct queue *q);
/* Octets of all files that messages own. */
uint64_t queue_file_octets(const struct queue *q);

#endif
