#include "maps.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sysexits.h>
#include <unistd.h>

#include "maps_table.h"

#define MESSAGE_MAX 1200

/* ---- findings ---- */

static void
add_problem(struct maps_table *t, bool warning, unsigned line, const char *text)
{
	struct conf_problems *p = &t->report->problems;
	struct conf_problem *grown;
	char *copy = strdup(text);

	if (!warning)
		t->failed = true;
	grown = reallocarray(p->at, p->n + 1, sizeof(*grown));
	if (grown != NULL)
		p->at = grown;
	if (grown == NULL || copy == NULL) {
		free(copy);
		t->no_memory = true;
		return;
	}
	p->at[p->n++] = (struct conf_problem){ .line = (int)line, .text = copy, .warning = warning };
}

void
maps_problem(struct maps_table *t, bool warning, const char *file, unsigned line, const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	int n = 0;
	va_list ap;

	if (file != NULL && line != 0)
		n = snprintf(text, sizeof(text), "%s:%u: ", file, line);
	else if (file != NULL)
		n = snprintf(text, sizeof(text), "%s: ", file);
	if (n < 0 || (size_t)n >= sizeof(text))
		n = 0;
	va_start(ap, fmt);
	(void)vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	if (!warning && t->report->exit_code == 0)
		t->report->exit_code = EX_DATAERR;
	add_problem(t, warning, line, text);
}

void
maps_fail(struct maps_table *t, int exit_code, const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	t->report->exit_code = exit_code;
	add_problem(t, false, 0, text);
}

/* ---- the table ---- */

/* Make room for one more element; false: no memory. */
static bool
grow(struct maps_table *t, void **at, size_t n, size_t *size, size_t element)
{
	size_t want = *size == 0 ? 64 : *size * 2;
	void *grown;

	if (n < *size)
		return true;
	grown = reallocarray(*at, want, element);
	if (grown == NULL) {
		t->no_memory = true;
		return false;
	}
	*at = grown;
	*size = want;
	return true;
}

struct maps_entry *
maps_entry_add(struct maps_table *t, struct slice key)
{
	void *at = t->at;
	struct maps_entry *e;
	char *copy = slice_dup(key);

	if (copy == NULL || !grow(t, &at, t->n, &t->size, sizeof(*t->at))) {
		free(copy);
		t->no_memory = true;
		return NULL;
	}
	t->at = at;
	e = &t->at[t->n++];
	*e = (struct maps_entry){ .key = copy, .uid = UINT32_MAX, .gid = UINT32_MAX };
	buf_init(&e->targets, 16 * 1024 * 1024);
	return e;
}

struct maps_domain *
maps_domain_add(struct maps_table *t, const char *name)
{
	void *at = t->domain;
	char *copy = strdup(name);

	if (copy == NULL || !grow(t, &at, t->domain_n, &t->domain_size, sizeof(*t->domain))) {
		free(copy);
		t->no_memory = true;
		return NULL;
	}
	t->domain = at;
	t->domain[t->domain_n] = (struct maps_domain){ .name = copy };
	return &t->domain[t->domain_n++];
}

/* Domains are read in sorted order; the host's own is put in front. */
static int
compare_domain(const void *key, const void *element)
{
	const struct slice *name = key;
	const struct maps_domain *d = element;
	struct slice other = slice_of(d->name);
	size_t len = name->len < other.len ? name->len : other.len;
	int order = memcmp(name->ptr, other.ptr, len);

	return order != 0 ? order : (name->len > other.len) - (name->len < other.len);
}

struct maps_domain *
maps_domain_find(struct maps_table *t, struct slice name)
{
	for (size_t i = 0; i < 2 && i < t->domain_n; i++)
		if (slice_eq(name, slice_of(t->domain[i].name)))
			return &t->domain[i];
	if (t->domain_n <= 2)
		return NULL;
	return bsearch(&name, t->domain + 2, t->domain_n - 2, sizeof(*t->domain), compare_domain);
}

uint32_t
maps_file_add(struct maps_table *t, const char *path)
{
	void *at = t->file;
	char *copy = strdup(path);

	if (copy == NULL || !grow(t, &at, t->file_n, &t->file_size, sizeof(*t->file))) {
		free(copy);
		t->no_memory = true;
		return 0;
	}
	t->file = at;
	t->file[t->file_n] = copy;
	return (uint32_t)t->file_n++;
}

const char *
maps_file(const struct maps_table *t, uint32_t file)
{
	return file < t->file_n ? t->file[file] : NULL;
}

static void
table_clear(struct maps_table *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->at[i].key);
		free(t->at[i].home);
		if (t->at[i].hash != NULL)
			explicit_bzero(t->at[i].hash, strlen(t->at[i].hash));
		free(t->at[i].hash);
		free(t->at[i].owner);
		buf_clear(&t->at[i].targets);
	}
	for (size_t i = 0; i < t->domain_n; i++) {
		free(t->domain[i].name);
		free(t->domain[i].means);
		free(t->domain[i].first_mailbox);
	}
	for (size_t i = 0; i < t->file_n; i++)
		free(t->file[i]);
	free(t->first_user);
	free(t->at);
	free(t->domain);
	free(t->file);
}

/* ---- the whole ---- */

/* Our own name and "localhost" come first: maps_domain_find() relies on these two places. */
static void
add_own_domains(struct maps_table *t)
{
	struct maps_domain *d;
	size_t len = strlen(t->conf->hostname);

	if (len > ADDR_DOMAIN_MAX) {
		maps_problem(t, false, t->conf->file, 0, "hostname is too long");
		return;
	}
	for (size_t i = 0; i < len; i++) {
		char c = t->conf->hostname[i];

		t->host[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	if (!addr_domain_valid(slice_of(t->host))) {
		maps_problem(t, false, t->conf->file, 0, "hostname '%s' is no domain name", t->conf->hostname);
		return;
	}
	(void)maps_domain_add(t, t->host);
	if (strcmp(t->host, "localhost") == 0)
		return;
	d = maps_domain_add(t, "localhost");
	if (d != NULL && (d->means = strdup(t->host)) == NULL)
		t->no_memory = true;
}

/* A lock on map_dir; -1: there is none, which only a compiler that writes minds. */
static int
lock_maps(const struct conf *conf)
{
	int fd = open(conf->map_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX) != 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

bool
maps_compile(const struct conf *conf, bool check_only, struct maps_report *report)
{
	struct maps_table t = { .conf = conf, .report = report };
	int lock = check_only ? -1 : lock_maps(conf);

	*report = (struct maps_report){ 0 };
	add_own_domains(&t);
	if (!t.failed)
		maps_read(&t);
	if (!t.no_memory)
		maps_link(&t);
	if (!t.failed && !t.no_memory && !check_only)
		maps_write(&t);
	if (t.no_memory)
		maps_fail(&t, EX_OSERR, "not enough memory for the maps; the old ones stay");
	if (!t.failed && t.no_aliases)
		report->exit_code = EX_NOINPUT;
	table_clear(&t);
	if (lock >= 0)
		(void)close(lock);
	return !t.failed;
}

void
maps_report_clear(struct maps_report *report)
{
	conf_problems_clear(&report->problems);
	*report = (struct maps_report){ 0 };
}
