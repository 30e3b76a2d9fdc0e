/*
 * smtp_received: the Received: line that we put before a message (RFC 5321
 * section 4.4, RFC 3848), and the lines that a submission may lack.  Pure.
 */
#ifndef PP_SMTP_RECEIVED_H
#define PP_SMTP_RECEIVED_H

#include <stdint.h>

#include "buf.h"
#include "qid.h"
#include "slice.h"

struct smtp_received {
	struct slice	 helo;		/* as given; cleaned here */
	struct slice	 name, address;	/* of the client, as logged */
	const char	*tls_protocol;	/* NULL: no TLS */
	const char	*tls_cipher;
	int		 tls_bits;
	struct slice	 login;		/* empty: not logged in */
	const char	*hostname;	/* ours */
	const char	*with;		/* "ESMTPSA" */
	struct qid	 qid;
	struct slice	 rcpt;		/* the only recipient, or empty */
	int64_t		 when_utc;	/* seconds since 1970 */
};

void smtp_received_print(const struct smtp_received *r, struct buf *out);

/* "Date: ..." and "Message-ID: <YYYYMMDDhhmmss.QUEUEID@host>", with CRLF. */
void smtp_date_line(int64_t when_utc, struct buf *out);
void smtp_message_id_line(int64_t when_utc, struct qid qid, const char *hostname, struct buf *out);

#endif
