/*
 * queue: all state of the process that owns the spool.
 *
 * The way of a message through these files:
 *	queue_submit, queue_drop	it comes in; queue_file: large content
 *	queue_log			made durable, one sync for many
 *	queue_apply			becomes state in memory (queue_message)
 *	queue_schedule, queue_job	handed to deliver or relay
 *	queue_result, queue_expand	what came back becomes a record
 *	queue_bounce			the sender is told
 *	queue_compact			old segments are emptied and dropped
 *	queue_replay			all of it again, at the next start
 *	queue_control, queue_trace	the administrator looks and steers
 */
#ifndef PP_QUEUE_H
#define PP_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon.h"
#include "ipc.h"
#include "queue_log.h"
#include "queue_message.h"
#include "queue_record.h"
#include "queue_schedule.h"

struct event;
struct conn_listener;
struct job_conn;
struct job_table;
struct submit_state;
struct control_state;
struct drop_state;
struct trace_state;
struct compact_state;
struct recent_ids;

struct queue {
	struct daemon		 daemon;
	/* Folders, opened before confinement: spool, and log, large, drop, trace in it; state_dir/queue. */
	int			 spool_dirfd, log_dirfd, large_dirfd, drop_dirfd, trace_dirfd, index_dirfd;

	struct queue_log	 log;
	struct messages		 messages;
	uint64_t		 wanted;	/* octets of their records */
	struct record_ledger	 ledger;
	struct schedule		 schedule;
	struct job_table	*jobs;		/* queue_job.c */
	struct submit_state	*submit;	/* queue_submit.c */
	struct control_state	*control;	/* queue_control.c */
	struct drop_state	*drop;		/* queue_drop.c */
	struct trace_state	*trace;		/* queue_trace.c */
	struct compact_state	*compact;	/* queue_compact.c */
	struct recent_ids	*recent;	/* queue_recent.c: gone, but their submitter may ask again */
	struct conn_listener	*listener[4];
	struct event		*tick;		/* once a second: compaction, space, left-overs */
	uint64_t		 seconds;	/* ticks so far */
	struct event		*drain_check;
	uint64_t		 drain_until_usec;

	bool			 replaying;	/* nothing is written, logged or handed out */
	uint64_t		 lease_next;	/* id to be given out next */
	uint64_t		 lease_mark;	/* ids below may have been given out: it is in the log */
	uint64_t		 lease_asked;	/* a mark that is on its way into the log */
	bool			 lease_recent;	/* ids were asked for in the last second */
	bool			 bounces_waiting;	/* there was no room for a DSN */
	uint32_t		 set_aside;	/* *.bad files */
	uint64_t		 damaged;	/* broken parts that replay found */
	int64_t			 difference;	/* of the ledger, when it was last looked at */
	struct buf		 scratch;	/* for reading records back */
};

#endif
