/*
 * imap_message: one message opened for FETCH or SEARCH: its text as it is
 * sent, and what lib/mime makes of it, found out when it is asked for.
 */
#ifndef PP_IMAP_MESSAGE_H
#define PP_IMAP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "imap_parse.h"
#include "mime/mime.h"
#include "slice.h"
#include "store/store.h"

struct imap_message {
	uint32_t		 uid;		/* 0: none is open */
	struct slice		 text;		/* all of it, with CRLF */
	struct slice		 header, body;
	struct store_content	 content;	/* owns the text */
	bool			 parsed;	/* mime is filled in */
	struct mime		 mime;
	struct buf		 binary;	/* a part decoded, for BINARY; kept while it is fetched by pieces */
	uint32_t		 binary_part;	/* which one + 1; 0: none */
};

/* Open a message of the view, closing another; the same one is kept as it is. */
enum store_error imap_message_open(struct imap_message *m, struct store_folder *f, uint32_t seq);
void imap_message_close(struct imap_message *m);

/* Its parts; NULL: no memory. */
const struct mime *imap_message_mime(struct imap_message *m);

/*
 * The octets of a body section, without regard to <partial>: a view into the
 * text, or into fields, where HEADER.FIELDS are put together.  False: there is
 * no such part (NIL).
 */
bool imap_message_section(struct imap_message *m, const struct imap_section *s, struct buf *fields, struct slice *out);

/*
 * BINARY[section] (RFC 3516): the part decoded; multipart, message and the whole
 * are as they are.  STORE_CANNOT: its encoding is not known; STORE_NONEXISTENT:
 * there is no such part.
 */
enum store_error imap_message_binary(struct imap_message *m, const struct imap_section *s, struct slice *out);
/* Can it be decoded, as far as can be seen without doing it? */
bool imap_message_decodable(struct imap_message *m, const struct imap_section *s);

/*
 * Header fields from the store's cache.  is_cached: may this section be there?  cached_section:
 * from there if it is; else the message is opened, if it is not yet.
 */
bool imap_message_is_cached(const struct imap_section *s);
bool imap_message_cached_section(struct imap_message *m, struct store_folder *f, uint32_t seq,
    const struct imap_section *s, struct buf *fields, struct slice *out);
/* A header that has the fields of this name: from the cache, or of the message, opened.  Good
 * until the next call for this view.  octets (may be NULL): what had to be read for it. */
enum store_error imap_message_header(struct imap_message *m, struct store_folder *f, uint32_t seq, struct slice name,
    struct slice *header, size_t *octets);

#endif
