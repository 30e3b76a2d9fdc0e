/* aliases(5), :include: and .forward: whatever is in the file, reading ends, and what is read is in its limits. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "aliases.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_value(const struct alias_value *v)
{
	const char *argv[ALIAS_ARGV_MAX + 1];
	struct slice text = buf_slice_of(&v->text);
	struct addr a, again;
	struct buf words;

	if (text.len > ALIAS_VALUE_MAX || (text.len == 0 && v->kind != TARGET_LOCAL_FINAL))
		abort();
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == '\n' || text.ptr[i] == '\0')
			abort();
	switch (v->kind) {
	case TARGET_ADDRESS:
	case TARGET_LOCAL_FINAL:
		if (alias_address(text, SLICE("d.example"), &a) && !addr_parse(addr_text(&a), &again))
			abort();
		break;
	case TARGET_FILE:
	case TARGET_INCLUDE:
		if (text.ptr[0] != '/')
			abort();
		break;
	case TARGET_COMMAND:
		buf_init(&words, 4096);
		if (!alias_command_split(text, &words, argv) || argv[0] == NULL || argv[0][0] != '/')
			abort();
		buf_clear(&words);
		break;
	}
}

static void
read_list(struct alias_list *l, size_t size)
{
	struct alias_error e;
	struct alias_value v;
	enum alias_next next;
	size_t turns = 0;

	buf_init(&v.text, ALIAS_VALUE_MAX + 1);
	while ((next = alias_list_next(l, &v, &e)) != ALIAS_END) {
		if (++turns > size + 1)
			abort();	/* no progress */
		if (next == ALIAS_GOT)
			check_value(&v);
		else if (strlen(e.text) == 0 || strpbrk(e.text, "\r\n") != NULL)
			abort();
	}
	buf_clear(&v.text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct alias_entry entry;
	struct alias_error e;
	struct aliases a;
	struct alias_list l;
	enum alias_next next;
	size_t turns = 0;

	alias_list_init(&l, slice_make(data, size), 1, true);
	read_list(&l, size);
	aliases_init(&a, slice_make(data, size));
	while ((next = aliases_next(&a, &entry, &e)) != ALIAS_END) {
		if (++turns > size + 1)
			abort();
		if (next == ALIAS_GOT && entry.name[0] == '\0')
			abort();
		if (next == ALIAS_GOT)
			read_list(&entry.values, entry.octets);
	}
	aliases_clear(&a);
	return 0;
}
