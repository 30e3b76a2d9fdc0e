/*
 * imap_input: cuts the octets of a connection into commands.
 *
 * A command is a line and the literals in it, collected in one piece of text
 * that the parsers read ("a LOGIN {5}" CRLF "alice {6}" CRLF "secret").  What
 * is too large is skipped in bounded memory, not collected, and reported when
 * its end is reached.  The message of an APPEND is not collected either: it is
 * handed on piece by piece.  Pure: no sockets, files, clock or log.
 */
#ifndef PP_IMAP_INPUT_H
#define PP_IMAP_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "imap_parse.h"
#include "slice.h"

struct imap_input_limits {
	size_t		line;		/* octets of a command without its literals */
	size_t		literal;	/* octets of one literal */
	size_t		command;	/* octets of all of it */
	uint64_t	skip;		/* a refused literal that is sent nevertheless (LITERAL+) is skipped up to this size */
};

enum imap_input_event {
	INPUT_MORE,	/* no more is to be had from this data */
	INPUT_COMMAND,	/* in->text is a whole command, without its last CRLF */
	INPUT_LITERAL,	/* in->text ends in a literal's announcement (in->literal): call take, stream or refuse */
	INPUT_CHUNK,	/* octets of a streamed literal: in->chunk, a view into the data */
	INPUT_BAD,	/* a command was refused: in->error; in->text still begins with its tag */
	INPUT_CLOSE,	/* there is no way to go on with this client: in->error */
};

enum imap_input_state {
	READ_LINE, READ_ASKED, READ_LITERAL, READ_STREAM, READ_REFUSED, READ_CLOSED,
	SKIP_LINE, SKIP_LITERAL,
};

#define IMAP_INPUT_TAIL 32	/* enough for the longest "{n+}" CRLF */

struct imap_input {
	struct imap_input_limits limits;
	struct buf		 text;
	struct imap_literal	 literal;	/* the last announced */
	struct slice		 chunk;
	const char		*error;		/* static text */
	/* private */
	enum imap_input_state	 state;
	size_t			 line_at;	/* where in text the line being read begins */
	size_t			 literals;	/* octets of literals in text */
	uint64_t		 left;		/* octets of the literal still to come */
	char			 tail[IMAP_INPUT_TAIL];	/* end of a line that is skipped */
	size_t			 tail_len;
};

void imap_input_init(struct imap_input *in, const struct imap_input_limits *limits);
void imap_input_clear(struct imap_input *in);

/* Take octets off the front of *data until something has happened. */
enum imap_input_event imap_input_next(struct imap_input *in, struct slice *data);

/*
 * Answers to INPUT_LITERAL.  take: collect it; false if it is over a limit:
 * it is then refused, with INPUT_BAD or INPUT_CLOSE to come.  stream: hand it
 * on as INPUT_CHUNKs (none for an empty one); what follows it is collected
 * from in->line_at on.  When the literal is to come and is not nonsync, the
 * caller sends the "+".
 */
bool imap_input_take(struct imap_input *in);
void imap_input_stream(struct imap_input *in);
void imap_input_refuse(struct imap_input *in, const char *error);

/* Octets of a streamed literal that are still to come. */
uint64_t imap_input_left(const struct imap_input *in);

/* After INPUT_COMMAND and INPUT_BAD: forget the command and be ready for the next. */
void imap_input_reset(struct imap_input *in);

/* Is a command begun and not whole?  Is it one that is too large, and being skipped? */
bool imap_input_begun(const struct imap_input *in);
bool imap_input_skipping(const struct imap_input *in);

#endif
