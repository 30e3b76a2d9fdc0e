#include "accounts_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "aliases.h"

#define SHOWN(s) (int)((s).len < 60 ? (s).len : 60), (s).ptr

static enum account_next __attribute__((format(printf, 4, 5)))
finding(struct account_error *e, enum account_next kind, unsigned line, const char *fmt, ...)
{
	va_list ap;

	e->line = line;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	for (char *p = e->text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return kind;
}

void
accounts_file_init(struct accounts_file *f, struct slice text, struct slice domain)
{
	*f = (struct accounts_file){ .rest = text, .line = 1, .domain = domain };
}

bool
account_local_valid(struct slice local)
{
	if (local.len == 0 || local.len > ADDR_LOCAL_MAX || strchr(".#\"", local.ptr[0]) != NULL)
		return false;
	for (size_t i = 0; i < local.len; i++) {
		unsigned char c = (unsigned char)local.ptr[i];

		if (c <= ' ' || c == 0x7f || strchr("/\\:*|\"", c) != NULL)
			return false;
	}
	return true;
}

bool
account_quota_parse(struct slice text, uint64_t *out)
{
	static const char unit[] = "KMGT";
	const char *found;
	unsigned shift = 0;
	uint64_t n;

	if (text.len > 1 && (text.ptr[text.len - 1] == 'B' || text.ptr[text.len - 1] == 'b') &&
	    !(text.ptr[text.len - 2] >= '0' && text.ptr[text.len - 2] <= '9'))
		text.len--;	/* MB, GB */
	if (text.len > 0) {
		char c = text.ptr[text.len - 1];

		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		found = c == '\0' ? NULL : strchr(unit, c);
		if (found != NULL) {
			shift = 10 * (unsigned)(found - unit + 1);
			text.len--;
		}
	}
	if (!slice_number(text, UINT64_MAX >> shift, &n))
		return false;
	*out = n << shift;
	return true;
}

/* Dovecot counts K when there is no unit: "*:storage=500M", "*:bytes=1000", "*". */
static bool
quota_rule(struct slice rule, uint64_t *out)
{
	uint64_t n;

	(void)slice_prefix(&rule, "*:");
	if (slice_prefix(&rule, "storage=")) {
		if (slice_number(rule, UINT64_MAX >> 10, &n)) {
			*out = n << 10;
			return true;
		}
		return account_quota_parse(rule, out);
	}
	return slice_prefix(&rule, "bytes=") && account_quota_parse(rule, out);
}

/* One word of the options or of Dovecot's extra field. */
static enum account_next
take_option(struct slice word, struct account *a, struct account_error *e)
{
	struct slice value = word;

	if (slice_is(word, "disabled")) {
		a->disabled = true;
		return ACCOUNT_GOT;
	}
	if (slice_prefix(&value, "quota=")) {
		if (account_quota_parse(value, &a->quota))
			return ACCOUNT_GOT;
		return finding(e, ACCOUNT_ERROR, a->line, "quota '%.*s'; write a number with K, M, G or T, quota=500M",
		    SHOWN(value));
	}
	if (slice_prefix(&value, "userdb_quota_rule=")) {
		if (quota_rule(value, &a->quota))
			return ACCOUNT_GOT;
		return finding(e, ACCOUNT_ERROR, a->line, "'%.*s'; write userdb_quota_rule=*:storage=500M", SHOWN(word));
	}
	if (slice_prefix(&value, "allow_nets="))
		return finding(e, ACCOUNT_ERROR, a->line, "allow_nets= is not there yet, and leaving it out would let "
		    "more in than was meant; remove it if that is what you want");
	if (slice_is(word, "nologin") || slice_is(word, "nologin=y") || slice_is(word, "nologin=yes")) {
		a->disabled = true;
		return ACCOUNT_GOT;
	}
	return finding(e, ACCOUNT_WARNING, a->line, "option '%.*s' is not known and not used; "
	    "known are quota=SIZE and disabled", SHOWN(word));
}

static enum account_next
take_options(struct slice text, struct account *a, struct account_error *e)
{
	enum account_next result = ACCOUNT_GOT, next;

	for (size_t i = 0; i < text.len; ) {
		size_t end = i;

		while (end < text.len && text.ptr[end] != ' ' && text.ptr[end] != '\t' && text.ptr[end] != ',')
			end++;
		if (end > i) {
			next = take_option(slice_sub(text, i, end - i), a, e);
			if (next == ACCOUNT_ERROR)
				return next;
			if (next == ACCOUNT_WARNING)
				result = next;
		}
		i = end + 1;
	}
	return result;
}

/* {SCHEME}hash, or the hash alone.  "", "!", "*" and "!hash": no password fits. */
static enum account_next
take_hash(struct slice field, struct account *a, struct account_error *e)
{
	static const char *const crypt_schemes[] = {
		"CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "MD5-CRYPT", "YESCRYPT", "SCRYPT"
	};
	struct slice hash = field, scheme;

	a->hash = SLICE("");
	if (field.len == 0 || field.ptr[0] == '!' || field.ptr[0] == '*' || slice_is(field, "x"))
		return ACCOUNT_GOT;
	if (hash.ptr[0] == '{') {
		bool known = false;

		hash = slice_sub(hash, 1, hash.len);
		scheme = slice_cut(&hash, '}');
		for (size_t i = 0; i < LEN(crypt_schemes); i++)
			known |= slice_ieq(scheme, crypt_schemes[i]);
		if (!known)
			return finding(e, ACCOUNT_ERROR, a->line, "scheme {%.*s} is not taken, only hashes of crypt(5); "
			    "set a new password: pennypost user passwd %s", SHOWN(scheme), a->addr.text);
	}
	for (size_t i = 0; i < hash.len; i++)
		if (hash.ptr[i] <= ' ' || hash.ptr[i] > '~')
			return finding(e, ACCOUNT_ERROR, a->line, "the hash holds a blank or a character outside ASCII");
	if (hash.len > ACCOUNT_HASH_MAX || hash.len < 13 || (hash.ptr[0] != '$' && hash.ptr[0] != '_' && hash.len != 13))
		return finding(e, ACCOUNT_ERROR, a->line, "the second field is no hash of crypt(5); "
		    "set the password with: pennypost user passwd %s", a->addr.text);
	a->hash = hash;
	return ACCOUNT_GOT;
}

static enum account_next
take_user(struct slice user, struct slice domain, struct account *a, struct account_error *e)
{
	if (!alias_address(user, domain, &a->addr))
		return finding(e, ACCOUNT_ERROR, a->line, "'%.*s' is no mail address; write a local part such as alice",
		    SHOWN(user));
	if (!slice_eq(addr_domain(&a->addr), domain))
		return finding(e, ACCOUNT_ERROR, a->line, "'%.*s' is of another domain; it belongs in the file of that domain",
		    SHOWN(user));
	if (!account_local_valid(addr_local(&a->addr)))
		return finding(e, ACCOUNT_ERROR, a->line, "'%.*s' cannot be the name of a mailbox: no '/', ':', '*', blanks, "
		    "quotes, and no '.' in front", SHOWN(user));
	return ACCOUNT_GOT;
}

static bool
is_number_or_empty(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return false;
	return true;
}

static enum account_next
parse_line(struct slice line, struct slice domain, struct account *out, struct account_error *e)
{
	struct slice rest = line, user, hash;
	enum account_next next;
	size_t fields = 1;

	for (size_t i = 0; i < line.len; i++) {
		if (line.ptr[i] == '\0' || (line.ptr[i] != '\t' && (unsigned char)line.ptr[i] < ' '))
			return finding(e, ACCOUNT_ERROR, out->line, "a control character; remove it");
		fields += line.ptr[i] == ':';
	}
	user = slice_trim(slice_cut(&rest, ':'));
	hash = slice_trim(slice_cut(&rest, ':'));
	next = take_user(user, domain, out, e);
	if (next != ACCOUNT_GOT)
		return next;
	next = take_hash(hash, out, e);
	if (next != ACCOUNT_GOT)
		return next;
	if (fields < 4 && !is_number_or_empty(rest))
		return take_options(rest, out, e);
	for (int skip = 0; skip < 5; skip++)	/* uid gid gecos home shell */
		(void)slice_cut(&rest, ':');
	return take_options(rest, out, e);
}

enum account_next
accounts_file_next(struct accounts_file *f, struct account *out, struct account_error *e)
{
	struct slice line;

	while (f->rest.len > 0) {
		*out = (struct account){ .line = f->line++ };
		line = slice_trim(slice_cut(&f->rest, '\n'));
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		if (line.len > ACCOUNT_LINE_MAX)
			return finding(e, ACCOUNT_ERROR, out->line, "a line of %zu octets; the limit is %d",
			    line.len, ACCOUNT_LINE_MAX);
		return parse_line(line, f->domain, out, e);
	}
	return ACCOUNT_END;
}

bool
account_line_print(struct buf *out, struct slice local, struct slice hash, uint64_t quota, bool disabled)
{
	static const struct { uint64_t size; char unit; } units[] = {
		{ (uint64_t)1 << 40, 'T' }, { 1 << 30, 'G' }, { 1 << 20, 'M' }, { 1 << 10, 'K' },
	};
	size_t i = 0;

	(void)buf_slice(out, local);
	(void)buf_char(out, ':');
	(void)buf_slice(out, hash);
	if (quota != 0 || disabled)
		(void)buf_char(out, ':');
	if (quota != 0) {
		while (i < LEN(units) && quota % units[i].size != 0)
			i++;
		if (i < LEN(units))
			(void)buf_fmt(out, "quota=%llu%c", (unsigned long long)(quota / units[i].size), units[i].unit);
		else
			(void)buf_fmt(out, "quota=%llu", (unsigned long long)quota);
	}
	if (disabled)
		(void)buf_text(out, quota != 0 ? " disabled" : "disabled");
	return buf_char(out, '\n');
}
