/*
 * mime: what a message consists of.  A pure parser: bytes in, views out; no
 * files, clock, log or configuration (RFC 5322, 2045-2049, 2047, 2231, 6532).
 *
 * Works on a message in memory or mapped, with CRLF or LF line ends; sizes and
 * lines are counted as if every line ended in CRLF, which is what IMAP sends.
 * Nothing is copied: results are slices of the message, as written there;
 * functions that undo quoting or encoding append to a buf of the caller.
 *
 * Every input has a result, in linear time and bounded memory: what is beyond a
 * limit, or broken, is opaque (a part without parts; text as it is).
 */
#ifndef PP_MIME_H
#define PP_MIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "slice.h"

#define MIME_DEPTH_MAX		100	/* parts within parts; deeper ones are opaque */
#define MIME_PARTS_MAX		10000
#define MIME_HEADER_MAX		(1024 * 1024)	/* octets of one header that are looked at, rest skipped */
#define MIME_FIELDS_MAX		1000	/* fields of one header that are looked at */
#define MIME_ADDRESSES_MAX	10240	/* of one list */
#define MIME_PARAMS_MAX		128	/* of one field */
#define MIME_BOUNDARY_MAX	200	/* octets; RFC 2046 allows 70 */

/* ---- header fields ---- */

struct mime_field {
	struct slice	name;	/* without ':' and blanks before it */
	struct slice	value;	/* after ':'; folded as it stands, without blanks and line ends around it */
	struct slice	raw;	/* the whole field, line ends included */
};

/*
 * Take the next field off the front of *header (a header block, with or without
 * the empty line that ends it).  Lines that are no field (no ':', bad name) are
 * skipped, but come as raw with an empty name if `bad` is true, so that all raw
 * together are the block without its empty line.  False at the end.
 */
bool mime_field_next(struct slice *header, bool bad, struct mime_field *out);

/* The first field of that name (ASCII case aside), within the limits. */
bool mime_field_find(struct slice header, const char *name, struct mime_field *out);

/* Append value unfolded: line ends go, NUL and bare CR, LF become a space. */
bool mime_unfold(struct slice value, struct buf *out);

/* Split a message: header (with the empty line, if there is one) and body. */
void mime_split(struct slice message, struct slice *header, struct slice *body);

/* Octets and lines of a text when every line ends in CRLF (a last line without end counts as a line). */
struct mime_size {
	uint64_t	octets;
	uint64_t	lines;
};
struct mime_size mime_measure(struct slice text);

/* ---- the tree of parts ---- */

enum mime_encoding { MIME_7BIT, MIME_8BIT, MIME_BINARY, MIME_QUOTED_PRINTABLE, MIME_BASE64, MIME_OTHER };
enum mime_kind { MIME_LEAF, MIME_MULTIPART, MIME_MESSAGE };

#define MIME_NONE	UINT32_MAX	/* no such part */

struct mime_part {
	enum mime_kind	 kind;		/* MULTIPART: it has parts; MESSAGE: message/rfc822 or
					 * message/global whose content was parsed: its one child is
					 * that message.  What says it is such a thing in type and
					 * subtype but has no boundary, no part, an encoding, or is
					 * beyond a limit, is a LEAF. */
	uint32_t	 parent, child, next;	/* indexes, or MIME_NONE */
	uint16_t	 depth;
	enum mime_encoding encoding;
	struct slice	 header;	/* of this part, with its empty line; root: of the message */
	struct slice	 body;		/* without the line end before the boundary */
	struct mime_size body_size;	/* as CRLF */
	uint64_t	 header_octets;	/* as CRLF */

	/* Of Content-Type, checked; defaults filled in: text/plain, and
	 * message/rfc822 inside multipart/digest. */
	struct slice	 type, subtype;
	struct slice	 type_params;	/* what follows type/subtype, for mime_param_next() */
	/* Values of the fields as written (folded), empty ptr == NULL if absent. */
	struct slice	 transfer_encoding;	/* trimmed token, "7BIT" if absent or no token */
	struct slice	 id, description, md5, location;
	struct slice	 disposition;	/* the token, or NULL */
	struct slice	 disposition_params;
	struct slice	 language;	/* as written: tags between commas, mime_language_next() */
};

struct mime {
	struct slice	  message;
	struct mime_part *part;		/* part[0] is the message itself; in the order of the text */
	uint32_t	  n;
	bool		  limited;	/* a limit was met: something is opaque */
};

/* False only when there is no memory (nothing to free then).  The message must outlive *m. */
bool mime_parse(struct slice message, struct mime *m);
void mime_clear(struct mime *m);

/*
 * The part that IMAP calls path[0].path[1]... (RFC 3501 section 6.4.5: a message
 * that is no multipart has itself as part 1), or MIME_NONE.
 *	BODY[path]		part.body
 *	BODY[path.MIME]		part.header
 *	BODY[path.HEADER]	of a MIME_MESSAGE: its child's header
 *	BODY[path.TEXT]		of a MIME_MESSAGE: its child's body
 * n = 0: the root (BODY[HEADER] its header, BODY[TEXT] its body).
 */
uint32_t mime_part_at(const struct mime *m, const uint32_t *path, size_t n);

/*
 * Parameters, in their order, as written: name*0* and the like are not joined
 * (BODYSTRUCTURE gives them so).  Take the next off *rest; value is raw,
 * mime_unquote() it.  False at the end, or at what cannot be read.  The caller
 * stops after MIME_PARAMS_MAX.
 */
bool mime_param_next(struct slice *rest, struct slice *name, struct slice *value);
/* Append a token or quoted-string without quotes, backslashes, line ends; NUL is left out. */
bool mime_unquote(struct slice value, struct buf *out);
/* A parameter as UTF-8, RFC 2231 and (as many write it) RFC 2047 undone; false if absent. */
bool mime_param_utf8(struct slice params, const char *name, struct buf *out);
/* The tags of Content-Language, one by one. */
bool mime_language_next(struct slice *rest, struct slice *tag);

/* ---- envelope ---- */

struct mime_envelope {	/* values as written, folded; ptr == NULL if absent.  The first of each name. */
	struct slice	date, subject, from, sender, reply_to, to, cc, bcc, in_reply_to, message_id;
};
void mime_envelope(struct slice header, struct mime_envelope *out);

enum mime_address_kind { MIME_MAILBOX, MIME_GROUP, MIME_GROUP_END };

/*
 * One element of an address list (RFC 5322 sections 3.4 and 4.4, comments and
 * obsolete forms included, garbage made the best of).  The slices are good until
 * the next call; quotes, folding and comments are removed; encoded-words stay.
 * NIL is ptr == NULL, as in IMAP's ENVELOPE (RFC 3501 section 7.4.2):
 *	MAILBOX		name (display name, or a comment after it), route, local, domain
 *			(domain is "" when there is none: send it as such, not NIL)
 *	GROUP		name; IMAP: (NIL NIL name NIL)
 *	GROUP_END	IMAP: (NIL NIL NIL NIL)
 */
struct mime_address {
	enum mime_address_kind	kind;
	struct slice		name, route, local, domain;
};
struct mime_addresses {		/* private but for the caller's allocation */
	struct slice	rest;
	struct buf	text;		/* of the element at hand */
	size_t		count;
	bool		in_group;
};
void mime_addresses_init(struct mime_addresses *it, struct slice value);
bool mime_addresses_next(struct mime_addresses *it, struct mime_address *out);
void mime_addresses_clear(struct mime_addresses *it);

/* Date: of a header (RFC 5322 section 3.3 and 4.3): seconds since 1970 UTC, and the
 * zone in minutes as written (SENTON compares the written day).  False if none. */
struct mime_date {
	int64_t	utc;
	int	zone_min;
};
bool mime_date(struct slice value, struct mime_date *out);

/* ---- decoding ---- */

/* Undo a transfer encoding: append the octets of text.  Broken input is decoded as
 * far as it makes sense.  False only when out is full. */
bool mime_decode(enum mime_encoding encoding, struct slice text, struct buf *out);

/*
 * Charsets.  glibc loads a converter from disk when it first meets a charset; a
 * confined process cannot.  So call this once before confining (in imapd's parent,
 * whose children share it): it opens those mail is written in.  Without it only
 * UTF-8, US-ASCII and ISO-8859-1 are known.
 */
void mime_charsets_open(void);
void mime_charsets_close(void);

/* Append text as UTF-8; octets that mean nothing in it become U+FFFD.  False if the
 * charset is not known (nothing is appended) or out is full. */
bool mime_to_utf8(struct slice charset, struct slice text, struct buf *out);
/* Is the charset known (SEARCH CHARSET, [BADCHARSET])? */
bool mime_charset_known(struct slice charset);

/* A field's value for people: unfolded, encoded-words (RFC 2047) undone; UTF-8. */
bool mime_value_utf8(struct slice value, struct buf *out);

/* ---- comparing ---- */

/*
 * Append what i;unicode-casemap (RFC 5051, I18NLEVEL=1 of RFC 5255) makes of
 * UTF-8: texts are in the order of the octets of their keys, and equal without
 * regard to case when the keys are.
 */
bool mime_collation_key(struct slice utf8, struct buf *out);

/*
 * Append the base subject of a Subject's value, as UTF-8 (RFC 5256 section 2.1):
 * without "Re:", "[list]", "(fwd)" and their like.  reply: it is one, or was
 * forwarded.  The first 4096 octets decide.
 */
bool mime_base_subject(struct slice value, struct buf *out, bool *reply);

/* ---- search ---- */

/*
 * A text to look for: UTF-8, compared without case as i;unicode-casemap does.
 * An empty key is in everything.
 */
struct mime_key {
	char	*text;		/* folded; owned */
	size_t	 len;
};
bool mime_key_init(struct mime_key *key, struct slice utf8);	/* false: no memory, or not UTF-8 */
void mime_key_clear(struct mime_key *key);

/* Is it in this UTF-8 text? */
bool mime_match(const struct mime_key *key, struct slice utf8);
/* In the decoded value of a field of this name (all of that name). */
bool mime_match_field(const struct mime_key *key, struct slice header, struct slice name);
/* In the header's fields, decoded (name: value), whichever. */
bool mime_match_header(const struct mime_key *key, struct slice header);
/* In a text part of the body (and with all headers of inner parts), decoded and
 * converted: SEARCH BODY.  TEXT is mime_match_header() of the root, or this. */
bool mime_match_body(const struct mime_key *key, const struct mime *m);

#endif
