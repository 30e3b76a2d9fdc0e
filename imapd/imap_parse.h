/*
 * imap_parse: the octets of one command into values (RFC 3501 section 9).
 *
 * Input is a whole command as imap_input collected it: the line, and each
 * literal in its place behind "{n}" CRLF.  Parsers take from the front of
 * in->rest; what they return are views into the command, or copies in the
 * pool where quoting had to be removed: good until the pool is cleared.
 * After a false, in->error says why in words fit for a BAD response; the rest
 * of the command is then of no use.  No sockets, files, clock or log here.
 */
#ifndef PP_IMAP_PARSE_H
#define PP_IMAP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "imap_pool.h"
#include "imap_set.h"
#include "slice.h"

struct imap_in {
	struct slice		 rest;	/* not parsed yet */
	struct imap_pool	*pool;	/* borrowed */
	const char		*error;	/* static text; NULL: no complaint so far */
	bool			 utf8;	/* mailbox names come in UTF-8 */
	struct slice		 said;	/* the mailbox name that was parsed last, as it came */
};

void imap_in_init(struct imap_in *in, struct slice command, struct imap_pool *pool);

/* Note the complaint unless there is one already; returns false. */
bool imap_in_error(struct imap_in *in, const char *text);

/* Is nothing left (but blanks)?  imap_parse_end() complains if not. */
bool imap_at_end(const struct imap_in *in);
bool imap_parse_end(struct imap_in *in);

/* Exactly one SP; exactly this octet. */
bool imap_parse_space(struct imap_in *in);
bool imap_parse_char(struct imap_in *in, char c);
/* Is c next?  Takes it if it is. */
bool imap_take_char(struct imap_in *in, char c);

/* tag: astring octets without '+', at most 255 of them. */
bool imap_parse_tag(struct imap_in *in, struct slice *out);
bool imap_parse_atom(struct imap_in *in, struct slice *out);
bool imap_parse_number(struct imap_in *in, uint64_t max, uint64_t *out);
bool imap_parse_nz_number(struct imap_in *in, uint32_t *out);

/* quoted or literal.  Octets above 127 are taken in both; NUL in neither. */
bool imap_parse_string(struct imap_in *in, struct slice *out);
bool imap_parse_astring(struct imap_in *in, struct slice *out);
/* "NIL" gives ptr == NULL. */
bool imap_parse_nstring(struct imap_in *in, struct slice *out);
/* The same, or literal8 "~{n}", which may hold any octets. */
bool imap_parse_nstring8(struct imap_in *in, struct slice *out);

/*
 * mailbox: an astring; any spelling of INBOX becomes "INBOX", and UTF-8 (in->utf8)
 * modified UTF-7.  What may be a
 * name at all is for the store to say (store_name_check()).
 */
bool imap_parse_mailbox(struct imap_in *in, struct slice *out);
/* list-mailbox: as an astring, but '%' and '*' may stand in an atom. */
bool imap_parse_list_mailbox(struct imap_in *in, struct slice *out);

bool imap_parse_set(struct imap_in *in, struct imap_set *out);

/* Flags: the system ones as bits, keywords by name. */
#define IMAP_SEEN	1u
#define IMAP_ANSWERED	2u
#define IMAP_FLAGGED	4u
#define IMAP_DELETED	8u
#define IMAP_DRAFT	16u
#define IMAP_KEYWORDS_MAX 64	/* in one command */
struct imap_flags {
	unsigned	 system;	/* IMAP_SEEN ... */
	struct slice	*keyword;	/* atoms */
	size_t		 keyword_n;
};
/* "(\Seen $Junk)"; \Recent and unknown \Flags are refused. */
bool imap_parse_flag_list(struct imap_in *in, struct imap_flags *out);
/* The same, or flags without parentheses (STORE). */
bool imap_parse_store_flags(struct imap_in *in, struct imap_flags *out);

/* date-time, in quotes: seconds since 1970. */
bool imap_parse_date_time(struct imap_in *in, int64_t *out);
/* date, with or without quotes: days since 1970-01-01. */
bool imap_parse_date(struct imap_in *in, int32_t *out);
/* Days since 1970-01-01 of a day in the calendar; month from 1. */
int64_t imap_days(int year, int month, int day);

/* What FETCH asks for. */
enum imap_att {
	ATT_UID			= 1 << 0,
	ATT_FLAGS		= 1 << 1,
	ATT_INTERNALDATE	= 1 << 2,
	ATT_RFC822_SIZE		= 1 << 3,
	ATT_ENVELOPE		= 1 << 4,
	ATT_BODY		= 1 << 5,	/* BODYSTRUCTURE without extension data */
	ATT_BODYSTRUCTURE	= 1 << 6,
	ATT_MODSEQ		= 1 << 7,	/* RFC 7162 */
	ATT_EMAILID		= 1 << 8,	/* RFC 8474 */
	ATT_THREADID		= 1 << 9,
	ATT_SAVEDATE		= 1 << 10,	/* RFC 8514 */
	ATT_PREVIEW		= 1 << 11,	/* RFC 8970; LAZY makes no difference */
};

enum imap_part { PART_ALL, PART_HEADER, PART_FIELDS, PART_FIELDS_NOT, PART_TEXT, PART_MIME };
enum imap_spelling {
	SPELL_BODY, SPELL_RFC822, SPELL_RFC822_HEADER, SPELL_RFC822_TEXT,
	SPELL_BINARY, SPELL_BINARY_SIZE,	/* RFC 3516: decoded, and how much that is */
};

#define IMAP_SECTIONS_MAX	256	/* body sections in one FETCH */
#define IMAP_SECTION_DEPTH	100	/* numbers in "1.2.3" */
#define IMAP_FIELDS_MAX		1000	/* names in HEADER.FIELDS */

struct imap_section {
	uint32_t		*number;	/* "1.2.3" */
	size_t			 number_n;
	enum imap_part		 part;
	struct slice		*field;		/* names of HEADER.FIELDS[.NOT] */
	size_t			 field_n;
	enum imap_spelling	 spelling;	/* how the client named it, and we answer */
	bool			 peek;		/* does not set \Seen */
	bool			 partial;
	uint64_t		 offset, count;	/* <offset.count> */
};

struct imap_fetch {
	unsigned		 atts;		/* enum imap_att */
	struct imap_section	*section;
	size_t			 section_n;
	/* Modifiers. */
	bool			 since;		/* CHANGEDSINCE, RFC 7162 */
	uint64_t		 changedsince;
	bool			 vanished;	/* VANISHED */
	bool			 partial;	/* PARTIAL, RFC 9394 */
	bool			 partial_back;
	uint32_t		 partial_first, partial_last;
};
/* The items; and, behind them, " (CHANGEDSINCE 5 VANISHED)" if there are modifiers. */
bool imap_parse_fetch(struct imap_in *in, struct imap_fetch *out);
bool imap_parse_fetch_modifiers(struct imap_in *in, struct imap_fetch *out);

/* mod-sequence-value: up to 63 bits. */
bool imap_parse_modseq(struct imap_in *in, uint64_t *out);

/* What may stand behind the mailbox in SELECT and EXAMINE (RFC 7162 sections 3.1.8 and 3.2.5). */
struct imap_select {
	bool		condstore;
	bool		qresync;
	uint32_t	uidvalidity;
	uint64_t	modseq;
	bool		known;		/* these UIDs are all that the client knows */
	struct imap_set	known_uids;
	bool		matched;	/* messages of these numbers had these UIDs */
	struct imap_set	match_seqs, match_uids;
};
/* " (CONDSTORE)", " (QRESYNC (...))", or nothing; to the end of the command. */
bool imap_parse_select(struct imap_in *in, struct imap_select *out);

/* SEARCH keys as a tree.  Depth and number are bounded. */
#define IMAP_SEARCH_DEPTH	50
#define IMAP_SEARCH_KEYS	4096

enum imap_key {
	KEY_ALL, KEY_AND, KEY_OR, KEY_NOT,
	KEY_SEQUENCE, KEY_UID,
	KEY_FLAG,				/* flags set, in .number */
	KEY_RECENT, KEY_KEYWORD,
	KEY_BEFORE, KEY_ON, KEY_SINCE,		/* INTERNALDATE, day in .day */
	KEY_SENTBEFORE, KEY_SENTON, KEY_SENTSINCE,
	KEY_SAVEDBEFORE, KEY_SAVEDON, KEY_SAVEDSINCE,	/* RFC 8514 */
	KEY_EMAILID,				/* RFC 8474: .text */
	KEY_MODSEQ,				/* RFC 7162: .number */
	KEY_NONE,				/* matches nothing */
	KEY_OLDER, KEY_YOUNGER,			/* RFC 5032: seconds in .number */
	KEY_LARGER, KEY_SMALLER,
	KEY_HEADER,				/* .field contains .text; FROM, SUBJECT ... too */
	KEY_BODY, KEY_TEXT,
};

struct mime_key;

struct imap_search {
	enum imap_key		 key;
	struct imap_search	*child;		/* AND, OR, NOT: the first */
	struct imap_search	*next;		/* brother */
	struct imap_set		 set;
	uint64_t		 number;	/* octets of LARGER; IMAP_SEEN ... of FLAG */
	int32_t			 day;
	struct slice		 field;		/* name of the header field */
	struct slice		 text;		/* what is looked for; keyword */
	/* Filled in by cmd_search.c before it runs. */
	struct mime_key		*match;		/* text, ready for comparison */
	unsigned		 cost;		/* how much of a message must be read */
	int			 keyword;	/* bit in the folder, -1: it has none such */
};

/* RETURN (...) of SEARCH and SORT: RFC 4731, RFC 5182, RFC 9394. */
enum imap_result_option {	/* bits */
	RESULT_MIN = 1, RESULT_MAX = 2, RESULT_COUNT = 4, RESULT_ALL = 8,
	RESULT_SAVE = 16, RESULT_PARTIAL = 32,
	RESULT_GIVEN = 64,	/* there was a RETURN; "()" is (ALL) */
};
struct imap_returns {
	unsigned	 bits;
	bool		 partial_back;			/* counted from the end: "-1:-100" */
	uint32_t	 partial_first, partial_last;	/* without their signs; first <= last */
};
/* "RETURN (...)" and a SP, if that is next. */
bool imap_parse_returns(struct imap_in *in, struct imap_returns *out);
/* "1:100", "-1:-100" of PARTIAL. */
bool imap_parse_partial(struct imap_in *in, bool *back, uint32_t *first, uint32_t *last);

struct imap_search_command {
	struct imap_returns	 returns;
	struct slice		 charset;	/* empty: none given */
	struct imap_search	*root;
};
/* [RETURN (...) SP] [CHARSET astring SP] key *(SP key), to the end of the command. */
bool imap_parse_search(struct imap_in *in, struct imap_search_command *out);
/* The keys alone. */
bool imap_parse_search_keys(struct imap_in *in, struct imap_search **out);

/* SORT: [RETURN (...) SP] "(" keys ")" SP charset SP search keys. */
enum imap_sort_by {
	SORT_ARRIVAL, SORT_CC, SORT_DATE, SORT_DISPLAYFROM, SORT_DISPLAYTO, SORT_FROM, SORT_SIZE, SORT_SUBJECT, SORT_TO,
	SORT_COUNT,
};
struct imap_sort_key {
	enum imap_sort_by	by;
	bool			reverse;
};
struct imap_sort_command {
	struct imap_sort_key		key[SORT_COUNT];	/* each kind once */
	size_t				n;
	struct imap_search_command	search;
};
bool imap_parse_sort(struct imap_in *in, struct imap_sort_command *out);

/* THREAD: algorithm SP charset SP search keys. */
struct imap_thread_command {
	bool				by_references;	/* else ORDEREDSUBJECT */
	struct imap_search_command	search;
};
bool imap_parse_thread(struct imap_in *in, struct imap_thread_command *out);

/*
 * The arguments of APPEND up to its message, which is streamed and not in the
 * command.  Used twice: while input still comes, to learn whether the literal
 * at the end is the message; and when it has been taken.
 */
struct imap_append {
	struct slice		mailbox;
	struct imap_flags	flags;
	bool			has_date;
	int64_t			date;		/* seconds since 1970 */
	bool			binary;		/* a literal8, "~{n}" (RFC 3516) */
	bool			utf8;		/* within UTF8 (...) (RFC 6855): a ')' comes behind it */
};
/*
 * in->rest begins behind "APPEND"; true: it ends in the literal that is the message.
 * _more: behind one message, with the next (RFC 3502); no mailbox then.
 */
bool imap_parse_append(struct imap_in *in, struct imap_append *out);
bool imap_parse_append_more(struct imap_in *in, struct imap_append *out);

/* The arguments of ID (RFC 2971): read, and forgotten. */
bool imap_parse_id(struct imap_in *in);

/* A literal's announcement at the end of a line: "{12}", "{12+}". */
struct imap_literal {
	uint64_t	octets;
	bool		nonsync;	/* LITERAL+: the client does not wait */
};
enum imap_literal_is { LITERAL_NONE, LITERAL_OK, LITERAL_OVERFLOW };
/* line: without its CRLF. */
enum imap_literal_is imap_parse_literal_end(struct slice line, struct imap_literal *out);

#endif
