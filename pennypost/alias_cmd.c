/* alias: add, del, list.  The text is domains/<domain>/aliases, as aliases(5). */
#include <stdio.h>
#include <string.h>

#include "aliases.h"
#include "edit.h"
#include "text_edit.h"
#include "user_cmd.h"

#define USAGE "pennypost alias add ADDRESS TARGET[,TARGET...]   (*@domain is the catch-all)\n" \
	"       pennypost alias del ADDRESS\n" \
	"       pennypost alias list [DOMAIN]"

struct alias_name {
	char		text[ADDR_MAX + 4];	/* "info@example.org", "*@example.org" */
	struct slice	local, domain;		/* of text */
	struct addr	addr;			/* not for the catch-all */
	bool		catch_all;
};

static bool
parse_name(const struct cli *c, const char *text, struct alias_name *out)
{
	char any[ADDR_MAX + 8];
	struct slice s;

	*out = (struct alias_name){ .catch_all = strncmp(text, "*@", 2) == 0 || text[0] == '@' };
	if (out->catch_all) {
		(void)snprintf(any, sizeof(any), "x%s", strchr(text, '@'));
		if (!edit_address(c, any, &out->addr))
			return false;
		s = addr_domain(&out->addr);
		(void)snprintf(out->text, sizeof(out->text), "*@%.*s", (int)s.len, s.ptr);
		out->local = slice_make(out->text, 1);
		out->domain = slice_of(out->text + 2);
		return true;
	}
	if (!edit_address(c, text, &out->addr))
		return false;
	(void)snprintf(out->text, sizeof(out->text), "%s", out->addr.text);
	out->local = slice_make(out->text, addr_local(&out->addr).len);
	out->domain = slice_of(out->text + out->local.len + 1);
	return true;
}

/* Every target must be one; those given without a domain get this one. */
static bool
targets_good(const struct cli *c, const char *text, struct slice domain)
{
	struct alias_value value = { .kind = TARGET_ADDRESS };
	struct alias_error error;
	struct alias_list list;
	enum alias_next next;
	struct addr a;
	size_t n = 0;
	bool ok = strpbrk(text, "\r\n") == NULL;

	buf_init(&value.text, ALIAS_VALUE_MAX);
	alias_list_init(&list, slice_of(text), 1, false);
	while (ok && (next = alias_list_next(&list, &value, &error)) != ALIAS_END) {
		n++;
		if (next == ALIAS_ERROR) {
			cli_say(c, "%s", error.text);
			ok = false;
		} else if ((value.kind == TARGET_ADDRESS || value.kind == TARGET_LOCAL_FINAL) &&
		    !alias_address(buf_slice_of(&value.text), domain, &a)) {
			cli_say(c, "'%.*s' is no address", (int)value.text.len, value.text.ptr);
			ok = false;
		}
	}
	buf_clear(&value.text);
	if (ok && n == 0)
		cli_say(c, "an alias needs a target");
	return ok && n > 0;
}

/* Quoted where the grammar wants it. */
static void
put_name(struct buf *out, struct slice local)
{
	bool quote = local.len > 0 && local.ptr[0] != '"';
	size_t i;

	for (i = 0; quote && i < local.len; i++)
		if (strchr(" \t#:@,\\", local.ptr[i]) != NULL)
			break;
	quote = quote && i < local.len;
	(void)buf_fmt(out, "%s%.*s%s", quote ? "\"" : "", (int)local.len, local.ptr, quote ? "\"" : "");
}

/* The arguments behind the address; several words are several targets. */
static void
join_targets(struct buf *out, int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
		(void)buf_fmt(out, "%s%s", i > 2 ? ", " : "", argv[i]);
}

static int
may_add(const struct edit *e, const struct alias_name *name)
{
	struct account found;
	struct buf accounts;
	unsigned line;
	int rc = EX_OK;

	if (alias_find(buf_slice_of(&e->text), name->local, name->domain, &line)) {
		cli_say(e->cli, "%s is there already (%s:%u); first: pennypost alias del '%s'",
		    name->text, e->path, line, name->text);
		return EX_CANTCREAT;
	}
	if (name->catch_all)
		return EX_OK;
	if (!edit_read(e, "accounts", &accounts))
		return EX_IOERR;
	if (user_find(buf_slice_of(&accounts), &name->addr, &found)) {
		cli_say(e->cli, "%s is a mailbox, and a mailbox wins over an alias; to send its mail elsewhere, "
		    "first: pennypost user del %s", name->text, name->text);
		rc = EX_CANTCREAT;
	}
	buf_clear(&accounts);
	return rc;
}

static int
alias_add(struct cli *c, int argc, char **argv)
{
	struct alias_name name;
	struct buf targets, line, out;
	struct edit e;
	int rc;

	if (argc < 3)
		return cli_usage(c, USAGE);
	if (!parse_name(c, argv[1], &name))
		return EX_DATAERR;
	buf_init(&targets, ALIAS_LINE_MAX);
	buf_init(&line, ALIAS_LINE_MAX + ADDR_MAX);
	join_targets(&targets, argc, argv);
	rc = edit_open(&e, c, name.domain, "aliases");
	if (rc == EX_OK && !targets_good(c, buf_cstr(&targets), name.domain))
		rc = EX_DATAERR;
	if (rc == EX_OK)
		rc = may_add(&e, &name);
	if (rc == EX_OK) {
		buf_init(&out, e.text.len + ALIAS_LINE_MAX + ADDR_MAX + 8);
		put_name(&line, name.local);
		(void)buf_fmt(&line, ": %s", buf_cstr(&targets));
		rc = text_append(buf_slice_of(&e.text), buf_slice_of(&line), &out) ?
		    edit_commit(&e, buf_slice_of(&out)) : EX_DATAERR;
		buf_clear(&out);
	}
	edit_close(&e);
	if (rc == EX_OK && c->json)
		cli_json(json_pack("{s:s}", "alias", name.text));
	else if (rc == EX_OK)
		(void)printf("%s -> %s\n", name.text, buf_cstr(&targets));
	buf_clear(&line);
	buf_clear(&targets);
	return rc;
}

static int
alias_del(struct cli *c, int argc, char **argv)
{
	struct alias_name name;
	struct slice entry;
	struct edit e;
	struct buf out;
	unsigned line;
	int rc;

	if (argc != 2)
		return cli_usage(c, USAGE);
	if (!parse_name(c, argv[1], &name))
		return EX_DATAERR;
	rc = edit_open(&e, c, name.domain, "aliases");
	if (rc == EX_OK && !alias_find(buf_slice_of(&e.text), name.local, name.domain, &line)) {
		cli_say(c, "there is no alias %s", name.text);
		rc = EX_NOUSER;
	}
	if (rc == EX_OK) {
		entry = text_entry(buf_slice_of(&e.text), line, true);
		buf_init(&out, e.text.len + 1);
		rc = text_replace(buf_slice_of(&e.text), entry, SLICE(""), &out) ?
		    edit_commit(&e, buf_slice_of(&out)) : EX_SOFTWARE;
		buf_clear(&out);
	}
	edit_close(&e);
	if (rc == EX_OK && !c->json)
		(void)printf("%s deleted\n", name.text);
	return rc;
}

/* ---- list ---- */

/* As it may be given to `alias add` again. */
static void
value_text(const struct alias_value *v, struct slice domain, struct buf *out)
{
	struct slice text = buf_slice_of(&v->text);
	struct addr a;

	switch (v->kind) {
	case TARGET_ADDRESS:
	case TARGET_LOCAL_FINAL:
		if (v->kind == TARGET_LOCAL_FINAL)
			(void)buf_char(out, '\\');
		if (alias_address(text, domain, &a))
			(void)buf_slice(out, addr_text(&a));
		else
			(void)buf_slice(out, text);
		break;
	case TARGET_COMMAND:
		(void)buf_fmt(out, "|%.*s", (int)text.len, text.ptr);
		break;
	case TARGET_INCLUDE:
		(void)buf_fmt(out, ":include:%.*s", (int)text.len, text.ptr);
		break;
	default:
		(void)buf_slice(out, text);
	}
}

static json_t *
list_targets(const struct cli *c, struct alias_entry *entry, struct slice domain)
{
	struct alias_value value;
	struct alias_error error;
	json_t *targets = json_array();
	enum alias_next next;
	struct buf text;

	buf_init(&value.text, ALIAS_VALUE_MAX);
	buf_init(&text, ALIAS_VALUE_MAX + ADDR_MAX + 16);
	while ((next = alias_list_next(&entry->values, &value, &error)) != ALIAS_END) {
		if (next == ALIAS_ERROR) {
			cli_say(c, "line %u: %s", error.line, error.text);
			continue;
		}
		buf_reset(&text);
		value_text(&value, domain, &text);
		(void)json_array_append_new(targets, cli_json_text(text.ptr, text.len));
	}
	buf_clear(&text);
	buf_clear(&value.text);
	return targets;
}

static int
list_domain(struct cli *c, const char *domain, void *arg)
{
	struct aliases file;
	struct alias_entry entry;
	struct alias_error error;
	enum alias_next next;
	struct edit e;
	int rc = edit_open(&e, c, slice_of(domain), "aliases");

	aliases_init(&file, rc == EX_OK ? buf_slice_of(&e.text) : SLICE(""));
	while (rc == EX_OK && (next = aliases_next(&file, &entry, &error)) != ALIAS_END) {
		char address[sizeof(entry.name) + ADDR_DOMAIN_MAX + 2];
		struct addr a;
		json_t *targets, *target;
		size_t i;

		if (next == ALIAS_ERROR) {
			cli_say(c, "%s:%u: %s", e.path, error.line, error.text);
			continue;
		}
		if (strcmp(entry.name, "*") != 0 && alias_address(slice_of(entry.name), slice_of(domain), &a))
			(void)snprintf(address, sizeof(address), "%s", a.text);
		else
			(void)snprintf(address, sizeof(address), "%s@%s", entry.name, domain);
		targets = list_targets(c, &entry, slice_of(domain));
		if (c->json) {
			(void)json_array_append_new(arg, json_pack("{s:o, s:o, s:i}", "alias",
			    cli_json_text(address, strlen(address)), "targets", targets, "line", (int)entry.line));
			continue;
		}
		(void)printf("%s:", address);
		json_array_foreach(targets, i, target)
			(void)printf("%s %s", i > 0 ? "," : "", json_string_value(target));
		(void)putchar('\n');
		json_decref(targets);
	}
	aliases_clear(&file);
	edit_close(&e);
	return rc;
}

static int
alias_list(struct cli *c, int argc, char **argv)
{
	json_t *all = json_array();
	struct alias_name name;
	char any[ADDR_MAX + 8];
	int rc;

	if (argc > 2) {
		json_decref(all);
		return cli_usage(c, USAGE);
	}
	if (argc == 2) {
		(void)snprintf(any, sizeof(any), "*@%s", argv[1]);
		rc = parse_name(c, any, &name) ? list_domain(c, name.domain.ptr, all) : EX_DATAERR;
	} else {
		rc = domain_each(c, list_domain, all);
	}
	if (rc == EX_OK && c->json)
		cli_json(json_incref(all));
	json_decref(all);
	return rc;
}

int
cmd_alias(struct cli *c, int argc, char **argv)
{
	static const struct cli_verb verbs[] = {
		{ "add", alias_add }, { "del", alias_del }, { "list", alias_list }, { NULL, NULL },
	};

	return cli_verb(c, verbs, argc, argv, USAGE);
}
