/*
 * Every message on every local socket of the suite: the map of who says what to whom.
 *
 * From these lines come the structs, ipc_put_*() and ipc_get_*() (ipc.h), the
 * names in the log, and pennypost-ipc(7).  A code is never reused; a changed
 * field list gets a new code.  Limits are octets for slices, the largest value
 * for numbers.  A frame that breaks them ends that connection, never the daemon.
 *
 * Sockets, <listener>-<role>, in run-dir; each accepts the codes of its role alone:
 *	queue-submit	smtpd, deliver, sendmail: new messages			01xx
 *	queue-deliver	deliver: takes jobs, gives results			02xx
 *	queue-relay	relay: the same						02xx
 *	queue-control	pennypost, mailq (admin): look and steer		03xx
 *	auth-login	imapd, pop3d (fronts): may this one log in		04xx
 *	auth-smtp	smtpd: the same, for logins to smtp alone		04xx
 *	auth-control	pennypost: when did this one log in last		04xx
 *	auth-ticket	imapd, pop3d (parents): which mailbox is this		05xx
 *	(pair)		front and parent of imapd/pop3d (front_do, front_ready: of smtpd	06xx
 *			too), parent and user's process
 *	pennypost-control	pennypost: to the master			07xx
 *	(pair)		a process and its broker (broker.h); smtpd's workers and parent	08xx
 *	(pair)		parts of auth (09xx), of deliver (0axx) and of queue (0bxx) among themselves
 */
#ifndef PP_IPC_MESSAGES_H
#define PP_IPC_MESSAGES_H

#define U8	UINT8_MAX
#define U16	UINT16_MAX
#define U32	UINT32_MAX
#define U64	UINT64_MAX

/* The first frame each way on every connection. */
#define IPC_HELLO(F)								\
	F(u16,   version,     U16, "IPC_VERSION of the sender")			\
	F(slice, program,     32,  "name of the sender: smtpd, sendmail ...")

/* ---- queue-submit ---- */

#define IPC_SUBMIT_LEASE(F)	/* give me ids for messages to come */		\
	F(u16,   count,       1024, "how many")
#define IPC_SUBMIT_IDS(F)							\
	F(u64,   first,       U64, "first queue id; first .. first+count-1 are the asker's")	\
	F(u16,   count,       1024, "how many")

#define IPC_SUBMIT_RCPTS(F)	/* recipients that do not fit in the submit frame; sent before it */	\
	F(u64,   qid,         U64, "queue id")					\
	F(slice, rcpts,       IPC_RCPTS_MAX, "list of rcpt")

#define IPC_SUBMIT_FILE_OPEN(F)	/* content is larger than IPC_INLINE_MAX */	\
	F(u64,   qid,         U64, "queue id")
#define IPC_SUBMIT_FILE(F)	/* answer; carries a write-only descriptor when OK */	\
	F(u64,   qid,         U64, "queue id")					\
	F(u8,    verdict,     2,   "enum verdict")

/*
 * The message.  A submit with an id that the queue knows already (a repeat
 * after a lost connection) is answered OK and not stored twice.
 */
#define IPC_SUBMIT(F)								\
	F(u64,   qid,         U64, "queue id, leased")				\
	F(u8,    origin,      3,   "enum ipc_origin")				\
	F(u8,    body_8bit,   1,   "BODY=8BITMIME")				\
	F(u8,    in_file,     1,   "content was written to the file of submit_file")	\
	F(u64,   received_usec, U64, "when the transaction began, since 1970")	\
	F(slice, sender,      320, "reverse-path, empty for <>")		\
	F(slice, rcpts,       IPC_RCPTS_MAX, "list of rcpt")			\
	F(slice, envid,       100, "DSN ENVID, decoded; may be empty")		\
	F(u8,    ret,         2,   "DSN RET: 0 not given, 1 FULL, 2 HDRS")	\
	F(slice, login,       320, "authenticated user, or empty")		\
	F(slice, client_name, 255, "as logged")					\
	F(slice, client_address, 64, "as logged")				\
	F(slice, helo,        255, "as given")					\
	F(slice, protocol,    16,  "SMTP, ESMTPSA, LMTP ... (RFC 3848)")	\
	F(slice, message_id,  998, "Message-ID: of the content, or empty")	\
	F(slice, content,     IPC_INLINE_MAX, "with our Received:, CRLF lines; empty when in_file")
#define IPC_SUBMIT_RESULT(F)							\
	F(u64,   qid,         U64, "queue id")					\
	F(u8,    verdict,     2,   "OK: durable.  TEMP, PERM: nothing was kept")	\
	F(slice, text,        200, "why not, for the log")
#define IPC_SUBMIT_ABORT(F)	/* forget the file and the rcpts of this id; no answer */	\
	F(u64,   qid,         U64, "queue id")

enum ipc_origin { ORIGIN_SMTP, ORIGIN_LMTP, ORIGIN_LOCAL, ORIGIN_GENERATED };
enum ipc_hint { HINT_UNKNOWN, HINT_LOCAL, HINT_REMOTE };
#define NOTIFY_NEVER	1
#define NOTIFY_SUCCESS	2
#define NOTIFY_FAILURE	4
#define NOTIFY_DELAY	8

#define IPC_RCPT(F)		/* element of submit.rcpts */			\
	F(slice, addr,        320, "forward-path, canonical for local domains")	\
	F(u8,    hint,        2,   "enum ipc_hint: where it goes, if known")	\
	F(u8,    notify,      15,  "NOTIFY_* bits; 0 not given")		\
	F(slice, orcpt,       500, "DSN ORCPT, decoded, with its type; may be empty")

/* ---- queue-deliver, queue-relay ---- */

#define IPC_JOB_READY(F)	/* I can take so many more jobs */		\
	F(u16,   slots,       1024, "added to what was said before")
#define IPC_JOB(F)								\
	F(u64,   job,         U64, "echoed in the results")			\
	F(u64,   qid,         U64, "queue id")					\
	F(u8,    repeat,      1,   "may have been done before: a crash or a retry came between")	\
	F(u8,    in_file,     1,   "content is in the read-only descriptor that comes along")	\
	F(u8,    body_8bit,   1,   "content may hold 8-bit octets")		\
	F(u64,   arrival_usec, U64, "when queue made it durable, since 1970")	\
	F(u64,   size,        U64, "octets of content")				\
	F(slice, sender,      320, "envelope sender, empty for <>")		\
	F(slice, envid,       100, "DSN ENVID")					\
	F(u8,    ret,         2,   "DSN RET")					\
	F(slice, client_address, 64, "where it came from; for command environments")	\
	F(slice, rcpts,       IPC_RCPTS_MAX, "list of job_rcpt")		\
	F(slice, content,     IPC_INLINE_MAX, "empty when in_file")
#define IPC_JOB_RCPT(F)		/* element of job.rcpts */			\
	F(u32,   index,       U32, "number of the recipient within the message")	\
	F(slice, addr,        320, "to deliver to")				\
	F(slice, orig_to,     320, "what the client gave, before aliases")	\
	F(u8,    final,       1,   "an alias target: a mailbox or an action, not to be expanded again")	\
	F(u8,    notify,      15,  "NOTIFY_* bits")				\
	F(slice, orcpt,       500, "DSN ORCPT")
#define IPC_JOB_RESULTS(F)	/* all recipients of one job */			\
	F(u64,   job,         U64, "as given")					\
	F(u64,   qid,         U64, "queue id")					\
	F(slice, results,     (96 * 1024), "list of job_result")
#define IPC_JOB_RESULT(F)	/* element of job_results.results */		\
	F(u32,   index,       U32, "as given")					\
	F(u8,    outcome,     4,   "enum ipc_outcome")				\
	F(slice, dsn,         16,  "enhanced code, RFC 3463")			\
	F(slice, relay,       300, "virtual, local, none, or host[address]:port")	\
	F(slice, text,        1000, "what happened, for log, mailq and DSN; the remote's words")	\
	F(slice, remote,      255, "host that said it, for the DSN; empty: ourselves")	\
	F(u32,   connect_usec, U32, "delays= c")				\
	F(u32,   transfer_usec, U32, "delays= d")				\
	F(slice, targets,     (64 * 1024), "EXPANDED: list of target")		\
	F(u8,    more,        1,   "EXPANDED: 1: a further result of this index follows; its targets are added to these")
#define IPC_TARGET(F)		/* element of job_result.targets */		\
	F(slice, addr,        320, "mailbox, address elsewhere, or action text (/file, |command)")	\
	F(u8,    remote,      1,   "1: relay it; 0: deliver takes it again with final=1")	\
	F(u8,    new_sender,  1,   "sender replaces the envelope sender (owner- alias)")	\
	F(slice, sender,      320, "see new_sender")

enum ipc_outcome { OUTCOME_DONE, OUTCOME_DEFERRED, OUTCOME_FAILED, OUTCOME_EXPANDED, OUTCOME_DISCARDED };

/* ---- queue-control ---- */

#define IPC_QUEUE_LIST(F)							\
	F(u64,   qid,         U64, "only this one; 0: all")			\
	F(slice, sender,      320, "only from; empty: any")			\
	F(slice, rcpt,        320, "only to; empty: any")
#define IPC_QUEUE_ITEMS(F)	/* as many of them as the list needs */		\
	F(slice, items,       (150 * 1024), "list of queue_item, oldest first")
#define IPC_QUEUE_ITEM(F)	/* element of queue_items.items: a message */	\
	F(u64,   qid,         U64, "queue id")					\
	F(u8,    state,       3,   "enum ipc_state")				\
	F(u8,    forced_expire, 1, "to be given up at the next chance")		\
	F(u64,   arrival_usec, U64, "since 1970")				\
	F(u64,   size,        U64, "octets")					\
	F(slice, sender,      320, "empty for <>")				\
	F(slice, rcpts,       (96 * 1024), "list of queue_rcpt: those not done yet; a further item of the same id may follow")
#define IPC_QUEUE_RCPT(F)	/* element of queue_item.rcpts */		\
	F(slice, addr,        320, "recipient")					\
	F(slice, orig_to,     320, "before aliases")				\
	F(slice, reason,      1000, "why it waits; empty: not tried yet")	\
	F(u64,   next_utc,    U64, "seconds since 1970 of the next attempt")	\
	F(u32,   attempts,    U32, "so far")
#define IPC_QUEUE_END(F)	/* ends a list, a trace, and answers queue_do */	\
	F(u8,    verdict,     2,   "OK; PERM: no such message or not allowed; TEMP: try again")	\
	F(u64,   count,       U64, "messages listed or changed")		\
	F(slice, text,        500, "what went wrong")
enum ipc_state { STATE_WAITING, STATE_ACTIVE, STATE_HELD, STATE_DEFERRED };

#define IPC_QUEUE_DO(F)								\
	F(u8,    action,      5,   "enum ipc_action")				\
	F(u64,   qid,         U64, "this one; 0: by sender/rcpt, or all if both are empty")	\
	F(slice, sender,      320, "only from")					\
	F(slice, rcpt,        320, "only to")
enum ipc_action { ACTION_HOLD, ACTION_RELEASE, ACTION_RETRY, ACTION_DELETE, ACTION_EXPIRE, ACTION_COMPACT };

#define IPC_QUEUE_EXPORT(F)	/* answer: queue_content, or queue_end with PERM */	\
	F(u64,   qid,         U64, "queue id")
#define IPC_QUEUE_CONTENT(F)	/* carries a read-only descriptor with the message (a memfd or its file) */	\
	F(u64,   qid,         U64, "queue id")					\
	F(u64,   size,        U64, "octets")

#define IPC_QUEUE_TRACE(F)	/* answers: trace_event ..., queue_end */	\
	F(slice, key,         998, "queue id, Message-ID with or without <>, or address")
#define IPC_TRACE_EVENT(F)							\
	F(u64,   usec,        U64, "when, since 1970")				\
	F(u64,   qid,         U64, "of which message")				\
	F(u8,    kind,        U8,  "enum trace_kind (lib/trace.h)")		\
	F(slice, sender,      320, "")						\
	F(slice, rcpt,        320, "")						\
	F(slice, orig_to,     320, "")						\
	F(slice, host,        300, "client or remote")				\
	F(slice, dsn,         16,  "")						\
	F(slice, text,        1000, "the remote's words, the rule, the file")	\
	F(u64,   other,       U64, "the child or parent message, 0: none")

#define IPC_QUEUE_STATUS(F)							\
	F(u8,    unused,      0,   "")
#define IPC_QUEUE_FIGURES(F)	/* the ledger: accepted + injected + generated + expanded = the rest; recipients, not messages */	\
	F(u64,   accepted,    U64, "recipients taken by SMTP and LMTP")		\
	F(u64,   injected,    U64, "by sendmail and the drop folder")		\
	F(u64,   generated,   U64, "bounces and other mail of our own")		\
	F(u64,   expanded,    U64, "added by aliases, less the alias itself")	\
	F(u64,   delivered,   U64, "into mailboxes, files and commands")	\
	F(u64,   relayed,     U64, "to other hosts")				\
	F(u64,   bounced,     U64, "given up, expired ones included")		\
	F(u64,   discarded,   U64, "by a rule, by the administrator, or a bounce that could not be delivered")	\
	F(u64,   queued,      U64, "still here")				\
	F(u64,   messages,    U64, "messages here")				\
	F(u64,   held,        U64, "of them on hold")				\
	F(u64,   log_octets,  U64, "size of all segments and files")		\
	F(u32,   segments,    U32, "log segments")				\
	F(u32,   set_aside,   U32, "damaged parts kept as files (*.bad)")

/* ---- auth-login ---- */

#define IPC_AUTH_REQUEST(F)							\
	F(u32,   id,          U32, "echoed")					\
	F(slice, service,     16,  "smtp, imap, pop3")				\
	F(slice, method,      16,  "PLAIN, LOGIN, USER")			\
	F(slice, user,        320, "as given")					\
	F(slice, password,    1024, "as given")					\
	F(slice, client_address, 64, "for PAM_RHOST and the log")		\
	F(u8,    tls,         1,   "")
#define IPC_AUTH_RESULT(F)							\
	F(u32,   id,          U32, "as given")					\
	F(u8,    verdict,     2,   "OK; PERM: no; TEMP: cannot tell now")	\
	F(u8,    reason,      4,   "enum ipc_auth_reason")			\
	F(slice, user,        320, "the login, canonical; only when OK")	\
	F(slice, ticket,      32,  "imap and pop3: to be redeemed once within 30 s by the parent")
enum ipc_auth_reason { AUTH_REASON_NONE, AUTH_REASON_CREDENTIALS, AUTH_REASON_EXPIRED, AUTH_REASON_UNAVAILABLE, AUTH_REASON_DISABLED };

/* ---- auth-ticket ---- */

#define IPC_TICKET_REDEEM(F)							\
	F(u32,   id,          U32, "echoed")					\
	F(slice, service,     16,  "imap, pop3")				\
	F(slice, ticket,      32,  "from auth_result by way of the front")
#define IPC_TICKET_MAILBOX(F)							\
	F(u32,   id,          U32, "as given")					\
	F(u8,    verdict,     2,   "OK, or PERM: unknown, used or too old")	\
	F(slice, user,        320, "canonical login: the key of the user's process")	\
	F(u8,    system,      1,   "1: a user of the machine, home is absolute; 0: home is below mail-root")	\
	F(slice, home,        1024, "folder that holds Maildir/: example.org/alice, or /home/alice")	\
	F(u32,   uid,         U32, "to run as (0xffffffff: pp-vmail)")		\
	F(u32,   gid,         U32, "the same")					\
	F(u64,   quota,       U64, "octets, 0: none")

/* ---- auth-control ---- */

#define IPC_LAST_LOGIN_ASK(F)	/* answers: last_login ..., last_login_end */	\
	F(slice, user,        320, "login: an address")
#define IPC_LAST_LOGIN(F)							\
	F(slice, service,     16,  "smtp, imap, pop3")				\
	F(u64,   usec,        U64, "when, since 1970")				\
	F(u64,   count,       U64, "good logins so far")			\
	F(slice, client_address, 64, "from where")
#define IPC_LAST_LOGIN_END(F)							\
	F(u8,    verdict,     2,   "OK; TEMP: the database is not open")

/* ---- parts of auth among themselves ---- */

#define IPC_WORKER_START(F)	/* to the keeper */				\
	F(u32,   id,          U32, "echoed")					\
	F(u8,    kind,        1,   "0 crypt, 1 PAM")
#define IPC_WORKER_STARTED(F)	/* carries our end of the worker's socket when OK */	\
	F(u32,   id,          U32, "as given")					\
	F(u8,    verdict,     2,   "")
#define IPC_WORKER_END(F)	/* kill it: it took too long */			\
	F(u32,   id,          U32, "as given")
#define IPC_CRYPT_CHECK(F)							\
	F(slice, hash,        400, "crypt(5)")					\
	F(slice, password,    1024, "")
#define IPC_CRYPT_RESULT(F)							\
	F(u8,    verdict,     2,   "OK: it fits; PERM: no; TEMP: no memory")
#define IPC_PAM_CHECK(F)							\
	F(slice, service,     16,  "smtp, imap, pop3")				\
	F(slice, user,        64,  "of the machine")				\
	F(slice, password,    1024, "")						\
	F(slice, client_address, 64, "for PAM_RHOST")
#define IPC_PAM_RESULT(F)							\
	F(u8,    verdict,     2,   "OK; PERM: no; TEMP: cannot tell")		\
	F(u8,    reason,      4,   "enum ipc_auth_reason")			\
	F(slice, user,        64,  "PAM_USER afterwards: modules may change it")

/* ---- front, parent and user's process of imapd and pop3d ---- */

#define IPC_FRONT_READY(F)	/* front to parent, once: it is confined and accepts connections */	\
	F(u8,    unused,      0,   "")
#define IPC_SESSION_START(F)	/* front to parent: a login succeeded */	\
	F(u32,   id,          U32, "echoed")					\
	F(slice, ticket,      32,  "from auth")					\
	F(slice, greeting,    1024, "IMAP: the tag to complete; POP3: empty")	\
	F(slice, client_address, 64, "for the log")				\
	F(slice, session,     32,  "for the log")				\
	F(u8,    tls,         1,   "")
#define IPC_SESSION_STARTED(F)	/* parent to front; when OK it carries the socket that leads to the user's process */	\
	F(u32,   id,          U32, "as given")					\
	F(u8,    verdict,     2,   "OK: the user's process has the connection")	\
	F(u32,   pid,         U32, "of the user's process")
#define IPC_FRONT_DO(F)		/* parent to front; BROKER carries the front's end of a new broker */	\
	F(u8,    action,      3,   "enum ipc_front_action")
enum ipc_front_action { FRONT_DRAIN, FRONT_END, FRONT_BROKER, FRONT_RETIRE };
#define IPC_USER_SESSION(F)	/* parent to user's process; carries the other end of that socket pair */	\
	F(slice, greeting,    1024, "see session_start")			\
	F(slice, client_address, 64, "")					\
	F(slice, session,     32,  "")						\
	F(u8,    tls,         1,   "")
#define IPC_USER_SESSIONS(F)	/* user's process to parent, at its start, after each user_session and when one ends */	\
	F(u32,   count,       U32, "open now; 0: it may be told to end when idle long enough")	\
	F(u32,   received,    U32, "user_session frames so far; a report older than the last frame sent is void")
#define IPC_USER_WATCH(F)	/* user's process to parent: a session may be parked; carries the folder it is in */	\
	F(u32,   number,      U32, "of the session in that process")
#define IPC_USER_WATCHED(F)	/* answer */					\
	F(u32,   number,      U32, "as given")					\
	F(u8,    verdict,     2,   "OK: what changes in that folder from now on wakes it")
#define IPC_USER_PARK(F)	/* user's process to parent: keep this session; carries its socket */	\
	F(u32,   number,      U32, "as in user_watch")				\
	F(slice, client_address, 64, "as in user_session")			\
	F(slice, session,     32,  "the same")					\
	F(u8,    tls,         1,   "the same")					\
	F(u32,   wake_s,      U32, "wake it after so long, it is idle for too long then")	\
	F(u64,   octets_in,   U64, "for the log, when it ends")		\
	F(u64,   octets_out,  U64, "the same")					\
	F(slice, state,       2000, "for the process that goes on with it, of the same user; nothing to the parent")
#define IPC_USER_RESUME(F)	/* parent to user's process: go on; counts as a user_session; carries the socket */	\
	F(slice, client_address, 64, "as in user_park")			\
	F(slice, session,     32,  "the same")					\
	F(u8,    tls,         1,   "the same")					\
	F(u8,    expired,     1,   "wake_s is over")				\
	F(u64,   octets_in,   U64, "as in user_park")				\
	F(u64,   octets_out,  U64, "the same")					\
	F(slice, state,       2000, "the same")
#define IPC_USER_END(F)		/* parent to user's process: say BYE to all, then end */	\
	F(u8,    unused,      0,   "")

/* ---- pennypost-control ---- */

#define IPC_MASTER_DO(F)							\
	F(u8,    action,      4,   "enum ipc_master_action")
enum ipc_master_action { MASTER_STATUS, MASTER_STOP, MASTER_RELOAD, MASTER_REOPEN_LOGS, MASTER_PRIVS };
#define IPC_MASTER_DAEMON(F)	/* one a daemon, then master_done */		\
	F(slice, name,        32,  "")						\
	F(u32,   pid,         U32, "0: not running")				\
	F(u8,    state,       4,   "enum ipc_daemon_state")			\
	F(u64,   since_usec,  U64, "start of this process, since 1970")		\
	F(u32,   restarts,    U32, "since the suite was started")		\
	F(slice, text,        300, "last end: exit 1, signal 9 ...; back-off")
enum ipc_daemon_state { DAEMON_STOPPED, DAEMON_STARTING, DAEMON_READY, DAEMON_STOPPING, DAEMON_BACKOFF };
#define IPC_MASTER_DONE(F)							\
	F(u8,    verdict,     2,   "")						\
	F(slice, text,        1000, "what went wrong")

/* ---- broker ---- */

#define IPC_BROKER_CONNECT(F)	/* connect me; only names on the broker's list */	\
	F(slice, name,        64,  "queue-submit, auth-login ...")
#define IPC_BROKER_CONNECTED(F)	/* carries the descriptor when OK */		\
	F(slice, name,        64,  "as asked")					\
	F(u8,    verdict,     2,   "")

/* ---- parts of deliver ---- */

#define IPC_DELIVER_SPAWN(F)	/* worker to root parent: a process under another uid */	\
	F(u32,   id,          U32, "echoed")					\
	F(u8,    action,      1,   "0: for a user's Maildir; 1: for one action, then it ends")	\
	F(slice, what,        320, "address of a user of the machine; or, as the default account, a target of the machine's aliases: |command, /file, :include:/path")
#define IPC_DELIVER_SPAWNED(F)	/* answer; carries its socket when OK */	\
	F(u32,   id,          U32, "as given")					\
	F(u8,    verdict,     2,   "PERM: not allowed; TEMP: not now")		\
	F(slice, text,        200, "why not")
#define IPC_DELIVER_FILE(F)	/* worker to such a process; it takes job frames too */	\
	F(u32,   id,          U32, "echoed")					\
	F(slice, path,        320, "an :include: file; empty: the user's .forward")	\
	F(slice, detail,      64,  "look for .forward+DETAIL first")
#define IPC_DELIVER_TEXT(F)	/* answer; from an action process it carries the text in a memfd when OK */	\
	F(u32,   id,          U32, "as given")					\
	F(u8,    verdict,     2,   "OK: it is there; PERM: there is none, or it is to be passed over")	\
	F(slice, text,        300, "why not, for the log")

/* ---- queue and its tracer, a child that keeps the history ---- */

#define IPC_TRACER_UPTO(F)	/* queue: the log is durable up to here */		\
	F(u64,   seq,         U64, "segment")					\
	F(u64,   offset,      U64, "octets in it")
#define IPC_TRACER_HAVE(F)	/* tracer: the history is durable up to here */	\
	F(u64,   seq,         U64, "segment")					\
	F(u64,   offset,      U64, "octets in it")
#define IPC_TRACER_ASK(F)	/* carries the asker's connection: trace_event ... queue_end go there */	\
	F(u32,   id,          U32, "echoed")					\
	F(slice, key,         998, "as in queue_trace")
#define IPC_TRACER_TOLD(F)	/* tracer: the asker has its answer */		\
	F(u32,   id,          U32, "as given")

#define IPC_MESSAGES(M)								\
	/* name              code    sender     receiver  fields */		\
	M(hello,             0x0001, any,       any,      IPC_HELLO)		\
	M(submit_lease,      0x0101, smtpd,     queue,    IPC_SUBMIT_LEASE)	\
	M(submit_ids,        0x0102, queue,     smtpd,    IPC_SUBMIT_IDS)	\
	M(submit_rcpts,      0x0103, smtpd,     queue,    IPC_SUBMIT_RCPTS)	\
	M(submit_file_open,  0x0104, smtpd,     queue,    IPC_SUBMIT_FILE_OPEN)	\
	M(submit_file,       0x0105, queue,     smtpd,    IPC_SUBMIT_FILE)	\
	M(submit,            0x0106, smtpd,     queue,    IPC_SUBMIT)		\
	M(submit_result,     0x0107, queue,     smtpd,    IPC_SUBMIT_RESULT)	\
	M(submit_abort,      0x0108, smtpd,     queue,    IPC_SUBMIT_ABORT)	\
	M(job_ready,         0x0201, deliver,   queue,    IPC_JOB_READY)	\
	M(job,               0x0202, queue,     deliver,  IPC_JOB)		\
	M(job_results,       0x0203, deliver,   queue,    IPC_JOB_RESULTS)	\
	M(queue_list,        0x0301, pennypost, queue,    IPC_QUEUE_LIST)	\
	M(queue_end,         0x0303, queue,     pennypost, IPC_QUEUE_END)	\
	M(queue_do,          0x0304, pennypost, queue,    IPC_QUEUE_DO)		\
	M(queue_export,      0x0305, pennypost, queue,    IPC_QUEUE_EXPORT)	\
	M(queue_content,     0x0306, queue,     pennypost, IPC_QUEUE_CONTENT)	\
	M(queue_trace,       0x0307, pennypost, queue,    IPC_QUEUE_TRACE)	\
	M(trace_event,       0x0308, queue,     pennypost, IPC_TRACE_EVENT)	\
	M(queue_status,      0x0309, pennypost, queue,    IPC_QUEUE_STATUS)	\
	M(queue_figures,     0x030a, queue,     pennypost, IPC_QUEUE_FIGURES)	\
	M(queue_items,       0x030b, queue,     pennypost, IPC_QUEUE_ITEMS)	\
	M(auth_request,      0x0401, smtpd,     auth,     IPC_AUTH_REQUEST)	\
	M(auth_result,       0x0402, auth,      smtpd,    IPC_AUTH_RESULT)	\
	M(last_login_ask,    0x0403, pennypost, auth,     IPC_LAST_LOGIN_ASK)	\
	M(last_login,        0x0404, auth,      pennypost, IPC_LAST_LOGIN)	\
	M(last_login_end,    0x0405, auth,      pennypost, IPC_LAST_LOGIN_END)	\
	M(ticket_redeem,     0x0501, imapd,     auth,     IPC_TICKET_REDEEM)	\
	M(ticket_mailbox,    0x0502, auth,      imapd,    IPC_TICKET_MAILBOX)	\
	M(session_start,     0x0601, imapd,     imapd,    IPC_SESSION_START)	\
	M(session_started,   0x0602, imapd,     imapd,    IPC_SESSION_STARTED)	\
	M(front_ready,       0x0608, imapd,     imapd,    IPC_FRONT_READY)	\
	M(front_do,          0x0606, imapd,     imapd,    IPC_FRONT_DO)		\
	M(user_session,      0x0604, imapd,     imapd,    IPC_USER_SESSION)	\
	M(user_sessions,     0x0605, imapd,     imapd,    IPC_USER_SESSIONS)	\
	M(user_end,          0x0607, imapd,     imapd,    IPC_USER_END)		\
	M(user_watch,        0x0609, imapd,     imapd,    IPC_USER_WATCH)	\
	M(user_watched,      0x060a, imapd,     imapd,    IPC_USER_WATCHED)	\
	M(user_park,         0x060b, imapd,     imapd,    IPC_USER_PARK)	\
	M(user_resume,       0x060c, imapd,     imapd,    IPC_USER_RESUME)	\
	M(master_do,         0x0701, pennypost, pennypost, IPC_MASTER_DO)	\
	M(master_daemon,     0x0702, pennypost, pennypost, IPC_MASTER_DAEMON)	\
	M(master_done,       0x0703, pennypost, pennypost, IPC_MASTER_DONE)	\
	M(broker_connect,    0x0801, any,       any,      IPC_BROKER_CONNECT)	\
	M(broker_connected,  0x0802, any,       any,      IPC_BROKER_CONNECTED)	\
	M(worker_start,      0x0901, auth,      auth,     IPC_WORKER_START)	\
	M(worker_started,    0x0902, auth,      auth,     IPC_WORKER_STARTED)	\
	M(worker_end,        0x0903, auth,      auth,     IPC_WORKER_END)	\
	M(crypt_check,       0x0904, auth,      auth,     IPC_CRYPT_CHECK)	\
	M(crypt_result,      0x0905, auth,      auth,     IPC_CRYPT_RESULT)	\
	M(pam_check,         0x0906, auth,      auth,     IPC_PAM_CHECK)	\
	M(pam_result,        0x0907, auth,      auth,     IPC_PAM_RESULT)	\
	M(deliver_spawn,     0x0a01, deliver,   deliver,  IPC_DELIVER_SPAWN)	\
	M(deliver_spawned,   0x0a02, deliver,   deliver,  IPC_DELIVER_SPAWNED)	\
	M(deliver_file,      0x0a03, deliver,   deliver,  IPC_DELIVER_FILE)	\
	M(deliver_text,      0x0a04, deliver,   deliver,  IPC_DELIVER_TEXT)	\
	M(tracer_upto,       0x0b01, queue,     queue,    IPC_TRACER_UPTO)	\
	M(tracer_have,       0x0b02, queue,     queue,    IPC_TRACER_HAVE)	\
	M(tracer_ask,        0x0b03, queue,     queue,    IPC_TRACER_ASK)	\
	M(tracer_told,       0x0b04, queue,     queue,    IPC_TRACER_TOLD)

#define IPC_ELEMENTS(E)								\
	E(rcpt,        IPC_RCPT)						\
	E(job_rcpt,    IPC_JOB_RCPT)						\
	E(job_result,  IPC_JOB_RESULT)						\
	E(target,      IPC_TARGET)						\
	E(queue_item,  IPC_QUEUE_ITEM)						\
	E(queue_rcpt,  IPC_QUEUE_RCPT)

#endif
