#include "addr.h"

#include <string.h>

static bool
is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* atext, RFC 5322 section 3.2.3. */
static bool
is_atext(char c)
{
	return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Dot-string, RFC 5321 section 4.1.2: octets of s up to the first that does not fit. */
static size_t
dot_string(struct slice s)
{
	size_t i = 0;
	bool atom = false;

	for (; i < s.len; i++) {
		if (is_atext(s.ptr[i]))
			atom = true;
		else if (s.ptr[i] == '.' && atom)
			atom = false;
		else
			break;
	}
	return atom ? i : 0;
}

/* Quoted-string: its octets, both quotes included; 0 if it is none.  Printable ASCII only. */
static size_t
quoted_string(struct slice s)
{
	if (s.len < 2 || s.ptr[0] != '"')
		return 0;
	for (size_t i = 1; i < s.len; i++) {
		if (s.ptr[i] == '"')
			return i == 1 ? 0 : i + 1;	/* "" names nobody */
		if (s.ptr[i] == '\\' && ++i == s.len)
			return 0;
		if (s.ptr[i] < ' ' || s.ptr[i] > '~')
			return 0;
	}
	return 0;
}

static bool
is_literal(struct slice s)
{
	if (s.len < 4 || s.ptr[0] != '[' || s.ptr[s.len - 1] != ']')
		return false;
	for (size_t i = 1; i < s.len - 1; i++)
		if (!is_alnum(s.ptr[i]) && s.ptr[i] != '.' && s.ptr[i] != ':' && s.ptr[i] != '-')
			return false;
	return true;
}

bool
addr_domain_valid(struct slice domain)
{
	if (domain.len == 0 || domain.len > ADDR_DOMAIN_MAX)
		return false;
	while (domain.len > 0) {
		bool more = slice_find(domain, '.') < domain.len;
		struct slice label = slice_cut(&domain, '.');

		if (label.len == 0 || label.len > 63 || (more && domain.len == 0) ||
		    label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
			return false;
		for (size_t i = 0; i < label.len; i++)
			if (!is_alnum(label.ptr[i]) && label.ptr[i] != '-' && label.ptr[i] != '_')
				return false;
	}
	return true;
}

bool
addr_parse(struct slice text, struct addr *out)
{
	struct slice domain;
	size_t local;

	addr_null(out);
	if (text.len > ADDR_MAX)
		return false;
	local = text.len > 0 && text.ptr[0] == '"' ? quoted_string(text) : dot_string(text);
	if (local == 0 || local > ADDR_LOCAL_MAX || local >= text.len || text.ptr[local] != '@')
		return false;
	domain = slice_sub(text, local + 1, text.len);
	if (!addr_domain_valid(domain) && !is_literal(domain))
		return false;
	if (!slice_text(text, out->text, sizeof(out->text)))
		return false;
	out->local_len = local;
	out->len = text.len;
	return true;
}

void
addr_null(struct addr *out)
{
	*out = (struct addr){ .len = 0 };
}

bool
addr_is_null(const struct addr *a)
{
	return a->len == 0;
}

struct slice
addr_local(const struct addr *a)
{
	return slice_make(a->text, a->local_len);
}

struct slice
addr_domain(const struct addr *a)
{
	if (a->len == 0)
		return slice_make(a->text, 0);
	return slice_make(a->text + a->local_len + 1, a->len - a->local_len - 1);
}

struct slice
addr_text(const struct addr *a)
{
	return slice_make(a->text, a->len);
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The content of a quoted local part that would do without quotes; 0 if it needs them. */
static size_t
unquoted(struct slice local, char out[ADDR_LOCAL_MAX])
{
	size_t n = 0;

	for (size_t i = 1; i + 1 < local.len; i++) {
		if (local.ptr[i] == '\\')
			i++;
		out[n++] = local.ptr[i];
	}
	return dot_string(slice_make(out, n)) == n ? n : 0;
}

void
addr_canonical(const struct addr *a, struct addr *out)
{
	char plain[ADDR_LOCAL_MAX];
	struct slice local = addr_local(a), domain = addr_domain(a);
	struct addr done = { .len = 0 };

	if (a->len == 0) {
		addr_null(out);
		return;
	}
	if (local.ptr[0] == '"') {
		size_t n = unquoted(local, plain);

		if (n > 0)
			local = slice_make(plain, n);
	}
	for (size_t i = 0; i < local.len; i++)
		done.text[done.len++] = lower(local.ptr[i]);
	done.local_len = done.len;
	done.text[done.len++] = '@';
	for (size_t i = 0; i < domain.len; i++)
		done.text[done.len++] = lower(domain.ptr[i]);
	*out = done;
}

bool
addr_same(const struct addr *a, const struct addr *b)
{
	struct addr x, y;

	addr_canonical(a, &x);
	addr_canonical(b, &y);
	return slice_eq(addr_text(&x), addr_text(&y));
}

bool
addr_detail(const struct addr *a, struct addr *base, struct slice *detail)
{
	struct slice local = addr_local(a);
	size_t plus;

	if (local.len < 2 || local.ptr[0] == '"')
		return false;
	plus = 1 + slice_find(slice_sub(local, 1, local.len), '+');
	if (plus >= local.len || dot_string(slice_sub(local, 0, plus)) != plus)	/* "a.+b": no address without it */
		return false;
	*detail = slice_sub(local, plus + 1, local.len);
	*base = (struct addr){ .local_len = plus, .len = a->len - (local.len - plus) };
	memcpy(base->text, local.ptr, plus);
	memcpy(base->text + plus, a->text + a->local_len, a->len - a->local_len);
	return true;
}
