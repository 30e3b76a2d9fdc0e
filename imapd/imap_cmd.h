/*
 * imap_cmd: the table of verbs.  It alone knows which may come in which state,
 * and what may be told of changes when one is done; the handlers do not check
 * that again.
 */
#ifndef PP_IMAP_CMD_H
#define PP_IMAP_CMD_H

#include "imap_session.h"

/* Changes told before the tagged answer (RFC 3501 section 7.4.1). */
enum imap_tell {
	TELL_NOTHING,
	TELL_NO_EXPUNGE,	/* numbers must not change: FETCH, STORE, SEARCH */
	TELL_ALL,
};

struct imap_cmd {
	const char	*verb;
	unsigned	 allowed;	/* enum imap_state bits */
	enum imap_tell	 tell;
	enum imap_step	(*run)(struct imap_session *s, struct imap_in *in);	/* in: behind the verb */
};

/* The answer to ID (RFC 2971). */
#define IMAP_ID_RESPONSE	"* ID (\"name\" \"Pennypost\")\r\n"

/* "FETCH", or, with uid, what may stand behind "UID".  NULL: none such. */
const struct imap_cmd *imap_cmd_find(struct slice verb, bool uid);

enum imap_step cmd_append(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_capability(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_check(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_close(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_compress(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_copy(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_create(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_delete(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_enable(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_examine(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_expunge(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_fetch(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_getmetadata(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_getquota(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_getquotaroot(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_id(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_idle(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_list(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_logout(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_lsub(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_move(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_namespace(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_noop(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_rename(struct imap_session *s, struct imap_in *in);
/* REPLACE: APPEND, and the message given goes (cmd_append.c). */
enum imap_step cmd_replace(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_search(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_select(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_setmetadata(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_sort(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_status(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_store(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_subscribe(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_thread(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_uid_expunge(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_unselect(struct imap_session *s, struct imap_in *in);
enum imap_step cmd_unsubscribe(struct imap_session *s, struct imap_in *in);

/* IDLE goes on: s->run has its tag. */
void cmd_idle_begin(struct imap_session *s);

/*
 * APPEND's messages come as literals while the line is being read: tell the
 * verb.  begin: args behind "APPEND", or (s->run.state is set) behind the message
 * before, up to the announcement of the literal of that many octets; false:
 * s->reply says why not, and the literal is refused.
 */
bool cmd_append_begin(struct imap_session *s, struct imap_in *in, uint64_t octets);
void cmd_append_chunk(struct imap_session *s, struct slice octets);

#endif
