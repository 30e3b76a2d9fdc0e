/* imapd before login: any octets give whole reply lines, and bounded memory. */
#include <stdint.h>
#include <stdlib.h>

#include "imapd/imap_login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct login_facts facts = { .hostname = "h" };
	struct slice rest = slice_make(data, size);
	struct buf out;
	void *state;
	size_t piece;

	if (size == 0)
		return 0;
	facts.tls = (data[0] & 1) != 0;
	facts.starttls = !facts.tls;
	piece = (data[0] >> 1) + 1u;
	rest = slice_sub(rest, 1, rest.len);
	state = calloc(1, imap_login_proto.state_size);
	if (state == NULL)
		return 0;
	buf_init(&out, 1 << 20);
	imap_login_proto.start(state, &facts);
	while (rest.len > 0) {
		struct login_step step = { .out = &out };
		size_t n = imap_login_proto.input(state, slice_sub(rest, 0, piece), &step);

		if (n == 0 && step.want == LOGIN_WANT_INPUT)
			abort();	/* it takes what it gets */
		rest = slice_sub(rest, n, rest.len);
		if (step.want == LOGIN_WANT_CLOSE || step.want == LOGIN_WANT_STARTTLS)
			break;
		if (step.want == LOGIN_WANT_AUTH) {
			if (!facts.tls || step.auth.user.len == 0 || step.auth.user.len > 320 ||
			    step.auth.password.len == 0 || step.auth.password.len > 1024)
				abort();
			step = (struct login_step){ .out = &out };
			imap_login_proto.answer(state, TEMP, AUTH_REASON_UNAVAILABLE, &step);
		}
		if (out.len >= 2 && (out.ptr[out.len - 1] != '\n' || out.ptr[out.len - 2] != '\r'))
			abort();
	}
	imap_login_proto.clear(state);
	free(state);
	buf_clear(&out);
	return 0;
}
