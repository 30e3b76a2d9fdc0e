#include "imap_cmd.h"

#define IN_ANY		(STATE_LOGGED_IN | STATE_SELECTED)
#define IN_SELECTED	STATE_SELECTED

static const struct imap_cmd cmds[] = {
	/* RFC 3501 6.1 */
	{ "CAPABILITY",	 IN_ANY,	TELL_ALL,		cmd_capability },
	{ "NOOP",	 IN_ANY,	TELL_ALL,		cmd_noop },
	{ "LOGOUT",	 IN_ANY,	TELL_NOTHING,		cmd_logout },
	/* 6.3 */
	{ "SELECT",	 IN_ANY,	TELL_NOTHING,		cmd_select },
	{ "EXAMINE",	 IN_ANY,	TELL_NOTHING,		cmd_examine },
	{ "CREATE",	 IN_ANY,	TELL_ALL,		cmd_create },
	{ "DELETE",	 IN_ANY,	TELL_ALL,		cmd_delete },
	{ "RENAME",	 IN_ANY,	TELL_ALL,		cmd_rename },
	{ "SUBSCRIBE",	 IN_ANY,	TELL_ALL,		cmd_subscribe },
	{ "UNSUBSCRIBE", IN_ANY,	TELL_ALL,		cmd_unsubscribe },
	{ "LIST",	 IN_ANY,	TELL_ALL,		cmd_list },
	{ "LSUB",	 IN_ANY,	TELL_ALL,		cmd_lsub },
	{ "STATUS",	 IN_ANY,	TELL_ALL,		cmd_status },
	{ "APPEND",	 IN_ANY,	TELL_ALL,		cmd_append },
	/* 6.4 */
	{ "CHECK",	 IN_SELECTED,	TELL_ALL,		cmd_check },
	{ "CLOSE",	 IN_SELECTED,	TELL_NOTHING,		cmd_close },
	{ "EXPUNGE",	 IN_SELECTED,	TELL_ALL,		cmd_expunge },
	{ "SEARCH",	 IN_SELECTED,	TELL_NO_EXPUNGE,	cmd_search },
	{ "FETCH",	 IN_SELECTED,	TELL_NO_EXPUNGE,	cmd_fetch },
	{ "STORE",	 IN_SELECTED,	TELL_NO_EXPUNGE,	cmd_store },
	{ "COPY",	 IN_SELECTED,	TELL_ALL,		cmd_copy },
	{ "COMPRESS",	 IN_ANY,	TELL_NOTHING,		cmd_compress },	/* RFC 4978 */
	{ "ENABLE",	 IN_ANY,	TELL_ALL,		cmd_enable },	/* RFC 5161 */
	{ "GETMETADATA", IN_ANY,	TELL_ALL,		cmd_getmetadata },	/* RFC 5464 */
	{ "SETMETADATA", IN_ANY,	TELL_ALL,		cmd_setmetadata },
	{ "GETQUOTA",	 IN_ANY,	TELL_ALL,		cmd_getquota },	/* RFC 9208 */
	{ "GETQUOTAROOT", IN_ANY,	TELL_ALL,		cmd_getquotaroot },
	{ "ID",		 IN_ANY,	TELL_ALL,		cmd_id },	/* RFC 2971 */
	{ "IDLE",	 IN_ANY,	TELL_ALL,		cmd_idle },	/* RFC 2177 */
	{ "MOVE",	 IN_SELECTED,	TELL_ALL,		cmd_move },	/* RFC 6851 */
	{ "NAMESPACE",	 IN_ANY,	TELL_ALL,		cmd_namespace },	/* RFC 2342 */
	{ "REPLACE",	 IN_SELECTED,	TELL_ALL,		cmd_replace },	/* RFC 8508 */
	{ "SORT",	 IN_SELECTED,	TELL_NO_EXPUNGE,	cmd_sort },	/* RFC 5256 */
	{ "THREAD",	 IN_SELECTED,	TELL_NO_EXPUNGE,	cmd_thread },
	{ "UNSELECT",	 IN_SELECTED,	TELL_NOTHING,		cmd_unselect },	/* RFC 3691 */
}, uid_cmds[] = {
	{ "COPY",	 IN_SELECTED,	TELL_ALL,		cmd_copy },
	{ "FETCH",	 IN_SELECTED,	TELL_ALL,		cmd_fetch },
	{ "SEARCH",	 IN_SELECTED,	TELL_ALL,		cmd_search },
	{ "STORE",	 IN_SELECTED,	TELL_ALL,		cmd_store },
	{ "EXPUNGE",	 IN_SELECTED,	TELL_ALL,		cmd_uid_expunge },	/* RFC 4315 */
	{ "MOVE",	 IN_SELECTED,	TELL_ALL,		cmd_move },
	{ "REPLACE",	 IN_SELECTED,	TELL_ALL,		cmd_replace },
	{ "SORT",	 IN_SELECTED,	TELL_ALL,		cmd_sort },
	{ "THREAD",	 IN_SELECTED,	TELL_ALL,		cmd_thread },
};

const struct imap_cmd *
imap_cmd_find(struct slice verb, bool uid)
{
	const struct imap_cmd *table = uid ? uid_cmds : cmds;
	size_t n = uid ? LEN(uid_cmds) : LEN(cmds);

	for (size_t i = 0; i < n; i++)
		if (slice_ieq(verb, table[i].verb))
			return &table[i];
	return NULL;
}
