/* Tagged answers, and what a store_error is called in them (RFC 5530). */
#include <string.h>

#include "imap_cmd.h"
#include "log.h"

static enum imap_step
reply(struct imap_session *s, const char *status, const char *text)
{
	buf_reset(&s->reply);
	(void)buf_fmt(&s->reply, "%s %s", status, text);
	return STEP_DONE;
}

enum imap_step
imap_ok(struct imap_session *s, const char *text)
{
	return reply(s, "OK", text);
}

enum imap_step
imap_no(struct imap_session *s, const char *text)
{
	return reply(s, "NO", text);
}

enum imap_step
imap_bad(struct imap_session *s, const char *text)
{
	return reply(s, "BAD", text);
}

enum imap_step
imap_bad_args(struct imap_session *s, const struct imap_in *in)
{
	return imap_bad(s, in->error == NULL ? "Invalid arguments" : in->error);
}

static const struct {
	enum store_error	 error;
	const char		*text;
	bool			 fault;	/* of ours: for the log */
} answers[] = {
	{ STORE_OK,		"[SERVERBUG] Failed", true },
	{ STORE_NONEXISTENT,	"[NONEXISTENT] Mailbox doesn't exist" },
	{ STORE_EXISTS,		"[ALREADYEXISTS] Mailbox exists already" },
	{ STORE_NAME,		"[NONEXISTENT] Mailbox doesn't exist" },
	{ STORE_CANNOT,		"[CANNOT] Not possible with this mailbox" },
	{ STORE_LIMIT,		"[LIMIT] Too many mailboxes or keywords" },
	{ STORE_OVERQUOTA,	"[OVERQUOTA] Quota exceeded" },
	{ STORE_GONE,		"[EXPUNGEISSUED] Some of the messages no longer exist" },
	{ STORE_BUSY,		"[INUSE] Mailbox is in use, try again" },
	{ STORE_NOSPACE,	"[UNAVAILABLE] No space left on the server", true },
	{ STORE_READONLY,	"[READ-ONLY] Mailbox is read-only" },
	{ STORE_NOPERM,		"[NOPERM] Permission denied", true },
	{ STORE_IO,		"[SERVERBUG] Internal error, see the server's log", true },
	{ STORE_MEMORY,		"[UNAVAILABLE] Out of resources, try again", true },
};

/*
 * A name that no mailbox can have is answered as one that does not exist (only
 * CREATE and the like say more), so that nothing can be learnt from it.
 */
enum imap_step
imap_no_store(struct imap_session *s, enum store_error error, const char *what)
{
	for (size_t i = 0; i < LEN(answers); i++) {
		if (answers[i].error != error)
			continue;
		if (answers[i].fault)
			log_say(LOG_LEVEL_WARNING, "%s: %s: %s (%s)", s->setup.user, what,
			    store_error_text(error), strerror(store_errno(s->setup.store)));
		return imap_no(s, answers[i].text);
	}
	return imap_no(s, "[SERVERBUG] Failed");
}

enum imap_step
imap_no_target(struct imap_session *s, enum store_error error, const char *what)
{
	if (error == STORE_NONEXISTENT || error == STORE_NAME)
		return imap_no(s, "[TRYCREATE] Mailbox doesn't exist");
	return imap_no_store(s, error, what);
}
