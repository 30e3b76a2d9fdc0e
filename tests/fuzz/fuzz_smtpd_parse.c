/* Paths, parameters, xtext: views stay inside the line, nothing decodes to a control octet. */
#include <stdint.h>
#include <stdlib.h>

#include "smtpd/smtp_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
inside(struct slice view, struct slice line)
{
	if (view.len > 0 && (view.ptr < line.ptr || view.ptr + view.len > line.ptr + line.len))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice line = slice_make(data, size), args = line, path;
	struct smtp_param p;
	struct buf out;
	bool bad;

	buf_init(&out, 4096);
	if (smtp_parse_path(&args, &path)) {
		inside(path, line);
		inside(args, line);
		if (smtp_has_control(path))
			abort();
	}
	args = line;
	while (smtp_parse_param(&args, &p, &bad)) {
		inside(p.keyword, line);
		inside(p.value, line);
		buf_reset(&out);
		if (smtp_parse_xtext(p.value, &out) && smtp_has_control(buf_slice_of(&out)))
			abort();
	}
	(void)smtp_parse_helo(line);
	(void)smtp_is_http(line);
	buf_clear(&out);
	return 0;
}
