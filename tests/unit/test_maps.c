/* maps, routes, expand: from texts in a folder to where mail goes. */
#include "check.h"

#include <cdb.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "accounts.h"
#include "expand.h"
#include "maps.h"
#include "routes.h"

#define HASH "$y$j9T$abcdefghijk$lkjasdlkjasdlkjasdlkjasd"

static char dir[64];
static struct conf conf;
static struct maps_report report;
static struct routes *routes;

static void
put(const char *name, const char *text)
{
	char path[400], *slash;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (slash = strchr(path + strlen(dir) + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(path, 0755);
		*slash = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fputs(text, f) >= 0, 1);
	assert_int_equal(fclose(f), 0);
}

static void
take_away(const char *name)
{
	char path[400];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	(void)unlink(path);
}

static char *
path_of(const char *name)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
	return path;
}

static int
set_up(void **unused)
{
	int fd;

	(void)unused;
	(void)snprintf(dir, sizeof(dir), "/tmp/pp-maps-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	conf = (struct conf){
		.file = path_of("pennypost.conf"), .hostname = strdup("Mail.Example"), .map_dir = path_of("maps"),
		.domain_dir = path_of("domains"), .aliases = path_of("aliases"), .user_prefix = strdup("no-such-"),
		.uid_base = 60000,
	};
	(void)mkdir(conf.map_dir, 0755);
	fd = open(conf.map_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	routes = routes_open(fd);
	return fd < 0 || routes == NULL ? -1 : 0;
}

static int
tear_down(void **unused)
{
	char command[100];

	(void)unused;
	routes_close(routes);
	maps_report_clear(&report);
	conf_clear(&conf);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* Compile; all findings in one text, a line each, 'w' or 'e' in front. */
static bool
compile(char *findings, size_t size)
{
	static uint64_t clock_usec = 1;		/* only grows: routes_refresh() looks once a second */
	bool ok;
	size_t n = 0;

	maps_report_clear(&report);
	ok = maps_compile(&conf, false, &report);
	findings[0] = '\0';
	for (size_t i = 0; i < report.problems.n; i++) {
		const char *text = report.problems.at[i].text;

		if (strncmp(text, dir, strlen(dir)) == 0)
			text += strlen(dir) + 1;
		n += (size_t)snprintf(findings + n, size - n, "%c %s\n", report.problems.at[i].warning ? 'w' : 'e', text);
	}
	clock_usec += 2000000;
	routes_refresh(routes, clock_usec);
	return ok;
}

static void
must_compile(void)
{
	char findings[4000];

	if (!compile(findings, sizeof(findings)))
		fail_msg("%s", findings);
}

/* "mailbox alice@d home quota", "alias key -> t,t", "catchall key -> t", "unknown", "foreign", "temp". */
static void
look(const char *text, char *out, size_t size)
{
	static const char *const kinds[] = { "mailbox", "alias", "catchall" };
	struct target target;
	struct route r;
	struct addr a;
	int n;

	assert_true(addr_parse(slice_of(text), &a));
	switch (routes_domain(routes, addr_domain(&a))) {
	case OK:
		break;
	case PERM:
		(void)snprintf(out, size, "foreign");
		return;
	case TEMP:
		(void)snprintf(out, size, "temp");
		return;
	}
	switch (routes_find(routes, &a, &r)) {
	case OK:
		break;
	case PERM:
		(void)snprintf(out, size, "unknown");
		return;
	case TEMP:
		(void)snprintf(out, size, "temp");
		return;
	}
	n = snprintf(out, size, "%s %s", kinds[r.kind], r.key.text);
	if (r.detail.len > 0)
		n += snprintf(out + n, size - (size_t)n, " +%.*s", (int)r.detail.len, r.detail.ptr);
	if (r.kind == ROUTE_MAILBOX)
		n += snprintf(out + n, size - (size_t)n, " %.*s %llu", (int)r.home.len, r.home.ptr, (unsigned long long)r.quota);
	else
		n += snprintf(out + n, size - (size_t)n, " ->");
	while (r.kind != ROUTE_MAILBOX && routes_next_target(&r.targets, &target))
		n += snprintf(out + n, size - (size_t)n, " %d:%.*s", target.kind, (int)target.text.len, target.text.ptr);
}

struct look { const char *addr, *want; };

static void
check_looks(const struct look *row, size_t n)
{
	char got[600];

	for (size_t i = 0; i < n; i++) {
		look(row[i].addr, got, sizeof(got));
		if (strcmp(got, row[i].want) != 0)
			fail_msg("row %zu: %s is '%s', not '%s'", i, row[i].addr, got, row[i].want);
	}
}

static void
put_texts(void)
{
	put("domains/example.org/accounts", "alice:" HASH ":quota=500M\nbob:\nlist+x:\n");
	put("domains/example.org/aliases", "info: alice, bob\nsales: info, far@else.example\nlist: bob\n"
	    "owner-list: alice\nplus+tag: bob\nalice: bob\n*: alice\n");
	put("domains/two.example/accounts", "alice:\n");
	put("domains/two.example/aliases", "x: y@two.example\ny: alice\nwide@two.example: alice@example.org\n");
	put("aliases", "root: alice@example.org\nprog: \"|/usr/bin/prog -a\"\nfiles: /var/mail/x, /var/mail/y/\n"
	    "inc: :include:/etc/list\npostmaster: root\n");
}

static void
precedence(void **unused)
{
	static const struct look row[] = {
		{ "alice@example.org", "mailbox alice@example.org example.org/alice 524288000" },
		{ "ALICE@Example.ORG", "mailbox alice@example.org example.org/alice 524288000" },
		{ "bob@example.org", "mailbox bob@example.org example.org/bob 0" },
		{ "alice+Tag@example.org", "mailbox alice@example.org +Tag example.org/alice 524288000" },
		{ "alice+a+b@example.org", "mailbox alice@example.org +a+b example.org/alice 524288000" },
		{ "info@example.org", "alias info@example.org -> 0:alice@example.org 0:bob@example.org" },
		{ "info+x@example.org", "alias info@example.org +x -> 0:alice@example.org 0:bob@example.org" },
		{ "list@example.org", "alias list@example.org -> 0:bob@example.org" },
		{ "list+x@example.org", "mailbox list+x@example.org example.org/list+x 0" },
		{ "list+y@example.org", "alias list@example.org +y -> 0:bob@example.org" },
		{ "plus+tag@example.org", "alias plus+tag@example.org -> 0:bob@example.org" },
		{ "plus@example.org", "catchall *@example.org -> 0:alice@example.org" },
		{ "\"info\"@example.org", "alias info@example.org -> 0:alice@example.org 0:bob@example.org" },
		{ "whoever@example.org", "catchall *@example.org -> 0:alice@example.org" },
		{ "*@example.org", "catchall *@example.org -> 0:alice@example.org" },
		{ "alice@two.example", "mailbox alice@two.example two.example/alice 0" },
		{ "bob@two.example", "unknown" },
		{ "wide@two.example", "alias wide@two.example -> 0:alice@example.org" },
		{ "x@else.example", "foreign" },
		{ "root@mail.example", "alias root@mail.example -> 0:alice@example.org" },
		{ "root@localhost", "alias root@mail.example -> 0:alice@example.org" },
		{ "prog@mail.example", "alias prog@mail.example -> 3:|/usr/bin/prog -a" },
		{ "files@mail.example", "alias files@mail.example -> 2:/var/mail/x 2:/var/mail/y/" },
		{ "inc@mail.example", "alias inc@mail.example -> 4:/etc/list" },
		{ "nobody@mail.example", "unknown" },
		/* RFC 5321 section 4.5.1: at every domain. */
		{ "postmaster@mail.example", "alias postmaster@mail.example -> 0:root@mail.example" },
		{ "Postmaster@two.example", "alias postmaster@two.example -> 0:postmaster@mail.example" },
		{ "postmaster@example.org", "catchall *@example.org -> 0:alice@example.org" },
	};
	char findings[4000];

	(void)unused;
	put_texts();
	assert_true(compile(findings, sizeof(findings)));
	assert_non_null(strstr(findings, "aliases:6: the alias alice@example.org is never used"));
	assert_int_equal(report.exit_code, 0);
	assert_int_equal(report.domains, 2);
	assert_int_equal(report.mailboxes, 4);
	assert_int_equal(report.aliases, 5);
	assert_int_equal(report.longest, 25);
	check_looks(row, LEN(row));
}

static void
owners_and_actions(void **unused)
{
	struct route r;
	struct addr a;

	(void)unused;
	put_texts();
	must_compile();
	assert_true(addr_parse(SLICE("list@example.org"), &a));
	assert_int_equal(routes_find(routes, &a, &r), OK);
	assert_true(slice_is(r.owner, "owner-list@example.org"));
	assert_int_equal(r.line, 3);
	assert_true(addr_parse(SLICE("info@example.org"), &a));
	assert_int_equal(routes_find(routes, &a, &r), OK);
	assert_int_equal(r.owner.len, 0);
	assert_int_equal(routes_action(routes, SLICE("|/usr/bin/prog -a")), OK);
	assert_int_equal(routes_action(routes, SLICE("|/usr/bin/prog")), PERM);
	assert_int_equal(routes_action(routes, SLICE("/var/mail/x")), OK);
	assert_int_equal(routes_action(routes, SLICE("/etc/list")), PERM);
	assert_int_equal(routes_action(routes, SLICE(":include:/etc/list")), OK);
}

/* Who may send as an address is the inverse of who receives it. */
static void
may_send(void **unused)
{
	static const struct { const char *login, *addr; enum verdict want; } row[] = {
		{ "alice@example.org", "alice@example.org", OK },
		{ "ALICE@example.org", "Alice+x@Example.org", OK },
		{ "alice@example.org", "bob@example.org", PERM },
		{ "alice@example.org", "info@example.org", OK },
		{ "bob@example.org", "info@example.org", OK },
		{ "bob@example.org", "sales@example.org", OK },
		{ "bob@example.org", "list@example.org", OK },
		{ "alice@example.org", "list@example.org", PERM },
		{ "alice@example.org", "anything@example.org", OK },
		{ "bob@example.org", "anything@example.org", PERM },
		{ "alice@two.example", "alice@example.org", PERM },
		{ "alice@two.example", "x@two.example", OK },
		{ "alice@example.org", "root@mail.example", OK },
		{ "alice@example.org", "far@else.example", PERM },
		{ "nobody@example.org", "alice@example.org", PERM },
		{ "", "alice@example.org", PERM },
	};
	struct addr a;

	(void)unused;
	put_texts();
	must_compile();
	for (size_t i = 0; i < LEN(row); i++) {
		assert_true(addr_parse(slice_of(row[i].addr), &a));
		check_row(i, routes_may_send(routes, slice_of(row[i].login), &a) == row[i].want);
	}
}

/* V12, P16: hashes stand in the private map alone, which nobody else can open. */
static void
private_map(void **unused)
{
	struct account_record rec;
	struct stat st;
	struct cdb cdb;
	struct addr a;
	struct buf key;
	char *path = path_of("maps/private/accounts.cdb"), *open_map = path_of("maps/routes.cdb"), *folder = path_of("maps/private");
	char text[100000];
	FILE *f;
	size_t n;
	int fd;

	(void)unused;
	put_texts();
	must_compile();
	assert_int_equal(stat(folder, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(open_map, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	f = fopen(open_map, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text), f);
	(void)fclose(f);
	assert_null(memmem(text, n, "$y$", 3));
	fd = open(path, O_RDONLY);
	assert_int_equal(cdb_init(&cdb, fd), 0);
	buf_init(&key, 400);
	assert_true(addr_parse(SLICE("alice@example.org"), &a));
	assert_true(account_key_put(&key, &a));
	assert_int_equal(cdb_find(&cdb, key.ptr, (unsigned)key.len), 1);
	assert_true(account_record_get(slice_make(cdb_getdata(&cdb), cdb_datalen(&cdb)), &rec));
	assert_true(slice_is(rec.hash, HASH));
	assert_false(rec.disabled);
	cdb_free(&cdb);
	(void)close(fd);
	buf_clear(&key);
	free(path);
	free(open_map);
	free(folder);
}

/* On any mistake the old maps stay, and the exit code says which kind it was. */
static void
mistakes(void **unused)
{
	static const struct { const char *file, *text, *finding; int code; } row[] = {
		{ "domains/example.org/aliases", "a b: c\n", "e domains/example.org/aliases:1: ", 65 },
		{ "domains/example.org/aliases", "a: |/bin/x\n", "are only for the machine's own", 65 },
		{ "domains/example.org/aliases", "a: /etc/passwd\n", "are only for the machine's own", 65 },
		{ "domains/example.org/aliases", "a: :include:/etc/passwd\n", "are only for the machine's own", 65 },
		{ "domains/example.org/aliases", "a@two.example: alice\n", "of another domain", 65 },
		{ "domains/example.org/aliases", "a: b@@c\n", "is no mail address", 65 },
		{ "domains/example.org/accounts", "x@two.example:\n", "of another domain", 65 },
		{ "domains/example.org/accounts", "x:{PLAIN}y\n", "accounts:1: scheme {PLAIN}", 65 },
		{ "aliases", "x: :fail:\n", "e aliases:1: ", 65 },
		{ "domains/Upper.example/aliases", "", "lower case", 65 },
	};
	static const struct look same[] = {
		{ "alice@example.org", "mailbox alice@example.org example.org/alice 524288000" },
		{ "prog@mail.example", "alias prog@mail.example -> 3:|/usr/bin/prog -a" },
	};
	char findings[4000], *upper;

	(void)unused;
	put_texts();
	must_compile();
	for (size_t i = 0; i < LEN(row); i++) {
		put_texts();
		put(row[i].file, row[i].text);
		check_row(i, !compile(findings, sizeof(findings)));
		check_row(i, report.exit_code == row[i].code);
		if (strstr(findings, row[i].finding) == NULL)
			fail_msg("row %zu: '%s' lacks '%s'", i, findings, row[i].finding);
		check_looks(same, LEN(same));
	}
	take_away("domains/Upper.example/aliases");
	upper = path_of("domains/Upper.example");
	(void)rmdir(upper);
	free(upper);
	put_texts();
	must_compile();
}

static void
missing_and_unwritable(void **unused)
{
	static const struct look same[] = { { "bob@example.org", "mailbox bob@example.org example.org/bob 0" } };
	char findings[4000], *real = conf.map_dir;

	(void)unused;
	put_texts();
	take_away("aliases");
	assert_true(compile(findings, sizeof(findings)));
	assert_int_equal(report.exit_code, 66);
	assert_non_null(strstr(findings, "w aliases: no such file"));
	put_texts();
	must_compile();
	conf.map_dir = path_of("no-such-folder");
	assert_false(compile(findings, sizeof(findings)));
	assert_int_equal(report.exit_code, 73);
	free(conf.map_dir);
	conf.map_dir = real;
	check_looks(same, LEN(same));
}

static void
warnings(void **unused)
{
	static const struct { const char *aliases, *finding; } row[] = {
		{ "a: alice\nb: alice\na: bob\n", "aliases:3: a@example.org is there twice; line 1 comes first and stays" },
		{ "a: nobody-here\n", "aliases:1: a@example.org leads to nobody-here@example.org, and nobody is there" },
		{ "a: \\nobody\n", "leads to the mailbox nobody@example.org, which does not exist" },
		{ "a: b\nb: c\nc: a\n", "leads back to itself" },
		{ "a: a\n", "leads to the mailbox a@example.org, which does not exist" },
		{ "a: a+x\n", "leads back to itself" },
	};
	char findings[4000];

	(void)unused;
	put_texts();
	for (size_t i = 0; i < LEN(row); i++) {
		put("domains/example.org/aliases", row[i].aliases);
		check_row(i, compile(findings, sizeof(findings)));
		if (strstr(findings, row[i].finding) == NULL)
			fail_msg("row %zu: '%s' lacks '%s'", i, findings, row[i].finding);
	}
	put_texts();
	put("domains/example.org/accounts", "alice:\nbob:\nalice:" HASH "\n");
	assert_true(compile(findings, sizeof(findings)));
	assert_non_null(strstr(findings, "accounts:3: alice@example.org is there twice; line 1 comes first and stays"));
	put_texts();
}

/* The users of the machine: an alias of the name comes first, `\name` is the mailbox. */
static void
system_users(void **unused)
{
	struct route r;
	struct addr a;

	(void)unused;
	put_texts();
	conf.system_users = true;
	must_compile();
	assert_true(addr_parse(SLICE("root@mail.example"), &a));
	assert_int_equal(routes_find(routes, &a, &r), OK);
	assert_int_equal(r.kind, ROUTE_ALIAS);
	/* Nothing is delivered as root. */
	assert_int_equal(routes_find_mailbox(routes, &a, &r), PERM);
	put("aliases", "");
	must_compile();
	assert_int_equal(routes_find(routes, &a, &r), OK);
	assert_int_equal(r.kind, ROUTE_ALIAS);
	conf.system_users = false;
	put_texts();
	must_compile();
}

/* ---- expand ---- */

static enum verdict
read_include(void *ctx, const struct route *user, struct slice path, struct buf *out)
{
	(void)ctx;
	if (user != NULL)
		return PERM;
	if (slice_is(path, "/good"))
		return buf_text(out, "# list\nalice@example.org\nbob@example.org, x@else.example\n") ? OK : TEMP;
	if (slice_is(path, "/bad"))
		return buf_text(out, "alice@example.org\n|/bin/sh\n") ? OK : TEMP;
	if (slice_is(path, "/empty"))
		return OK;
	if (slice_is(path, "/many")) {
		for (int i = 0; i <= EXPAND_TARGETS; i++)
			(void)buf_fmt(out, "x%d@else.example\n", i);
		return out->full ? TEMP : OK;
	}
	if (slice_is(path, "/loop"))
		return buf_text(out, "loop4@mail.example\n") ? OK : TEMP;
	return TEMP;
}

/* "M:alice@x R:y@z", each with "<sender" when an owner is on the way; or "PERM 5.4.6 words". */
static void
expanded(const char *text, char *out, size_t size)
{
	static const char kinds[] = "MRFCU";
	const struct expand_ops ops = { .include = read_include };
	struct expansion e;
	struct addr a;
	size_t n = 0;
	enum verdict v;

	assert_true(addr_parse(slice_of(text), &a));
	v = expand_address(routes, &a, &ops, &e);
	if (v != OK) {
		(void)snprintf(out, size, "%s %s %s", v == PERM ? "PERM" : "TEMP", e.dsn, e.why);
		assert_int_equal(e.n, 0);
		return;
	}
	out[0] = '\0';
	for (size_t i = 0; i < e.n; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%c:%s%s%s", i == 0 ? "" : " ", kinds[e.at[i].kind], e.at[i].text,
		    e.at[i].sender == NULL ? "" : "<", e.at[i].sender == NULL ? "" : e.at[i].sender);
	if (e.direct)
		(void)snprintf(out + n, size - n, " direct");
	expansion_clear(&e);
}

static void
expansions(void **unused)
{
	static const struct look row[] = {
		{ "alice@example.org", "M:alice@example.org direct" },
		{ "Alice+Tag@example.org", "M:alice+tag@example.org direct" },
		{ "nobody@two.example", "PERM 5.1.1 no such mailbox: nobody@two.example" },
		{ "x@else.example", "R:x@else.example" },
		{ "info@example.org", "M:alice@example.org M:bob@example.org" },
		{ "any@example.org", "M:alice@example.org" },
		/* A diamond is no loop, and nobody gets it twice. */
		{ "all@two.example", "M:alice@example.org M:bob@example.org R:far@else.example" },
		{ "list@example.org", "M:bob@example.org<owner-list@example.org" },
		{ "outer@two.example", "M:bob@example.org<owner-list@example.org M:alice@two.example" },
		{ "dead@two.example", "U:gone@two.example M:alice@two.example" },
		{ "final@two.example", "M:alice@two.example" },
		{ "loop1@mail.example", "PERM 5.4.6 alias loop: loop1@mail.example -> loop2@mail.example -> "
		  "loop3@mail.example -> loop1@mail.example" },
		{ "into@mail.example", "PERM 5.4.6 alias loop: loop1@mail.example -> loop2@mail.example -> "
		  "loop3@mail.example -> loop1@mail.example" },
		{ "loop4@mail.example", "PERM 5.4.6 alias loop: loop4@mail.example -> loop4@mail.example" },
		{ "self@mail.example", "U:self@mail.example M:alice@example.org" },
		{ "inc@mail.example", "M:alice@example.org M:bob@example.org R:x@else.example" },
		{ "incbad@mail.example", "TEMP 4.3.5 /bad:2: files, commands and :include: are refused in an :include:" },
		{ "incempty@mail.example", "PERM 5.2.4 incempty@mail.example leads to nobody: the list is empty" },
		{ "incgone@mail.example", "TEMP 4.3.0 cannot read :include:/gone" },
		{ "acts@mail.example", "C:|/bin/x 'a b' F:/var/mail/f F:/dev/null M:bob@example.org" },
	};
	char got[600];

	(void)unused;
	put_texts();
	put("domains/two.example/aliases", "all: info@example.org, sales@example.org, alice@example.org\n"
	    "outer: list@example.org, alice\ndead: gone, alice\nfinal: \\alice, alice\n");
	put("aliases", "loop1: loop2\nloop2: loop3, alice@example.org\nloop3: loop1\ninto: bob@example.org, loop1\n"
	    "loop4: :include:/loop\nself: self, alice@example.org\ninc: :include:/good\nincbad: :include:/bad\n"
	    "incgone: :include:/gone\nincempty: :include:/empty\n"
	    "acts: \"|/bin/x 'a b'\", /var/mail/f, /dev/null, bob@example.org, /var/mail/f\n");
	must_compile();
	for (size_t i = 0; i < LEN(row); i++) {
		expanded(row[i].addr, got, sizeof(got));
		if (strcmp(got, row[i].want) != 0)
			fail_msg("row %zu: %s is '%s', not '%s'", i, row[i].addr, got, row[i].want);
	}
}

/* V17: limits, and lists as long as they come. */
static void
large(void **unused)
{
	struct expansion e;
	struct addr a;
	struct buf b;
	char got[600];

	(void)unused;
	put_texts();
	buf_init(&b, 10 * 1024 * 1024);
	for (int i = 0; i < 120; i++)
		(void)buf_fmt(&b, "deep%d: deep%d\n", i, i + 1);
	(void)buf_text(&b, "deep120: alice@example.org\nbig: x0@else.example");
	for (int i = 1; i < 20000; i++)
		(void)buf_fmt(&b, ",\n x%d@else.example, x%d@else.example", i, i / 2);
	(void)buf_text(&b, "\nwide: w0");
	for (int i = 1; i < 1100; i++)
		(void)buf_fmt(&b, ", w%d", i);
	(void)buf_char(&b, '\n');
	for (int i = 0; i < 1100; i++)
		(void)buf_fmt(&b, "w%d: alice@example.org\n", i);
	for (int i = 0; i < 40; i++)	/* two ways at each of forty crossings: each is gone once */
		(void)buf_fmt(&b, "fan%d: left%d, right%d\nleft%d: fan%d\nright%d: fan%d\n", i, i, i, i, i + 1, i, i + 1);
	(void)buf_text(&b, "fan40: bob@example.org\nmany: :include:/many\n");
	put("aliases", buf_cstr(&b));
	must_compile();
	expanded("deep0@mail.example", got, sizeof(got));
	assert_non_null(strstr(got, "PERM 5.4.6 more than 100 levels"));
	expanded("deep21@mail.example", got, sizeof(got));
	assert_string_equal(got, "M:alice@example.org");
	expanded("wide@mail.example", got, sizeof(got));
	assert_non_null(strstr(got, "PERM 5.4.6 more than 1000 aliases"));
	expanded("fan0@mail.example", got, sizeof(got));
	assert_string_equal(got, "M:bob@example.org");
	expanded("many@mail.example", got, sizeof(got));
	assert_non_null(strstr(got, "PERM 5.4.6 more than 50000 recipients"));
	assert_true(addr_parse(SLICE("big@mail.example"), &a));
	assert_int_equal(expand_address(routes, &a, NULL, &e), OK);
	assert_int_equal(e.n, 20000);
	assert_string_equal(e.at[0].text, "x0@else.example");
	expansion_clear(&e);
	buf_clear(&b);
}

/* ---- a damaged map (V21) ---- */

static void
ask_everything(void)
{
	static const char *const addrs[] = {
		"alice@example.org", "info+x@example.org", "who@example.org", "root@localhost", "x@else.example", "list@example.org",
	};
	struct expansion e;
	struct target t;
	struct route r;
	struct addr a;

	for (size_t i = 0; i < LEN(addrs); i++) {
		assert_true(addr_parse(slice_of(addrs[i]), &a));
		(void)routes_domain(routes, addr_domain(&a));
		if (routes_find(routes, &a, &r) == OK)
			while (routes_next_target(&r.targets, &t))
				continue;
		(void)routes_find_mailbox(routes, &a, &r);
		(void)routes_may_send(routes, SLICE("alice@example.org"), &a);
		(void)expand_address(routes, &a, NULL, &e);
		expansion_clear(&e);
	}
}

static void
damaged(void **unused)
{
	unsigned char good[65536], bad[65536];
	char *path = path_of("maps/routes.cdb"), *beside = path_of("maps/beside");
	uint64_t now = (uint64_t)1 << 40;
	unsigned seed = 1;
	ssize_t n;
	int fd;

	(void)unused;
	put_texts();
	must_compile();
	fd = open(path, O_RDONLY);
	n = read(fd, good, sizeof(good));
	(void)close(fd);
	assert_true(n > 2048 && n < (ssize_t)sizeof(good));
	for (int round = 0; round < 3000; round++) {
		size_t len = (size_t)n;

		memcpy(bad, good, (size_t)n);
		for (int flips = 1 + round % 7; flips > 0; flips--)
			bad[(size_t)rand_r(&seed) % (round % 2 ? len : 2300)] ^= (unsigned char)(1u << rand_r(&seed) % 8);
		if (round % 5 == 0)
			len = (size_t)rand_r(&seed) % len;
		fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC, 0644);
		assert_int_equal(write(fd, bad, len), (ssize_t)len);
		(void)close(fd);
		assert_int_equal(rename(beside, path), 0);
		routes_refresh(routes, now += 2000000);
		ask_everything();
	}
	/* Cut short under us: no SIGBUS, and TEMP. */
	must_compile();
	ask_everything();
	assert_true(routes_ready(routes));
	assert_int_equal(truncate(path, 100), 0);
	ask_everything();
	assert_false(routes_ready(routes));
	routes_refresh(routes, now += 2000000);
	assert_false(routes_ready(routes));
	must_compile();
	assert_true(routes_ready(routes));
	free(path);
	free(beside);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(precedence), cmocka_unit_test(owners_and_actions), cmocka_unit_test(may_send),
		cmocka_unit_test(private_map), cmocka_unit_test(mistakes), cmocka_unit_test(missing_and_unwritable),
		cmocka_unit_test(warnings), cmocka_unit_test(system_users), cmocka_unit_test(expansions),
		cmocka_unit_test(large), cmocka_unit_test(damaged),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
