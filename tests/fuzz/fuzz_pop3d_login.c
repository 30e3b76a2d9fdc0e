/* A client that says anything to pop3d before it is logged in. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pop3d/pop3_login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Replies are lines that begin as RFC 1939 says, whole, without control octets. */
static void
check_reply(struct slice reply)
{
	bool list = false;

	while (reply.len > 0) {
		struct slice line = slice_cut(&reply, '\n');

		if (line.len == 0 || line.ptr[line.len - 1] != '\r')
			abort();
		for (size_t i = 0; i + 1 < line.len; i++)
			if (line.ptr[i] < ' ')
				abort();
		if (!list && !slice_prefix(&line, "+OK") && !slice_prefix(&line, "-ERR") && !slice_prefix(&line, "+ "))
			abort();
		list = true;
	}
}

static void
check_auth(const struct login_auth *a, struct slice data)
{
	if (a->method == NULL || a->user.len == 0 || a->user.len > 320 || a->password.len == 0 ||
	    a->password.len > 1024 || a->greeting.len != 0)
		abort();
	(void)data;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct login_proto *p = &pop3_login_proto;
	struct login_facts facts = { .tls = size > 0 && (data[0] & 1) != 0, .starttls = true, .hostname = "h.example" };
	void *state = calloc(1, p->state_size);
	struct slice rest;
	struct buf out;

	if (state == NULL || size == 0) {
		free(state);
		return 0;
	}
	rest = slice_make(data + 1, size - 1);
	buf_init(&out, 1 << 16);
	p->start(state, &facts);
	for (;;) {
		struct login_step step = { .out = &out };
		size_t taken;

		buf_reset(&out);
		taken = p->input(state, rest, &step);
		if (taken > rest.len || (taken == 0 && (out.len != 0 || step.want != LOGIN_WANT_INPUT)))
			abort();
		if (taken == 0)
			break;
		check_reply(buf_slice_of(&out));
		rest = slice_sub(rest, taken, rest.len);
		if (step.want == LOGIN_WANT_AUTH) {
			if (!facts.tls || out.len != 0)
				abort();
			check_auth(&step.auth, rest);
			step = (struct login_step){ .out = &out };
			p->answer(state, (data[0] & 2) != 0 ? TEMP : PERM, AUTH_REASON_NONE, &step);
			check_reply(buf_slice_of(&out));
		} else if (step.want == LOGIN_WANT_STARTTLS) {
			if (facts.tls)
				abort();
			facts = (struct login_facts){ .tls = true, .hostname = "h.example" };
			p->start(state, &facts);
		} else if (step.want == LOGIN_WANT_CLOSE) {
			break;
		}
	}
	p->clear(state);
	free(state);
	buf_clear(&out);
	return 0;
}
