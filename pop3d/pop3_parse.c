/* pop3_parse: see the header. */
#include "pop3d/pop3_parse.h"

#define VERB_MIN	3	/* TOP */
#define VERB_MAX	8

size_t
pop3_parse_line(struct slice data, struct slice *line)
{
	size_t end = slice_find(data, '\n');

	if (end == data.len)
		return 0;
	*line = slice_sub(data, 0, end);
	if (line->len != 0 && line->ptr[line->len - 1] == '\r')
		line->len--;
	return end + 1;
}

static bool
is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool
pop3_parse_command(struct slice line, struct slice *verb, struct slice *args)
{
	for (size_t i = 0; i < line.len; i++) {
		unsigned char c = (unsigned char)line.ptr[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	*args = line;
	*verb = slice_cut(args, ' ');
	if (verb->len < VERB_MIN || verb->len > VERB_MAX)
		return false;
	for (size_t i = 0; i < verb->len; i++)
		if (!is_letter(verb->ptr[i]))
			return false;
	return true;
}

bool
pop3_parse_number(struct slice *args, uint32_t *number)
{
	struct slice rest = *args, digits = slice_cut(&rest, ' ');
	uint64_t n;

	if (!slice_number(digits, UINT32_MAX, &n))
		return false;
	while (rest.len != 0 && rest.ptr[0] == ' ')
		rest = slice_sub(rest, 1, rest.len);
	*number = (uint32_t)n;
	*args = rest;
	return true;
}
