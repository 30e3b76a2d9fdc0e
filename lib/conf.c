#include "conf.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr.h"
#include "conf_text.h"
#include "conf_units.h"
#include "log.h"


/* ---- the table of options: name, what it is, where it goes, its default ---- */

enum kind { KIND_TEXT, KIND_PATH, KIND_BOOL, KIND_COUNT, KIND_SIZE, KIND_SECONDS, KIND_LISTEN };

struct option {
	const char	*name;
	enum kind	 kind;
	size_t		 at;		/* offset in struct conf; for KIND_LISTEN the service */
	const char	*preset;	/* NULL: not set */
	uint64_t	 min, max;	/* of a number */
};

#define AT(field)	offsetof(struct conf, field)
#define STATE		PP_LOCALSTATEDIR "/lib/pennypost"

static const struct option options[] = {
	{ "hostname",		KIND_TEXT,  AT(hostname),	NULL, 0, 0 },
	{ "log-tag",		KIND_TEXT,  AT(log_tag),	"pennypost", 0, 0 },
	{ "log-to",		KIND_TEXT,  AT(log_to),		"syslog", 0, 0 },
	{ "log-format",		KIND_TEXT,  SIZE_MAX,		"text", 0, 0 },

	{ "run-dir",		KIND_PATH,  AT(run_dir),	PP_RUNSTATEDIR "/pennypost", 0, 0 },
	{ "spool-dir",		KIND_PATH,  AT(spool_dir),	PP_LOCALSTATEDIR "/spool/pennypost", 0, 0 },
	{ "state-dir",		KIND_PATH,  AT(state_dir),	CONF_STATE_DIR, 0, 0 },
	{ "mail-root",		KIND_PATH,  AT(mail_root),	STATE "/mail", 0, 0 },
	{ "map-dir",		KIND_PATH,  AT(map_dir),	STATE "/maps", 0, 0 },
	{ "domain-dir",		KIND_PATH,  AT(domain_dir),	"domains", 0, 0 },
	{ "aliases",		KIND_PATH,  AT(aliases),	"/etc/aliases", 0, 0 },
	{ "libexec-dir",	KIND_PATH,  AT(libexec_dir),	PP_LIBEXECDIR, 0, 0 },
	{ "tls-certificate",	KIND_PATH,  AT(tls_certificate), NULL, 0, 0 },
	{ "tls-key",		KIND_PATH,  AT(tls_key),	NULL, 0, 0 },

	{ "smtp-listen",	KIND_LISTEN, SERVICE_SMTP,	NULL, 0, 0 },
	{ "submission-listen",	KIND_LISTEN, SERVICE_SUBMISSION, NULL, 0, 0 },
	{ "submissions-listen",	KIND_LISTEN, SERVICE_SUBMISSIONS, NULL, 0, 0 },
	{ "lmtp-listen",	KIND_LISTEN, SERVICE_LMTP,	NULL, 0, 0 },
	{ "imap-listen",	KIND_LISTEN, SERVICE_IMAP,	NULL, 0, 0 },
	{ "imaps-listen",	KIND_LISTEN, SERVICE_IMAPS,	NULL, 0, 0 },
	{ "pop3-listen",	KIND_LISTEN, SERVICE_POP3,	NULL, 0, 0 },
	{ "pop3s-listen",	KIND_LISTEN, SERVICE_POP3S,	NULL, 0, 0 },

	{ "system-users",	KIND_BOOL,  AT(system_users),	"false", 0, 0 },
	{ "pam-service",	KIND_TEXT,  AT(pam_service),	NULL, 0, 0 },
	{ "pam-config-dir",	KIND_PATH,  AT(pam_config_dir),	NULL, 0, 0 },
	{ "pam-timeout",	KIND_SECONDS, AT(auth_pam_timeout_s), "30", 1, 600 },
	{ "auth-cache",		KIND_SECONDS, AT(auth_cache_s),	"5m", 0, 86400 },
	{ "user-prefix",	KIND_TEXT,  AT(user_prefix),	"pp-", 0, 0 },
	{ "uid-base",		KIND_COUNT, AT(uid_base),	"64200", 1000, 4294900000 },

	{ "message-size",	KIND_SIZE,  AT(message_size),	"50M", 1024, (uint64_t)1 << 40 },
	{ "header-size",	KIND_SIZE,  AT(header_size),	"100K", 1024, 16777216 },
	{ "line-length",	KIND_SIZE,  AT(line_length),	"2048", 998, 65536 },
	{ "recipients",		KIND_COUNT, AT(recipients),	"1000", 100, 100000 },
	{ "smtp-sessions",	KIND_COUNT, AT(smtp_sessions),	"2000", 1, 100000 },
	{ "smtp-sessions-per-client", KIND_COUNT, AT(smtp_sessions_per_client), "50", 1, 100000 },
	{ "smtp-timeout",	KIND_SECONDS, AT(smtp_timeout_s), "5m", 1, 86400 },
	{ "smtp-soft-errors",	KIND_COUNT, AT(smtp_soft_errors), "10", 1, 1000 },
	{ "smtp-hard-errors",	KIND_COUNT, AT(smtp_hard_errors), "20", 1, 1000 },
	{ "smtp-workers",	KIND_COUNT, AT(smtp_workers),	"0", 0, 64 },
	{ "smtp-refuse-bare-newline", KIND_BOOL, AT(smtp_bare_newline_refused), "true", 0, 0 },
	{ "hops",		KIND_COUNT, AT(hops),		"50", 5, 1000 },
	{ "spool-min-free",	KIND_SIZE,  AT(spool_min_free),	"64M", 0, (uint64_t)1 << 50 },
	{ "imap-timeout",	KIND_SECONDS, AT(imap_timeout_s), "31m", 1, 86400 },
	{ "pop3-timeout",	KIND_SECONDS, AT(pop3_timeout_s), "10m", 1, 86400 },
	{ "login-timeout",	KIND_SECONDS, AT(login_timeout_s), "1m", 1, 3600 },
	{ "login-sessions",	KIND_COUNT, AT(login_sessions),	"10000", 1, 1000000 },
	{ "login-sessions-per-client", KIND_COUNT, AT(login_sessions_per_client), "100", 1, 1000000 },
	{ "user-process-idle",	KIND_SECONDS, AT(user_process_idle_s), "10", 0, 3600 },

	{ "retry-min",		KIND_SECONDS, AT(retry_min_s),	"5m", 1, 86400 },
	{ "retry-max",		KIND_SECONDS, AT(retry_max_s),	"4h", 1, 604800 },
	{ "lifetime",		KIND_SECONDS, AT(lifetime_s),	"5d", 1, 8640000 },
	{ "bounce-lifetime",	KIND_SECONDS, AT(bounce_lifetime_s), "1d", 1, 8640000 },
	{ "trace-keep",		KIND_SECONDS, AT(trace_keep_s),	"30d", 0, 315360000 },
	{ "bounce-size",	KIND_SIZE,  AT(bounce_size),	"50K", 0, 16777216 },
	{ "deliver-slots",	KIND_COUNT, AT(deliver_slots),	"200", 1, 1024 },
	{ "relay-slots",	KIND_COUNT, AT(relay_slots),	"100", 1, 1024 },

	{ "smarthost",		KIND_TEXT,  AT(smarthost.host),	NULL, 0, 0 },
	{ "smarthost-tls",	KIND_TEXT,  SIZE_MAX,		"starttls", 0, 0 },
	{ "smarthost-user",	KIND_TEXT,  AT(smarthost.user),	NULL, 0, 0 },
	{ "smarthost-password-file", KIND_PATH, AT(smarthost.password_file), NULL, 0, 0 },
	{ "smarthost-verify",	KIND_BOOL,  AT(smarthost.verify), "true", 0, 0 },
	{ "resolver",		KIND_TEXT,  AT(resolver),	NULL, 0, 0 },
	{ "relay-port",		KIND_COUNT, SIZE_MAX,		"25", 1, 65535 },
	{ "relay-timeout",	KIND_SECONDS, AT(relay_timeout_s), "5m", 1, 86400 },
	{ "relay-connections",	KIND_COUNT, AT(relay_connections), "20", 1, 1000 },
};

static const char *const service_names[SERVICE_COUNT] = {
	[SERVICE_SMTP] = "smtp", [SERVICE_SUBMISSION] = "submission",
	[SERVICE_SUBMISSIONS] = "submissions", [SERVICE_LMTP] = "lmtp",
	[SERVICE_IMAP] = "imap", [SERVICE_IMAPS] = "imaps",
	[SERVICE_POP3] = "pop3", [SERVICE_POP3S] = "pop3s",
};

const char *
conf_service_name(enum conf_service service)
{
	return service_names[service];
}

bool
conf_service_parse(const char *name, enum conf_service *out)
{
	for (size_t i = 0; i < SERVICE_COUNT; i++) {
		if (strcmp(name, service_names[i]) == 0) {
			*out = (enum conf_service)i;
			return true;
		}
	}
	return false;
}

const char *
conf_default_file(void)
{
	return PP_SYSCONFDIR "/pennypost/pennypost.conf";
}

/* ---- problems ---- */

/* What a load works with; libconfuse's error function finds it by the title. */
struct load {
	struct conf		*conf;
	struct conf_problems	 own, *problems;
	bool			 bad;
};

static void __attribute__((format(printf, 4, 5)))
problem(struct load *l, int line, bool warning, const char *fmt, ...)
{
	struct conf_problem *grown;
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) == -1)
		text = NULL;
	va_end(ap);
	l->bad |= !warning;
	grown = reallocarray(l->problems->at, l->problems->n + 1, sizeof(*grown));
	if (grown == NULL || text == NULL) {
		free(text);
		return;
	}
	l->problems->at = grown;
	l->problems->at[l->problems->n++] =
	    (struct conf_problem){ .line = line, .text = text, .warning = warning };
}

void
conf_problems_clear(struct conf_problems *problems)
{
	for (size_t i = 0; i < problems->n; i++)
		free(problems->at[i].text);
	free(problems->at);
	*problems = (struct conf_problems){ 0 };
}

/* Letters to change, add or drop to make b of a (Levenshtein); names are short. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[64], n = strlen(b);

	if (n >= LEN(row) - 1)
		return SIZE_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (; *a != '\0'; a++) {
		size_t corner = row[0]++;

		for (size_t j = 1; j <= n; j++) {
			size_t best = corner + (*a != b[j - 1]);

			corner = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n];
}

static const char *
nearest(const char *name)
{
	const char *best = NULL;
	size_t least = 4;

	for (size_t i = 0; i < LEN(options); i++) {
		size_t d = distance(name, options[i].name);

		if (d < least) {
			least = d;
			best = options[i].name;
		}
	}
	return best;
}

/* libconfuse gives no context to its error function: one load at a time. */
static struct load *loading;

static void __attribute__((format(printf, 2, 0)))
confuse_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	char text[300], name[100];
	const char *near;

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	if (sscanf(text, "no such option '%99[^']'", name) == 1) {
		near = nearest(name);
		if (near != NULL)
			problem(loading, cfg->line, false, "unknown option '%s'; did you mean '%s'?", name, near);
		else
			problem(loading, cfg->line, false, "unknown option '%s'; pennypost.conf(5) lists those there are", name);
		return;
	}
	problem(loading, cfg->line, false, "%s; write: name = \"value\", or name = {\"value\", \"value\"}", text);
}

/* ---- values ---- */

static void *
place(struct conf *conf, const struct option *o)
{
	return (char *)conf + o->at;
}

static char *
absolute(const struct conf *conf, const char *path)
{
	char *full, *end;

	if (path[0] == '/') {
		full = strdup(path);
	} else if (asprintf(&full, "%s/%s", conf->dir, path) == -1) {
		full = NULL;
	}
	if (full == NULL)
		return NULL;
	end = full + strlen(full);
	while (end > full + 1 && end[-1] == '/')
		*--end = '\0';
	return full;
}

static void
set_text(struct load *l, const struct option *o, const char *value)
{
	char **to = place(l->conf, o);

	free(*to);
	*to = o->kind == KIND_PATH ? absolute(l->conf, value) : strdup(value);
	if (*to == NULL)
		problem(l, 0, false, "no memory");
}

static void
set_number(struct load *l, const struct option *o, int line, const char *value)
{
	uint64_t n;
	bool ok;

	if (o->kind == KIND_SIZE)
		ok = conf_parse_size(value, &n);
	else if (o->kind == KIND_SECONDS)
		ok = conf_parse_seconds(value, &n);
	else
		ok = slice_number(slice_of(value), UINT64_MAX, &n);
	if (!ok) {
		problem(l, line, false, "%s: '%s' is no %s; write for example %s = %s", o->name, value,
		    o->kind == KIND_SIZE ? "size" : o->kind == KIND_SECONDS ? "time" : "number",
		    o->name, o->preset);
		return;
	}
	if (n < o->min || n > o->max) {
		problem(l, line, false, "%s: %s is out of range; write a value from %llu to %llu",
		    o->name, value, (unsigned long long)o->min, (unsigned long long)o->max);
		return;
	}
	if (strcmp(o->name, "relay-port") == 0)
		l->conf->relay_port = (uint16_t)n;
	else if (o->at == AT(message_size) || o->at == AT(spool_min_free) || o->at == AT(bounce_size))
		*(uint64_t *)place(l->conf, o) = n;
	else
		*(unsigned *)place(l->conf, o) = (unsigned)n;
}

static void
set_bool(struct load *l, const struct option *o, int line, const char *value)
{
	bool on = strcasecmp(value, "true") == 0 || strcasecmp(value, "yes") == 0 || strcasecmp(value, "on") == 0;

	if (!on && strcasecmp(value, "false") != 0 && strcasecmp(value, "no") != 0 && strcasecmp(value, "off") != 0)
		problem(l, line, false, "%s: '%s' is neither yes nor no; write %s = %s", o->name, value, o->name, o->preset);
	*(bool *)place(l->conf, o) = on;
}

/* Options whose value is one of a few words. */
static void
set_word(struct load *l, const struct option *o, int line, const char *value)
{
	static const char *const tls[] = { "never", "may", "starttls", "implicit" };

	if (strcmp(o->name, "log-format") == 0) {
		l->conf->log_json = strcmp(value, "json") == 0;
		if (!l->conf->log_json && strcmp(value, "text") != 0)
			problem(l, line, false, "log-format: '%s' is unknown; write text or json", value);
		return;
	}
	for (size_t i = 0; i < LEN(tls); i++) {
		if (strcmp(value, tls[i]) == 0) {
			l->conf->smarthost.tls = (int)i;
			return;
		}
	}
	problem(l, line, false, "smarthost-tls: '%s' is unknown; write never, may, starttls or implicit", value);
}

static void
set_option(struct load *l, const struct option *o, int line, const char *value)
{
	/* No prefix is a choice; nothing else has an empty value that means something. */
	if (value[0] == '\0' && o->at != AT(user_prefix)) {
		problem(l, line, false, "%s is empty; write a value, or leave the line out%s%s", o->name,
		    o->preset != NULL ? " for the default, " : "", o->preset != NULL ? o->preset : "");
		return;
	}
	switch (o->kind) {
	case KIND_TEXT:
		if (o->at == SIZE_MAX)
			set_word(l, o, line, value);
		else
			set_text(l, o, value);
		break;
	case KIND_PATH:
		set_text(l, o, value);
		break;
	case KIND_BOOL:
		set_bool(l, o, line, value);
		break;
	default:
		set_number(l, o, line, value);
	}
}

/* "127.0.0.1:25", "[::1]:25", "*:25", or a path (it holds a '/') for a Unix socket. */
static void
add_listen(struct load *l, const struct option *o, int line, const char *value)
{
	struct conf_listen add = { .service = (enum conf_service)o->at, .line = line }, *grown;
	struct slice host = slice_of(value), port;
	size_t colon = slice_rfind(host, ':');
	uint64_t n;

	if (strchr(value, '/') != NULL) {
		add.path = absolute(l->conf, value);
	} else {
		port = slice_sub(host, colon + 1, host.len);
		host = slice_sub(host, 0, colon);
		if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
			host = slice_sub(host, 1, host.len - 2);
		if (host.len == 0 || !slice_number(port, 65535, &n) || n == 0) {
			problem(l, line, false, "%s: '%s' is no address; write \"127.0.0.1:25\", \"[::1]:25\", "
			    "\"*:25\" or a path for a Unix socket", o->name, value);
			return;
		}
		add.host = slice_dup(host);
		add.port = (uint16_t)n;
	}
	grown = reallocarray(l->conf->listen, l->conf->listen_n + 1, sizeof(*grown));
	if (grown == NULL || (add.host == NULL && add.path == NULL)) {
		free(add.host);
		free(add.path);
		problem(l, line, false, "no memory");
		return;
	}
	l->conf->listen = grown;
	l->conf->listen[l->conf->listen_n++] = add;
}

/* ---- the whole ---- */

static void
take_values(struct load *l, cfg_t *cfg, const char *text)
{
	for (size_t i = 0; i < LEN(options); i++) {
		const struct option *o = &options[i];
		unsigned n = cfg_size(cfg, o->name);
		int line = n == 0 ? 0 : conf_text_line(text, o->name);

		if (o->kind == KIND_LISTEN) {
			for (unsigned k = 0; k < n; k++)
				add_listen(l, o, line, cfg_getnstr(cfg, o->name, k));
		} else if (n > 0 && cfg_getstr(cfg, o->name) != NULL) {
			set_option(l, o, line, cfg_getstr(cfg, o->name));
		} else if (o->preset != NULL) {
			set_option(l, o, 0, o->preset);
		}
	}
}

static void
check_log_to(struct load *l, const char *text)
{
	struct conf *c = l->conf;
	char *path;

	if (strcmp(c->log_to, "stderr") == 0 || strcmp(c->log_to, "syslog") == 0 || strcmp(c->log_to, "journal") == 0)
		return;
	if (strchr(c->log_to, '/') == NULL && strchr(c->log_to, '.') == NULL) {
		problem(l, conf_text_line(text, "log-to"), false, "log-to: '%s' is unknown; write stderr, syslog, journal, "
		    "or a file, \"./%s\"", c->log_to, c->log_to);
		return;
	}
	path = absolute(c, c->log_to);
	free(c->log_to);
	c->log_to = path;
	if (path == NULL)
		problem(l, 0, false, "no memory");
}

static void
check_smarthost(struct load *l, const char *text)
{
	struct conf_smarthost *s = &l->conf->smarthost;
	int line = conf_text_line(text, "smarthost");
	struct slice host = slice_of(s->host), port;
	uint64_t n = s->tls == TLS_IMPLICIT ? 465 : 587;
	size_t colon = slice_rfind(host, ':');

	if (s->host == NULL)
		return;
	if (colon < host.len && (host.ptr[0] != '[' || host.ptr[colon - 1] == ']')) {
		port = slice_sub(host, colon + 1, host.len);
		if (!slice_number(port, 65535, &n) || n == 0)
			problem(l, line, false, "smarthost: '%s' has no valid port; write \"host:587\"", s->host);
		s->host[colon] = '\0';
	}
	s->port = (uint16_t)n;
	if ((s->user == NULL) != (s->password_file == NULL))
		problem(l, line, false, "smarthost-user and smarthost-password-file go together; write both or none");
	if (s->user != NULL && s->tls == TLS_NEVER)
		problem(l, line, false, "smarthost: the password would travel in the clear; write smarthost-tls = starttls or implicit");
}

static void
check_whole(struct load *l, const char *text)
{
	struct conf *c = l->conf;
	bool wants_tls = false;

	if (c->hostname == NULL)
		problem(l, 0, false, "hostname is missing; write hostname = \"mail.example.org\", the name that your MX record has");
	else if (!addr_domain_valid(slice_of(c->hostname)))
		problem(l, conf_text_line(text, "hostname"), false, "hostname: '%s' is no host name; write for example mail.example.org", c->hostname);
	if ((c->tls_certificate == NULL) != (c->tls_key == NULL))
		problem(l, conf_text_line(text, c->tls_key == NULL ? "tls-certificate" : "tls-key"), false,
		    "tls-certificate and tls-key go together; write both or none");
	for (size_t i = 0; i < c->listen_n; i++)
		wants_tls |= c->listen[i].service == SERVICE_SUBMISSIONS ||
		    c->listen[i].service == SERVICE_IMAPS || c->listen[i].service == SERVICE_POP3S;
	if (wants_tls && c->tls_certificate == NULL)
		problem(l, 0, false, "submissions, imaps and pop3s need a certificate; write tls-certificate and tls-key");
	if (!wants_tls && c->tls_certificate == NULL && c->listen_n > 0)
		problem(l, 0, true, "without tls-certificate and tls-key nobody can log in");
	if (c->listen_n == 0)
		problem(l, 0, true, "nothing is listened to; write for example smtp-listen = {\"*:25\"}");
	if (c->retry_max_s < c->retry_min_s)
		problem(l, conf_text_line(text, "retry-max"), false, "retry-max is below retry-min");
	if (c->smtp_hard_errors < c->smtp_soft_errors)
		problem(l, conf_text_line(text, "smtp-hard-errors"), false, "smtp-hard-errors is below smtp-soft-errors");
	check_log_to(l, text);
	check_smarthost(l, text);
}

static bool
parse_text(struct load *l, char *text)
{
	cfg_opt_t table[LEN(options) + 1];
	const cfg_opt_t end = CFG_END();
	struct conf_text_fault fault;
	cfg_t *cfg;
	int rc;

	if (!conf_text_prepare(text, &fault)) {
		problem(l, fault.line, false, "%s", fault.text);
		return false;
	}
	for (size_t i = 0; i < LEN(options); i++) {
		const cfg_opt_t one = CFG_STR(options[i].name, NULL, CFGF_NODEFAULT);
		const cfg_opt_t list = CFG_STR_LIST(options[i].name, NULL, CFGF_NODEFAULT);

		table[i] = options[i].kind == KIND_LISTEN ? list : one;
	}
	table[LEN(options)] = end;
	cfg = cfg_init(table, CFGF_NONE);
	if (cfg == NULL) {
		problem(l, 0, false, "no memory");
		return false;
	}
	loading = l;
	(void)cfg_set_error_function(cfg, confuse_error);
	rc = cfg_parse_buf(cfg, text);
	if (rc == CFG_SUCCESS) {
		take_values(l, cfg, text);
		if (l->conf->log_to != NULL)
			check_whole(l, text);
	} else if (!l->bad) {
		problem(l, cfg->line, false, "cannot be parsed; write: name = \"value\", or name = {\"value\", \"value\"}");
	}
	loading = NULL;
	(void)cfg_free(cfg);
	return !l->bad;
}

/* All of a file; NULL, with the problem said. */
static char *
read_text(struct load *l, int fd)
{
	struct buf text;
	struct stat st;
	off_t at = 0;
	char *room;
	ssize_t n;

	if (fd == -1 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		problem(l, 0, false, "cannot be read: %s; 'pennypost init' writes one",
		    fd == -1 ? strerror(errno) : "not a regular file");
		return NULL;
	}
	buf_init(&text, CONF_FILE_MAX + 1);
	do {
		room = buf_room(&text, 4096);
		n = room == NULL ? -1 : pread(fd, room, 4096, at);
		if (n > 0) {
			buf_add(&text, (size_t)n);
			at += n;
		}
	} while (n > 0);
	if (n == -1 || memchr(text.ptr, '\0', text.len) != NULL) {
		problem(l, 0, false, "is too long, or no text");
		buf_clear(&text);
		return NULL;
	}
	(void)buf_cstr(&text);
	return text.ptr;
}

char *
conf_absolute_file(const char *file)
{
	char *full = realpath(file, NULL), *slash, *copy, *dir;

	if (full != NULL)
		return full;
	copy = strdup(file);
	if (copy == NULL)
		return NULL;
	slash = strrchr(copy, '/');
	if (slash != NULL)
		*slash = '\0';
	dir = realpath(slash == NULL ? "." : slash == copy ? "/" : copy, NULL);
	if (dir == NULL) {
		free(copy);
		return strdup(file);
	}
	if (asprintf(&full, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, slash == NULL ? file : slash + 1) == -1)
		full = NULL;
	free(dir);
	free(copy);
	return full;
}

static bool
set_names(struct load *l, const char *file)
{
	struct conf *c = l->conf;
	char *slash;

	c->file = conf_absolute_file(file);
	c->dir = c->file == NULL ? NULL : strdup(c->file);
	if (c->dir == NULL) {
		problem(l, 0, false, "no memory");
		return false;
	}
	slash = strrchr(c->dir, '/');
	if (slash != NULL)
		slash[slash == c->dir] = '\0';
	return true;
}

/* Take this text (owned from here on); say what is wrong if nobody else does. */
static bool
load(struct load *l, char *text)
{
	char *work = text == NULL ? NULL : strdup(text);

	l->conf->text = text;
	if (work != NULL)
		(void)parse_text(l, work);
	else if (text != NULL)
		problem(l, 0, false, "no memory");
	free(work);
	for (size_t i = 0; i < l->own.n; i++)
		log_say(l->own.at[i].warning ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, "%s:%d: %s",
		    l->conf->file, l->own.at[i].line, l->own.at[i].text);
	conf_problems_clear(&l->own);
	if (l->bad)
		conf_clear(l->conf);
	return !l->bad;
}

bool
conf_load_fd(struct conf *conf, const char *file, int fd, struct conf_problems *problems)
{
	struct load l = { .conf = conf };
	char *text = NULL;

	*conf = (struct conf){ 0 };
	l.problems = problems == NULL ? &l.own : problems;
	if (set_names(&l, file))
		text = read_text(&l, fd);
	return load(&l, text);
}

bool
conf_load(struct conf *conf, const char *file, struct conf_problems *problems)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool ok = conf_load_fd(conf, file, fd, problems);

	if (fd != -1)
		(void)close(fd);
	return ok;
}

void
conf_forget_text(struct conf *conf)
{
	free(conf->text);
	conf->text = NULL;
}

void
conf_clear(struct conf *conf)
{
	for (size_t i = 0; i < LEN(options); i++)
		if ((options[i].kind == KIND_TEXT || options[i].kind == KIND_PATH) && options[i].at != SIZE_MAX)
			free(*(char **)place(conf, &options[i]));
	for (size_t i = 0; i < conf->listen_n; i++) {
		free(conf->listen[i].host);
		free(conf->listen[i].path);
	}
	free(conf->listen);
	free(conf->text);
	free(conf->file);
	free(conf->dir);
	*conf = (struct conf){ 0 };
}
