/* A server that says anything to our client; and any content on its way out. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "relay/smtp_body.h"
#include "relay/smtp_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
body(struct slice content, size_t cut)
{
	struct smtp_body b = { 0 };
	struct buf out;
	struct slice rest;

	buf_init(&out, 4 * content.len + 100);
	(void)smtp_body_put(&b, slice_sub(content, 0, cut), &out);
	(void)smtp_body_put(&b, slice_sub(content, cut, content.len), &out);
	(void)smtp_body_end(&b, &out);
	rest = buf_slice_of(&out);
	while (rest.len > 0) {	/* strict, whatever came in (P23); one dot line, at the end */
		struct slice line = slice_cut(&rest, '\n');

		if (line.len == 0 || line.ptr[line.len - 1] != '\r' || line.len > 1000 ||
		    slice_find(line, '\0') < line.len || slice_find(line, '\r') != line.len - 1 ||
		    (slice_is(line, ".\r") && rest.len > 0))
			abort();
	}
	buf_clear(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct client_setup setup = { .hostname = "me.example", .tls = CLIENT_TLS_MAY, .user = "u", .password = "p" };
	struct smtp_client c;
	struct client_rcpt rcpt[3];
	struct client_mail mail = { .sender = slice_of("s@x.example"), .size = 10, .rcpt = rcpt, .n = 3 };
	struct slice rest = slice_make(data, size);
	struct buf out;

	body(rest, size > 0 ? data[0] % size : 0);
	smtp_client_init(&c, &setup, size > 0 && (data[0] & 1) != 0);
	c.no_tls = size > 0 && (data[0] & 2) != 0;
	buf_init(&out, 1 << 20);
	while (rest.len > 0) {
		enum client_want want = smtp_client_line(&c, slice_cut(&rest, '\n'), &out);

		if (want == CLIENT_STARTTLS)
			smtp_client_tls_done(&c, &out);
		else if (want == CLIENT_FAILED)
			break;
		while (want == CLIENT_IDLE || want == CLIENT_MAIL_DONE) {
			for (size_t i = 0; want == CLIENT_MAIL_DONE && i < mail.n; i++)
				if (!rcpt[i].done || rcpt[i].reply.len > REPLY_TEXT_MAX)
					abort();
			memset(rcpt, 0, sizeof(rcpt));
			for (size_t i = 0; i < mail.n; i++)
				rcpt[i].addr = slice_of("r@x.example");
			if (c.mails > 50)
				rest.len = 0;
			if (rest.len == 0)
				break;
			want = smtp_client_mail(&c, &mail, &out);
		}
	}
	buf_clear(&out);
	return 0;
}
