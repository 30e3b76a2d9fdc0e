/* imapd: arguments of FETCH, SEARCH, APPEND and the rest; what is written is read again. */
#include <stdint.h>
#include <stdlib.h>

#include "imapd/imap_list.h"
#include "imapd/imap_parse.h"
#include "mime/imap_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any octets but NUL, written as a string, are that string. */
static void
string_again(struct slice text, struct imap_pool *pool)
{
	struct slice value;
	struct imap_in in;
	struct buf out;

	if (slice_find(text, '\0') != text.len)
		return;
	buf_init(&out, 4 * text.len + 100);
	imap_put_astring(&out, text);
	imap_in_init(&in, buf_slice_of(&out), pool);
	if (!imap_parse_astring(&in, &value) || !slice_eq(value, text) || in.rest.len != 0)
		abort();
	buf_clear(&out);
}

/* A set stays itself when it is resolved, written and read. */
static void
set_again(struct imap_in *in, struct imap_pool *pool)
{
	struct imap_set set, again;
	struct imap_in second;
	struct buf out;

	if (!imap_parse_set(in, &set))
		return;
	imap_set_resolve(&set, 1000);
	buf_init(&out, 1 << 24);
	for (size_t i = 0; i < set.n; i++) {
		if (set.at[i].first == 0 || set.at[i].first > set.at[i].last ||
		    (i > 0 && set.at[i].first <= set.at[i - 1].last))
			abort();
		(void)buf_fmt(&out, "%s%u:%u", i == 0 ? "" : ",", set.at[i].first, set.at[i].last);
	}
	imap_in_init(&second, buf_slice_of(&out), pool);
	if (set.n > 0 && (!imap_parse_set(&second, &again) || again.n != set.n))
		abort();
	buf_clear(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_make(data, size);
	struct imap_search_command search;
	struct imap_thread_command thread;
	struct imap_sort_command sort;
	struct imap_select select;
	struct imap_pattern pattern;
	struct imap_append append;
	struct imap_fetch fetch;
	struct imap_flags flags;
	struct imap_pool pool;
	struct slice name;
	struct imap_in in;
	int64_t date;

	if (size == 0)
		return 0;
	text = slice_sub(text, 1, text.len);
	imap_pool_init(&pool, 1 << 20);
	imap_in_init(&in, text, &pool);
	switch (data[0] % 12) {
	case 0: (void)(imap_parse_fetch(&in, &fetch) && imap_parse_fetch_modifiers(&in, &fetch)); break;
	case 1: (void)imap_parse_search(&in, &search); break;
	case 2: (void)imap_parse_append(&in, &append); break;
	case 3: (void)imap_parse_store_flags(&in, &flags); break;
	case 4: (void)imap_parse_date_time(&in, &date); break;
	case 5: (void)imap_parse_id(&in); break;
	case 6: set_again(&in, &pool); break;
	case 7: string_again(text, &pool); break;
	case 11: (void)imap_parse_select(&in, &select); break;
	case 9: (void)imap_parse_sort(&in, &sort); break;
	case 10: (void)imap_parse_thread(&in, &thread); break;
	case 8:
		name = slice_cut(&text, '\0');
		imap_pattern_init(&pattern, SLICE(""), text);
		(void)imap_pattern_match(&pattern, slice_sub(name, 0, STORE_NAME_MAX));
		break;
	}
	imap_pool_clear(&pool);
	return 0;
}
