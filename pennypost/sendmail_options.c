#include "sendmail_options.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ipc.h"
#include "slice.h"

struct parse {
	struct sendmail_options	*out;
	int			 argc, at;	/* the word being read */
	char			**argv;
	char			*why;
	size_t			 why_size;
};

static bool
refuse(struct parse *p, const char *what, const char *value)
{
	(void)snprintf(p->why, p->why_size, "%s%s", what, value);
	return false;
}

/* The value of an option: what is attached to it, else the next word. */
static const char *
value_of(struct parse *p, const char *rest)
{
	if (rest[0] != '\0')
		return rest;
	return p->at + 1 < p->argc ? p->argv[++p->at] : NULL;
}

static bool
set_mode(struct parse *p, const char *value)
{
	static const struct { char letter; enum sendmail_mode mode; } modes[] = {
		{ 'm', MODE_SUBMIT }, { 's', MODE_SMTP }, { 'p', MODE_LIST }, { 'i', MODE_ALIASES },
		{ 'v', MODE_VERIFY }, { 'd', MODE_DAEMON }, { 'l', MODE_DAEMON }, { 'D', MODE_DAEMON },
	};

	for (size_t i = 0; i < LEN(modes); i++) {
		if (value[0] == modes[i].letter && value[1] == '\0') {
			p->out->mode = modes[i].mode;
			return true;
		}
	}
	return refuse(p, "there is no mode -b", value);
}

static bool
set_notify(struct parse *p, const char *value)
{
	static const struct { const char *word; unsigned bit; } words[] = {
		{ "success", NOTIFY_SUCCESS }, { "failure", NOTIFY_FAILURE }, { "delay", NOTIFY_DELAY },
	};
	struct slice rest = slice_of(value);

	p->out->notify = 0;
	if (slice_ieq(rest, "never")) {
		p->out->notify = NOTIFY_NEVER;
		return true;
	}
	while (rest.len > 0) {
		struct slice word = slice_trim(slice_cut(&rest, ','));
		size_t i;

		for (i = 0; i < LEN(words); i++)
			if (slice_ieq(word, words[i].word))
				break;
		if (i == LEN(words))
			break;
		p->out->notify |= words[i].bit;
	}
	if (rest.len == 0 && p->out->notify != 0)
		return true;
	return refuse(p, "-N takes never, or a list of success, failure, delay; not ", value);
}

static bool
set_ret(struct parse *p, const char *value)
{
	if (strcasecmp(value, "full") != 0 && strcasecmp(value, "hdrs") != 0)
		return refuse(p, "-R takes full or hdrs; not ", value);
	p->out->ret = strcasecmp(value, "full") == 0 ? 1 : 2;
	return true;
}

static bool
set_body(struct parse *p, const char *value)
{
	if (strcasecmp(value, "7BIT") != 0 && strcasecmp(value, "8BITMIME") != 0)
		return refuse(p, "-B takes 7BIT or 8BITMIME; not ", value);
	p->out->body = value[0] == '7' ? 7 : 8;
	return true;
}

/* RFC 3461 section 4.4: printable, and at most 100 octets. */
static bool
set_envid(struct parse *p, const char *value)
{
	size_t len = strlen(value);

	for (size_t i = 0; i < len; i++)
		if (value[i] < '!' || value[i] > '~')
			return refuse(p, "-V takes printable characters without blanks; not ", value);
	if (len == 0 || len > 100)
		return refuse(p, "-V takes 1 to 100 characters", "");
	p->out->envid = value;
	return true;
}

/* -O name=value: two are honoured, the rest is Sendmail's own business. */
static void
set_long(struct parse *p, const char *value)
{
	struct slice rest = slice_of(value), name = slice_trim(slice_cut(&rest, '='));
	bool yes;

	rest = slice_trim(rest);
	yes = slice_ieq(rest, "yes") || slice_ieq(rest, "true") || slice_is(rest, "1");
	if (slice_ieq(name, "requiretls"))
		p->out->requiretls = yes;
	else if (slice_ieq(name, "smtputf8"))
		p->out->smtputf8 = yes;
}

static void
set_queue(struct parse *p, const char *value)
{
	struct sendmail_options *o = p->out;

	o->mode = MODE_FLUSH;
	if (value[0] == 'I' && value[1] != '\0')
		o->flush_id = value + 1;
	else if (value[0] == 'R' && value[1] != '\0')
		o->flush_rcpt = value + 1;
	else if (value[0] == 'S' && value[1] != '\0')
		o->flush_sender = value + 1;
	else if (value[0] != '\0')
		o->mode = MODE_IGNORE;	/* an interval, or "in the foreground" */
}

/* Options with a value, attached or apart. */
static bool
take_valued(struct parse *p, char letter, const char *rest, bool *known)
{
	const char *value;

	*known = strchr("ABCFLNORVXbfhpr", letter) != NULL;
	if (!*known)
		return true;
	value = value_of(p, rest);
	if (value == NULL)
		return refuse(p, "a value is missing behind -", (char[]){ letter, '\0' });
	switch (letter) {
	case 'B':
		return set_body(p, value);
	case 'C':
		p->out->conf_file = value;
		return true;
	case 'F':
		p->out->full_name = value;
		return true;
	case 'N':
		return set_notify(p, value);
	case 'O':
		set_long(p, value);
		return true;
	case 'R':
		return set_ret(p, value);
	case 'V':
		return set_envid(p, value);
	case 'b':
		return set_mode(p, value);
	case 'f':
	case 'r':
		p->out->sender = value;
		return true;
	default:		/* -A -L -X -h -p: of no use here */
		return true;
	}
}

/*
 * One word of options, from its first letter.  A letter without value may be
 * followed by others; "-oi" is such a letter too, so that -oitm is -oi -t -m.
 */
static bool
take_word(struct parse *p, const char *s)
{
	bool known;

	for (; *s != '\0'; s++) {
		switch (*s) {
		case 't':
			p->out->from_header = true;
			continue;
		case 'i':
			p->out->dots = true;
			continue;
		case 'I':
			p->out->mode = MODE_ALIASES;
			continue;
		case 'G':
			p->out->relayed = true;
			continue;
		case 'v':
			p->out->verbose = true;
			continue;
		case 'm': case 'n': case 'U': case 'c':
			continue;
		case 'd': case 'e':	/* -d0.1, -em: what is attached is theirs */
			return true;
		case 'q':
			set_queue(p, s + 1);
			return true;
		case 'o':
			if (s[1] == '\0')
				return value_of(p, s + 1) != NULL || refuse(p, "a value is missing behind -o", "");
			if (s[1] == 'i')
				p->out->dots = true;
			else if (strchr("m78o", s[1]) == NULL)
				return true;	/* -oem, -odb, and all that nobody knows */
			s++;
			continue;
		default:
			if (!take_valued(p, *s, s + 1, &known))
				return false;
			return known || refuse(p, "unknown option -", (char[]){ *s, '\0' });
		}
	}
	return true;
}

bool
sendmail_options(const char *name, int argc, char **argv, struct sendmail_options *out, char *why, size_t why_size)
{
	struct parse p = { .out = out, .argc = argc, .argv = argv, .why = why, .why_size = why_size };
	bool words = false;
	size_t kept = 0;

	*out = (struct sendmail_options){
		.mode = strcmp(name, "mailq") == 0 ? MODE_LIST : strcmp(name, "newaliases") == 0 ? MODE_ALIASES : MODE_SUBMIT,
	};
	for (p.at = 1; p.at < argc; p.at++) {
		char *word = argv[p.at];

		if (!words && strcmp(word, "--") == 0) {
			words = true;
		} else if (!words && strcmp(word, "--json") == 0) {
			out->json = true;
		} else if (!words && word[0] == '-' && word[1] != '\0') {
			if (!take_word(&p, word + 1))
				return false;
		} else {
			argv[kept++] = word;
		}
	}
	/* argv holds char *; nobody writes through rcpts. */
	out->rcpts = (const char **)(void *)argv;
	out->rcpt_n = kept;
	return true;
}
