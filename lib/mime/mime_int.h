/*
 * mime_int.h: what the files of lib/mime share.  Nobody else includes it.
 *
 *	mime_header.c	fields, unfolding, envelope
 *	mime_tree.c	the parts of a message
 *	mime_param.c	parameters of Content-Type and Content-Disposition
 *	mime_address.c	address lists
 *	mime_date.c	Date:
 *	mime_decode.c	base64, quoted-printable
 *	mime_charset.c	to UTF-8
 *	mime_word.c	encoded-words
 *	mime_casemap.c	comparing without case
 *	mime_subject.c	subjects without Re: and the like
 *	mime_search.c	looking for text in all of these
 */
#ifndef PP_MIME_INT_H
#define PP_MIME_INT_H

#include "mime.h"

/* RFC 2045 token characters. */
bool mime_is_token(unsigned char c);

/* Skip blanks, line ends and comments (nested, quoted pairs); comment, if not NULL,
 * gets the inside of the last one. */
void mime_skip_cfws(struct slice *s, struct slice *comment);

/* A token off the front; empty if there is none. */
struct slice mime_take_token(struct slice *s);

/* ---- decoding in pieces ---- */

/* Both may be given a text in pieces that end anywhere (base64) or after a line end (QP). */
struct mime_base64 {
	uint32_t	bits;
	unsigned	bit_n;
};
bool mime_base64_put(struct mime_base64 *state, struct slice text, struct buf *out);
bool mime_qp_put(struct slice text, bool header, struct buf *out);	/* header: RFC 2047 "Q" */

/* Value of a hexadecimal digit, or -1. */
int mime_hex(char c);

/* A charset's converter with its state between pieces. */
struct mime_converter {
	int	 kind;
	void	*cd;		/* iconv_t, borrowed from the table: one user at a time */
	char	 carry[16];	/* octets of a character that is not whole yet */
	size_t	 carry_n;
};
bool mime_converter_init(struct mime_converter *c, struct slice charset);
/* last: nothing follows; what is left is no character. */
bool mime_converter_put(struct mime_converter *c, struct slice text, bool last, struct buf *out);

/*
 * UTF-8 in, UTF-8 out (only whole characters are given): title case, then
 * decomposed as far as it goes, as RFC 5051 says.  lower: with ASCII letters
 * small, which is as good for finding and does not touch most text.
 */
bool mime_casemap(struct slice utf8, bool lower, struct buf *out);

#endif
