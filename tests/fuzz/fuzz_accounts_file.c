/* accounts files: what is read is a valid mailbox, and reads the same when it is printed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "accounts_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
print_and_read(const struct account *a)
{
	struct accounts_file f;
	struct account_error e;
	struct account again;
	struct buf b;

	buf_init(&b, 4096);
	if (account_line_print(&b, addr_local(&a->addr), a->hash, a->quota, a->disabled)) {
		accounts_file_init(&f, buf_slice_of(&b), SLICE("d.example"));
		if (accounts_file_next(&f, &again, &e) != ACCOUNT_GOT || !addr_same(&a->addr, &again.addr) ||
		    !slice_eq(a->hash, again.hash) || a->quota != again.quota || a->disabled != again.disabled)
			abort();
	}
	buf_clear(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct accounts_file f;
	struct account_error e;
	struct account a;
	enum account_next next;
	size_t turns = 0;

	accounts_file_init(&f, slice_make(data, size), SLICE("d.example"));
	while ((next = accounts_file_next(&f, &a, &e)) != ACCOUNT_END) {
		if (++turns > size + 1)
			abort();
		if (next != ACCOUNT_GOT && (e.text[0] == '\0' || strpbrk(e.text, "\r\n") != NULL))
			abort();
		if (next == ACCOUNT_ERROR)
			continue;
		if (!account_local_valid(addr_local(&a.addr)) || !slice_is(addr_domain(&a.addr), "d.example"))
			abort();
		print_and_read(&a);
	}
	return 0;
}
