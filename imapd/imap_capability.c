/* What is announced after login; before it, imap_login.c says. */
#include "imap_name.h"
#include "imap_session.h"

static const char capabilities[] =
	"IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE NAMESPACE CHILDREN UNSELECT UIDPLUS MOVE SPECIAL-USE "
	"LIST-EXTENDED LIST-STATUS STATUS=SIZE ESEARCH SEARCHRES WITHIN SORT SORT=DISPLAY ESORT THREAD=ORDEREDSUBJECT "
	"THREAD=REFERENCES I18NLEVEL=1";

void
imap_put_capabilities(const struct imap_session *s, struct buf *out)
{
	(void)buf_text(out, capabilities);
	(void)buf_fmt(out, " APPENDLIMIT=%llu", (unsigned long long)s->setup.message_size);
}

bool
imap_names_utf8(const struct imap_session *s)
{
	return (s->enabled & (ENABLED_REV2 | ENABLED_UTF8)) != 0;
}

void
imap_put_mailbox(struct imap_session *s, struct slice name)
{
	imap_put_name(&s->out, name, imap_names_utf8(s));
}
