/* smtp_reply: inside the session (smtp_session.c, smtp_cmd.c, smtp_sasl.c). */
#ifndef PP_SMTP_REPLY_H
#define PP_SMTP_REPLY_H

#include "smtp_session.h"

/* Append a reply and its CRLF; %s of addresses is safe, they hold no control octet.  WANT_LINE. */
enum smtp_want smtp_reply(struct buf *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A refusal that goes to the log as well, with the transaction's sender and to. */
enum smtp_want smtp_refuse(struct smtp_session *s, struct buf *out, const char *stage, struct slice from,
    struct slice to, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* Forget the transaction (RSET, EHLO, end of DATA). */
void smtp_session_reset(struct smtp_session *s);

/* Forget user and password. */
void smtp_session_wipe(struct smtp_session *s);

/* Run a command line: the table in smtp_cmd.c. */
enum smtp_want smtp_cmd_run(struct smtp_session *s, struct slice line, bool more, struct buf *out);
const char *smtp_verb_name(enum smtp_verb verb);

/* AUTH and what follows it (smtp_sasl.c). */
enum smtp_want smtp_cmd_auth(struct smtp_session *s, struct slice args, struct buf *out);
enum smtp_want smtp_sasl_line(struct smtp_session *s, struct slice line, struct buf *out);

#endif
