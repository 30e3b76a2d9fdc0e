/* What is announced after login; before it, imap_login.c says. */
#include "imap_name.h"
#include "imap_session.h"
#include "mime/imap_write.h"

static const char capabilities[] =
	"IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE NAMESPACE CHILDREN UNSELECT UIDPLUS MOVE SPECIAL-USE "
	"LIST-EXTENDED LIST-STATUS STATUS=SIZE ESEARCH SEARCHRES WITHIN SORT SORT=DISPLAY ESORT THREAD=ORDEREDSUBJECT "
	"THREAD=REFERENCES I18NLEVEL=1 UTF8=ACCEPT BINARY MULTIAPPEND QUOTA QUOTA=RES-STORAGE "
	"CONDSTORE QRESYNC PARTIAL OBJECTID SAVEDATE PREVIEW CREATE-SPECIAL-USE METADATA REPLACE INPROGRESS COMPRESS=DEFLATE";

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

void
imap_put_opened(struct imap_session *s, struct slice name, struct slice said, bool always)
{
	struct buf shown, old;

	if ((s->enabled & ENABLED_REV2) == 0)
		return;
	buf_init(&shown, 4 * STORE_NAME_MAX);
	buf_init(&old, 4 * STORE_NAME_MAX);
	imap_put_name(&shown, name, true);
	imap_put_utf8(&old, said);
	/* INBOX in another case is no other name. */
	if (slice_ieq(said, "INBOX"))
		buf_clear(&old);
	if (old.len > 0 && slice_eq(buf_slice_of(&shown), buf_slice_of(&old)))
		buf_clear(&old);
	if (always || old.len > 0) {
		(void)buf_text(&s->out, "* LIST () \".\" ");
		(void)buf_slice(&s->out, buf_slice_of(&shown));
		if (old.len > 0) {
			(void)buf_text(&s->out, " (\"OLDNAME\" (");
			(void)buf_slice(&s->out, buf_slice_of(&old));
			(void)buf_text(&s->out, "))");
		}
		(void)buf_text(&s->out, "\r\n");
	}
	buf_clear(&shown);
	buf_clear(&old);
}
