/*
 * aliases: the grammar of aliases(5), of :include: files and of ~/.forward
 * (CONVENTIONS.md section 3, pennypost-aliases(5)).  Pure: text in, values out.
 *
 * Every mistake is reported with its line and with what to write instead;
 * reading goes on after it, so that one run finds all of them.
 */
#ifndef PP_ALIASES_H
#define PP_ALIASES_H

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"
#include "buf.h"
#include "routes.h"
#include "slice.h"

#define ALIAS_NAME_MAX	64	/* octets: it is a local part */
#define ALIAS_VALUE_MAX	280	/* octets of one value: with a user in front it has to fit a recipient */
#define ALIAS_LINE_MAX	(1024 * 1024)	/* octets of one entry with its continuation lines */

enum alias_next { ALIAS_GOT, ALIAS_ERROR, ALIAS_END };

/* What is wrong, in words for the person who wrote the line. */
struct alias_error {
	unsigned	line;
	char		text[300];
};

/* A list of values; start with alias_list_init(). */
struct alias_list {
	struct slice	rest;
	unsigned	line;	/* of the next octet */
	bool		lines;	/* a new line ends a value, # begins a comment line */
};

struct alias_value {
	enum target_kind kind;
	unsigned	 line;
	/*
	 * TARGET_ADDRESS, TARGET_LOCAL_FINAL (without the '\'): a mailbox or a
	 * bare local part, not checked yet (alias_address()); TARGET_FILE: an
	 * absolute path, with a '/' at its end a Maildir; TARGET_COMMAND: program
	 * and arguments without the '|'; TARGET_INCLUDE: an absolute path.
	 */
	struct buf	 text;
};

/* text: values behind the colon (lines false), or a whole :include: or .forward file (lines true). */
void alias_list_init(struct alias_list *l, struct slice text, unsigned line, bool lines);

/*
 * The next value.  out->text must be a buf of the caller, it is overwritten.
 * ALIAS_ERROR: *e says what; the value is skipped and the next call goes on.
 */
enum alias_next alias_list_next(struct alias_list *l, struct alias_value *out, struct alias_error *e);

/* An aliases(5) file, entry by entry. */
struct aliases {
	struct slice	rest;
	unsigned	line;
	struct buf	logical;	/* the entry with its continuation lines */
};
struct alias_entry {
	char		 name[ALIAS_NAME_MAX + 256];	/* as written, without quotes: a local part or an address */
	unsigned	 line;
	size_t		 octets;	/* of the right-hand side, as newaliases counts them */
	struct alias_list values;	/* good until the next aliases_next() */
};

void aliases_init(struct aliases *a, struct slice text);
void aliases_clear(struct aliases *a);
enum alias_next aliases_next(struct aliases *a, struct alias_entry *out, struct alias_error *e);

/*
 * Complete text with @domain if it is a bare local part (quoted where needed),
 * check it and fold it.  False if that gives no address.
 */
bool alias_address(struct slice text, struct slice domain, struct addr *out);

/* May this +detail be part of a file name (.forward+DETAIL)?  Letters, digits, and - _ = . not in front. */
bool alias_detail_safe(struct slice detail);

/*
 * Split the text of a TARGET_COMMAND into words, without a shell: blanks
 * separate; '...' and "..." group; a backslash takes the next octet as it is
 * (not inside '...').  Nothing is expanded.  argv gets pointers into words
 * (which is filled with NUL-terminated strings) and a NULL at its end.
 * False: an unbalanced quote, too many words, or a first word that is no
 * absolute path.
 */
#define ALIAS_ARGV_MAX 64
bool alias_command_split(struct slice command, struct buf *words, const char *argv[ALIAS_ARGV_MAX + 1]);

#endif
