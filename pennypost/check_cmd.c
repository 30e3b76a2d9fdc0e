/*
 * check: find mistakes before anything is started or reloaded: configuration,
 * maps, certificate and key, folders, programs, ports.  Every finding says
 * where, what, and what to write instead.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "cli.h"
#include "conf_text.h"
#include "folders.h"
#include "listen.h"
#include "maps.h"
#include "run_files.h"

struct check {
	struct cli	*cli;
	json_t		*findings;
	size_t		 errors, warnings;
	int		 code;		/* exit code of the first error */
};

static void __attribute__((format(printf, 4, 5)))
found(struct check *k, int code, int line, const char *fmt, ...)
{
	const char *file = k->cli->conf_file;
	bool warning = code == EX_OK;
	char text[1200];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	k->errors += !warning;
	k->warnings += warning;
	if (!warning && k->code == EX_OK)
		k->code = code;
	if (k->cli->json) {
		(void)json_array_append_new(k->findings, json_pack("{s:s, s:o, s:o, s:o}", "severity", warning ? "warning" : "error",
		    "file", line >= 0 ? json_string(file) : json_null(), "line", line > 0 ? json_integer(line) : json_null(),
		    "text", cli_json_text(text, strlen(text))));
		return;
	}
	if (line > 0)
		(void)printf("%s:%d: %s%s\n", file, line, warning ? "warning: " : "", text);
	else
		(void)printf("%s%s%s%s\n", line == 0 ? file : "", line == 0 ? ": " : "", warning ? "warning: " : "", text);
}

static bool
check_conf(struct check *k)
{
	struct conf_problems problems = { 0 };

	k->cli->loaded = conf_load(&k->cli->conf, k->cli->conf_file, &problems);
	for (size_t i = 0; i < problems.n; i++)
		found(k, problems.at[i].warning ? EX_OK : EX_CONFIG, problems.at[i].line, "%s", problems.at[i].text);
	conf_problems_clear(&problems);
	return k->cli->loaded;
}

static void
check_maps(struct check *k)
{
	struct maps_report report = { 0 };
	bool ok = maps_compile(&k->cli->conf, true, &report);

	for (size_t i = 0; i < report.problems.n; i++)
		found(k, report.problems.at[i].warning ? EX_OK : report.exit_code != 0 ? report.exit_code : EX_DATAERR,
		    -1, "%s", report.problems.at[i].text);
	if (!ok && k->errors == 0)
		found(k, report.exit_code != 0 ? report.exit_code : EX_DATAERR, -1, "the maps cannot be compiled");
	maps_report_clear(&report);
}

/* ---- TLS ---- */

static int
line_of(const struct check *k, const char *option)
{
	return conf_text_line(k->cli->conf.text, option);
}

static void
check_name(struct check *k, X509 *x)
{
	const struct conf *conf = &k->cli->conf;

	if (X509_check_host(x, conf->hostname, strlen(conf->hostname), 0, NULL) != 1)
		found(k, EX_OK, line_of(k, "tls-certificate"), "%s is not for %s: clients will complain; get one for that name, "
		    "or set hostname to one it has", conf->tls_certificate, conf->hostname);
}

static void
check_dates(struct check *k, const X509 *x)
{
	const char *file = k->cli->conf.tls_certificate;
	int line = line_of(k, "tls-certificate");
	time_t soon = time(NULL) + 14 * 86400;

	if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
		found(k, EX_OK, line, "%s has expired: clients will refuse it; put a new certificate there and reload", file);
	else if (X509_cmp_time(X509_get0_notAfter(x), &soon) < 0)
		found(k, EX_OK, line, "%s expires within 14 days; renew it", file);
	if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
		found(k, EX_OK, line, "%s is not valid yet; is the clock of this machine right?", file);
}

/* A key with a password cannot be used by a daemon: nobody is there to type it. */
static int
no_password(char *out, int size, int writing, void *ctx)
{
	(void)out; (void)size; (void)writing; (void)ctx;
	return -1;
}

#define KEY_ADVICE "write where the key of tls-certificate is (PEM, without a password)"

static void
check_key(struct check *k, X509 *x)
{
	const char *file = k->cli->conf.tls_key;
	int line = line_of(k, "tls-key");
	FILE *f = fopen(file, "re");
	EVP_PKEY *key;
	struct stat st;

	if (f == NULL) {
		/* As an ordinary user one cannot look at root's key; that is no mistake. */
		found(k, errno == EACCES && geteuid() != 0 ? EX_OK : EX_CONFIG, line, "tls-key: %s: %s; " KEY_ADVICE, file, strerror(errno));
		return;
	}
	if (fstat(fileno(f), &st) == 0 && (st.st_mode & 077) != 0)
		found(k, EX_OK, line, "%s can be read by others than its owner; write: chmod 600 %s", file, file);
	key = PEM_read_PrivateKey(f, NULL, no_password, NULL);
	(void)fclose(f);
	if (key == NULL)
		found(k, EX_CONFIG, line, "tls-key: %s holds no key that can be read; " KEY_ADVICE, file);
	else if (x != NULL && X509_check_private_key(x, key) != 1)
		found(k, EX_CONFIG, line, "tls-key: %s is not the key of %s; " KEY_ADVICE, file, k->cli->conf.tls_certificate);
	EVP_PKEY_free(key);
	ERR_clear_error();
}

#define CERTIFICATE_ADVICE "write where the certificate is (PEM, the whole chain)"

static void
check_tls(struct check *k)
{
	const char *file = k->cli->conf.tls_certificate;
	int line = line_of(k, "tls-certificate");
	X509 *x = NULL;
	FILE *f;

	if (file == NULL)
		return;
	f = fopen(file, "re");
	if (f == NULL) {
		found(k, EX_CONFIG, line, "tls-certificate: %s: %s; " CERTIFICATE_ADVICE, file, strerror(errno));
	} else {
		x = PEM_read_X509(f, NULL, no_password, NULL);
		(void)fclose(f);
		if (x == NULL)
			found(k, EX_CONFIG, line, "tls-certificate: %s holds no certificate that can be read; " CERTIFICATE_ADVICE, file);
	}
	if (x != NULL) {
		check_dates(k, x);
		check_name(k, x);
	}
	check_key(k, x);
	X509_free(x);
}

/* ---- folders, programs, ports ---- */

static void
folder_found(void *ctx, bool mistake, const char *option, const char *text)
{
	struct check *k = ctx;

	found(k, mistake ? EX_CONFIG : EX_OK, line_of(k, option), "%s: %s", option, text);
}

static void
check_folders(struct check *k)
{
	const char *log_to = k->cli->conf.log_to;
	struct stat st;

	folders_check(&k->cli->conf, folder_found, k);
	if (log_to[0] == '/' && stat(log_to, &st) == 0 && !S_ISREG(st.st_mode))
		found(k, EX_CONFIG, line_of(k, "log-to"), "log-to: %s is not a regular file; write stderr, syslog, journal, or a file", log_to);
}

static void
check_programs(struct check *k)
{
	static const char *const names[] = { "queue", "auth", "deliver", "smtpd", "imapd", "pop3d", "relay", "drop" };
	char path[4200];

	for (size_t i = 0; i < LEN(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", k->cli->conf.libexec_dir, names[i]);
		if (access(path, X_OK) != 0)
			found(k, EX_OK, line_of(k, "libexec-dir"), "libexec-dir: %s: %s; 'make install' puts it there, or write "
			    "the folder where the daemons are", path, strerror(errno));
	}
}

static void
check_secret(struct check *k, const char *option, const char *path)
{
	struct stat st;

	if (path == NULL)
		return;
	if (stat(path, &st) != 0)
		found(k, EX_CONFIG, line_of(k, option), "%s: %s: %s; write the file that has the password in its first line", option,
		    path, strerror(errno));
	else if ((st.st_mode & 077) != 0)
		found(k, EX_OK, line_of(k, option), "%s: %s can be read by others than its owner; write: chmod 600 %s", option, path, path);
}

/* The hashes are for root (or the suite's user) alone. */
static void
check_accounts_modes(struct check *k)
{
	DIR *dir = opendir(k->cli->conf.domain_dir);
	const struct dirent *e;
	struct stat st;
	char name[300];

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		(void)snprintf(name, sizeof(name), "%s/accounts", e->d_name);
		if (e->d_name[0] != '.' && fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & 077) != 0)
			found(k, EX_OK, -1, "%s/%s holds password hashes and can be read by others; write: chmod 600 %s/%s",
			    k->cli->conf.domain_dir, name, k->cli->conf.domain_dir, name);
	}
	if (dir != NULL)
		(void)closedir(dir);
}

/* Only while the suite is stopped: else it has them itself. */
static void
check_ports(struct check *k)
{
	const struct conf *conf = &k->cli->conf;
	int dirfd = open(conf->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool running = dirfd >= 0 && run_locked_by(dirfd) != 0;

	if (dirfd >= 0)
		(void)close(dirfd);
	for (size_t i = 0; !running && i < conf->listen_n; i++) {
		const struct conf_listen *l = &conf->listen[i];
		int fd = l->path != NULL ? -1 : listen_service(conf, l);

		if (fd >= 0)
			(void)close(fd);
		else if (l->path == NULL)
			found(k, EX_UNAVAILABLE, l->line, "%s: cannot listen on %s port %u: %s%s", conf_service_name(l->service),
			    l->host, l->port, strerror(errno),
			    errno == EADDRINUSE ? "; another server has it: stop that one, or write another port" :
			    errno == EACCES ? "; ports below 1024 are for root" : "");
	}
}

int
cmd_check(struct cli *c, int argc, char **argv)
{
	struct check k = { .cli = c, .code = EX_OK };

	(void)argv;
	if (argc != 1)
		return cli_usage(c, "pennypost check");
	k.findings = json_array();
	if (check_conf(&k)) {
		check_maps(&k);
		check_tls(&k);
		check_folders(&k);
		check_programs(&k);
		check_secret(&k, "smarthost-password-file", c->conf.smarthost.password_file);
		check_accounts_modes(&k);
		check_ports(&k);
	}
	if (c->json)
		cli_json(json_pack("{s:b, s:i, s:i, s:O}", "ok", k.errors == 0, "errors", (int)k.errors,
		    "warnings", (int)k.warnings, "findings", k.findings));
	else if (k.errors == 0)
		(void)printf("%s: no mistakes%s\n", c->conf_file, k.warnings > 0 ? ", but see the warnings" : "");
	json_decref(k.findings);
	return k.code;
}
