/* Lists of Dovecot and Courier: whatever they hold, what is taken from them is in order. */
#include <stdint.h>
#include <stdlib.h>

#include "buf.h"
#include "store/takeover.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct takeover *t)
{
	if (t->uidvalidity == 0 || t->uidnext == 0)
		abort();
	for (size_t i = 0; i < t->n; i++) {
		const struct takeover_entry *e = &t->at[i];

		if (e->uid == 0 || e->uid >= t->uidnext || (i > 0 && e->uid <= t->at[i - 1].uid))
			abort();
		if (e->base.len == 0 || e->base.len > 255 || slice_find(e->base, '/') < e->base.len)
			abort();
		if (e->uidl.len > TAKEOVER_UIDL_MAX)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_make(data, size), pop3 = text, rest = text, name;
	struct takeover t;
	struct buf store;
	uint32_t bits;

	buf_init(&store, 0);
	if (takeover_parse_uids(slice_cut(&pop3, '\0'), &t)) {
		check(&t);
		takeover_parse_pop3(pop3, &t, &store);
		check(&t);
		takeover_clear(&t);
	}
	buf_clear(&store);
	while (takeover_keyword_name(&rest, &name))
		;
	while (takeover_keyword_file(&rest, &name, &bits)) {
		if (bits == 0 || bits >> 26 != 0)
			abort();
	}
	return 0;
}
