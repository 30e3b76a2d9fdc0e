#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistr.h>

#include "buf.h"

void
cli_say(const struct cli *c, const char *fmt, ...)
{
	va_list ap;

	(void)fflush(stdout);
	(void)fprintf(stderr, "%s: ", c->program);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
}

void
cli_errno(const struct cli *c, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	(void)fflush(stdout);
	(void)fprintf(stderr, "%s: ", c->program);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, ": %s\n", strerror(saved));
}

int
cli_usage(const struct cli *c, const char *usage)
{
	(void)fflush(stdout);
	(void)fprintf(c->help ? stdout : stderr, "usage: %s\n", usage);
	return c->help ? EX_OK : EX_USAGE;
}

size_t
cli_problems(const char *file, const struct conf_problems *problems)
{
	size_t errors = 0;

	(void)fflush(stdout);
	for (size_t i = 0; i < problems->n; i++) {
		const struct conf_problem *p = &problems->at[i];

		errors += !p->warning;
		if (file != NULL && p->line > 0)
			(void)fprintf(stderr, "%s:%d: ", file, p->line);
		else if (file != NULL)
			(void)fprintf(stderr, "%s: ", file);
		(void)fprintf(stderr, "%s%s\n", p->warning ? "warning: " : "", p->text);
	}
	return errors;
}

bool
cli_load(struct cli *c)
{
	struct conf_problems problems = { 0 };

	if (c->loaded)
		return true;
	c->loaded = conf_load(&c->conf, c->conf_file, &problems);
	if (!c->loaded)
		(void)cli_problems(c->conf_file, &problems);
	conf_problems_clear(&problems);
	return c->loaded;
}

bool
cli_load_running(struct cli *c, bool quiet)
{
	struct conf_problems problems = { 0 };

	if (c->loaded)
		return true;
	c->loaded = conf_load(&c->conf, c->conf_file, &problems);
	if (!c->loaded)
		c->in_force = c->loaded = conf_load_in_force(&c->conf, c->conf_file);
	if (!c->loaded)
		(void)cli_problems(c->conf_file, &problems);
	else if (c->in_force && !quiet)
		cli_say(c, "%s has mistakes, 'pennypost check' shows them; this goes by the configuration in force", c->conf_file);
	conf_problems_clear(&problems);
	return c->loaded;
}

void
cli_json(json_t *value)
{
	if (value == NULL || json_dumpf(value, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER) != 0)
		(void)fputs("null", stdout);
	(void)putchar('\n');
	json_decref(value);
}

json_t *
cli_json_text(const void *ptr, size_t len)
{
	const uint8_t *in = ptr, *bad;
	struct buf out;
	json_t *text;

	if (len == 0)
		return json_string("");
	buf_init(&out, 3 * len + 3);
	while (len > 0) {
		size_t good;

		bad = u8_check(in, len);
		good = bad == NULL ? len : (size_t)(bad - in);
		(void)buf_put(&out, in, good);
		in += good;
		len -= good;
		if (len > 0) {
			(void)buf_text(&out, "\xef\xbf\xbd");
			in++;
			len--;
		}
	}
	text = out.full ? NULL : json_stringn(out.ptr, out.len);
	buf_clear(&out);
	return text;
}

/* Is arg this option, perhaps with "=value"?  Returns what follows the name, or NULL. */
static const char *
option_match(const char *arg, const char *name)
{
	size_t n = strlen(name);

	if (strncmp(arg, name, n) != 0 || (arg[n] != '\0' && arg[n] != '='))
		return NULL;
	return arg + n;
}

/* One option at argv[i]; *used: further arguments taken. */
static bool
take_option(const struct cli *c, const struct cli_option *table, int argc, char **argv, int i, int *used)
{
	*used = 0;
	for (const struct cli_option *o = table; o->name != NULL; o++) {
		const char *rest = option_match(argv[i], o->name);

		if (rest == NULL)
			continue;
		if (o->value == NULL && rest[0] == '\0') {
			*o->flag = true;
			return true;
		}
		if (o->value == NULL) {
			cli_say(c, "%s takes no value", o->name);
			return false;
		}
		if (rest[0] == '=') {
			*o->value = rest + 1;
			return true;
		}
		if (i + 1 >= argc) {
			cli_say(c, "%s needs a value", o->name);
			return false;
		}
		*o->value = argv[i + 1];
		*used = 1;
		return true;
	}
	cli_say(c, "unknown option %s; see pennypost(8)", argv[i]);
	return false;
}

bool
cli_options(const struct cli *c, const struct cli_option *table, int *argc, char **argv)
{
	int kept = 1, used;
	bool words = false;	/* behind "--" */

	for (int i = 1; i < *argc; i++) {
		if (!words && strcmp(argv[i], "--") == 0) {
			words = true;
		} else if (!words && argv[i][0] == '-' && argv[i][1] != '\0') {
			if (!take_option(c, table, *argc, argv, i, &used))
				return false;
			i += used;
		} else {
			argv[kept++] = argv[i];
		}
	}
	*argc = kept;
	argv[kept] = NULL;
	return true;
}

int
cli_verb(struct cli *c, const struct cli_verb *verbs, int argc, char **argv, const char *usage)
{
	for (const struct cli_verb *v = verbs; argc > 1 && v->name != NULL; v++)
		if (strcmp(v->name, argv[1]) == 0)
			return v->run(c, argc - 1, argv + 1);
	return cli_usage(c, usage);
}
