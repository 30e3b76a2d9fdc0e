/*
 * addr: a checked mail address, local-part@domain (RFC 5321 section 4.1.2).
 *
 * Text that might be an address is a struct slice; a struct addr is valid:
 * no control octets, no NUL, lengths within 4.5.3.1 (local part 64, domain
 * 255, whole 254), the domain a host name or an address literal.
 */
#ifndef PP_ADDR_H
#define PP_ADDR_H

#include <stdbool.h>

#include "slice.h"

#define ADDR_LOCAL_MAX	64
#define ADDR_DOMAIN_MAX	255
#define ADDR_MAX	254	/* octets of the whole, without NUL */

struct addr {
	char	text[ADDR_MAX + 1];	/* as given; "" is the null sender */
	size_t	local_len;		/* octets before the '@' */
	size_t	len;			/* octets of the whole */
};

/*
 * Parse a Mailbox: `local@domain`, quoted local parts included ("a b"@d), no
 * angle brackets, no source route, no blanks around.  False if it is none.
 */
bool addr_parse(struct slice text, struct addr *out);

/* The null reverse-path "<>". */
void addr_null(struct addr *out);
bool addr_is_null(const struct addr *a);

/* The parts as given; of the null sender both are empty. */
struct slice addr_local(const struct addr *a);
struct slice addr_domain(const struct addr *a);
struct slice addr_text(const struct addr *a);

/*
 * The form maps are keyed by: domain and local part in lower case (local
 * parts are folded, CONVENTIONS.md section 4), needless quotes removed.
 */
void addr_canonical(const struct addr *a, struct addr *out);

/* Canonical equality. */
bool addr_same(const struct addr *a, const struct addr *b);

/*
 * Split off a +detail at the first '+' that is not the first octet of the
 * local part: base gets the address without it; detail is a view into a.
 * False if there is none.
 */
bool addr_detail(const struct addr *a, struct addr *base, struct slice *detail);

/* Is this a valid Domain (host name of LDH labels; U-labels as UTF-8 are not yet)? */
bool addr_domain_valid(struct slice domain);

#endif
