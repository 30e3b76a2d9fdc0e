#include "auth_user.h"

#include <string.h>

static bool
is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool
allowed(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (!is_alnum(s.ptr[i]) && (s.ptr[i] == '\0' || strchr("!#$%&'+-=?^_~.@", s.ptr[i]) == NULL))
			return false;
	}
	return s.len > 0 && s.len <= ADDR_MAX;
}

bool
auth_user_parse(struct slice given, struct slice default_domain, struct addr *out)
{
	char text[ADDR_MAX + 1];
	struct addr as_given;

	if (!allowed(given))
		return false;
	if (slice_find(given, '@') == given.len) {
		if (given.len + 1 + default_domain.len > ADDR_MAX)
			return false;
		memcpy(text, given.ptr, given.len);
		text[given.len] = '@';
		memcpy(text + given.len + 1, default_domain.ptr, default_domain.len);
		given = slice_make(text, given.len + 1 + default_domain.len);
	}
	if (!addr_parse(given, &as_given) || addr_is_null(&as_given))
		return false;
	addr_canonical(&as_given, out);
	return true;
}

bool
auth_user_is_account(struct slice name)
{
	if (name.len == 0 || name.len > 32 || name.ptr[0] == '-' || name.ptr[0] == '.' ||
	    (name.ptr[0] >= '0' && name.ptr[0] <= '9'))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '.' && c != '-')
			return false;
	}
	return true;
}
