/* init: write a new, self-contained suite into a folder. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr.h"
#include "cli.h"
#include "daemon.h"
#include "folders.h"
#include "init.h"
#include "init_cert.h"
#include "maps.h"

#define USAGE "pennypost init [--domain D] [--hostname H] [--port-base P] [--address A]\n" \
	"       [--port SERVICE=PORT] [--lmtp PATH] [--libexec DIR] [--uid-base N] DIR"

#define UID_FIRST	64200	/* between what adduser and what systemd hand out */
#define UID_LAST	65000
#define UID_BLOCK	16	/* room for every account of daemon_accounts */

struct init {
	struct cli	*cli;
	const char	*dir;		/* as given */
	const char	*domain;
	char		 hostname[ADDR_DOMAIN_MAX + 1];
	char		 libexec[PATH_MAX];
	struct conf_init conf;
	int		 dirfd;
};

static const unsigned standard_port[SERVICE_COUNT] = {
	[SERVICE_SMTP] = 25, [SERVICE_SUBMISSION] = 587, [SERVICE_SUBMISSIONS] = 465,
	[SERVICE_IMAP] = 143, [SERVICE_IMAPS] = 993, [SERVICE_POP3] = 110, [SERVICE_POP3S] = 995,
};

/* ---- what was asked for ---- */

static bool
set_port_base(struct init *i, const char *text)
{
	uint64_t base;

	if (!slice_number(slice_of(text), 65535 - 995, &base)) {
		cli_say(i->cli, "--port-base %s: write a number from 0 to %d", text, 65535 - 995);
		return false;
	}
	for (size_t s = 0; s < SERVICE_COUNT; s++)
		if (standard_port[s] != 0)
			i->conf.port[s] = standard_port[s] + (unsigned)base;
	return true;
}

/* "smtp=2525"; 0 turns the service off. */
static bool
set_port(struct init *i, const char *text)
{
	struct slice rest = slice_of(text), name = slice_cut(&rest, '=');
	char word[32];
	enum conf_service service;
	uint64_t port;

	if (!slice_text(name, word, sizeof(word)) || !conf_service_parse(word, &service) ||
	    !slice_number(rest, 65535, &port)) {
		cli_say(i->cli, "--port %s: write SERVICE=PORT, for example smtp=2525; services are smtp, "
		    "submission, submissions, lmtp, imap, imaps, pop3, pop3s", text);
		return false;
	}
	i->conf.port[service] = (unsigned)port;
	return true;
}

/* --port may come several times, which cli_options() does not know; take these first. */
static bool
take_ports(struct init *i, int *argc, char **argv)
{
	int kept = 1;

	for (int k = 1; k < *argc; k++) {
		const char *value = NULL;

		if (strncmp(argv[k], "--port=", 7) == 0)
			value = argv[k] + 7;
		else if (strcmp(argv[k], "--port") == 0 && k + 1 < *argc)
			value = argv[++k];
		if (value == NULL)
			argv[kept++] = argv[k];
		else if (!set_port(i, value))
			return false;
	}
	*argc = kept;
	argv[kept] = NULL;
	return true;
}

/*
 * The name of the machine if it has a dot, else mail.DOMAIN; the domain, if
 * not given, is what follows the first dot of the hostname.
 */
static bool
set_names(struct init *i, const char *hostname, const char *domain)
{
	const char *dot;

	i->hostname[0] = '\0';
	if (hostname == NULL && domain == NULL && gethostname(i->hostname, sizeof(i->hostname) - 1) == 0 &&
	    strchr(i->hostname, '.') != NULL)
		hostname = i->hostname;
	if (domain == NULL && hostname != NULL && (dot = strchr(hostname, '.')) != NULL && strchr(dot + 1, '.') != NULL)
		domain = dot + 1;
	i->domain = domain != NULL ? domain : "example.test";
	if (hostname == NULL)
		(void)snprintf(i->hostname, sizeof(i->hostname), "mail.%s", i->domain);
	else if (hostname != i->hostname)
		(void)snprintf(i->hostname, sizeof(i->hostname), "%s", hostname);
	if (!addr_domain_valid(slice_of(i->domain)))
		cli_say(i->cli, "--domain %s: no domain name", i->domain);
	else if (!addr_domain_valid(slice_of(i->hostname)))
		cli_say(i->cli, "--hostname %s: no host name", i->hostname);
	else
		return true;
	return false;
}

static bool
block_is_free(uid_t base)
{
	for (uid_t n = base; n < base + UID_BLOCK; n++)
		if (getpwuid(n) != NULL || getgrgid(n) != NULL)
			return false;
	return true;
}

/* Numbers that no account has.  Where to begin depends on the folder, so that two suites differ. */
static bool
set_uid_base(struct init *i, const char *text)
{
	unsigned blocks = (UID_LAST - UID_FIRST) / UID_BLOCK, start = 0;
	char real[PATH_MAX];
	uint64_t n;

	if (text != NULL) {
		if (!slice_number(slice_of(text), 4294900000, &n) || n < 1000) {
			cli_say(i->cli, "--uid-base %s: write a number from 1000 to 4294900000", text);
			return false;
		}
		i->conf.uid_base = (unsigned)n;
		return true;
	}
	if (realpath(i->dir, real) != NULL)
		for (const char *p = real; *p != '\0'; p++)
			start = start * 31 + (unsigned char)*p;
	for (unsigned k = 0; k < blocks; k++) {
		uid_t base = UID_FIRST + (start + k) % blocks * UID_BLOCK;

		if (block_is_free(base)) {
			i->conf.uid_base = base;
			return true;
		}
	}
	cli_say(i->cli, "no %d unused numeric ids from %d to %d; write --uid-base N", UID_BLOCK, UID_FIRST, UID_LAST);
	return false;
}

/*
 * The daemons stand beside this binary when it runs from the build tree;
 * installed, the configuration's default is right and nothing is written.
 */
static void
set_libexec(struct init *i, const char *given)
{
	static const char *const beside[] = { "smtpd", "queue", "deliver" };
	char self[PATH_MAX], probe[PATH_MAX + 8], *slash;
	bool found = false;
	ssize_t n;

	if (given != NULL) {
		i->conf.libexec_dir = realpath(given, i->libexec) != NULL ? i->libexec : given;
		return;
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return;
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (slash == NULL)
		return;
	*slash = '\0';
	for (size_t k = 0; k < LEN(beside); k++) {
		(void)snprintf(probe, sizeof(probe), "%s/%s", self, beside[k]);
		found |= access(probe, X_OK) == 0;
	}
	if (!found)
		return;
	memcpy(i->libexec, self, strlen(self) + 1);
	i->conf.libexec_dir = i->libexec;
}

/* ---- what is written ---- */

static bool
exists(int dirfd, const char *name)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int
open_below(const struct init *i, const char *name, mode_t mode)
{
	int fd;

	if (mkdirat(i->dirfd, name, mode) != 0 && errno != EEXIST) {
		cli_errno(i->cli, "%s/%s", i->dir, name);
		return -1;
	}
	fd = openat(i->dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		cli_errno(i->cli, "%s/%s", i->dir, name);
	return fd;
}

/* A certificate and key that are there already stay. */
static bool
write_tls(struct init *i)
{
	struct buf cert, key;
	int fd = open_below(i, "tls", 0755);
	bool ok = false;

	if (fd < 0)
		return false;
	buf_init(&cert, 65536);
	buf_init(&key, 65536);
	if (exists(fd, "cert.pem") && exists(fd, "key.pem")) {
		ok = true;
	} else if (!init_cert(i->hostname, i->domain, &cert, &key)) {
		cli_say(i->cli, "cannot make a certificate");
	} else {
		ok = file_replace(fd, "key.pem", key.ptr, key.len, 0600, (uid_t)-1, (gid_t)-1) &&
		    file_replace(fd, "cert.pem", cert.ptr, cert.len, 0644, (uid_t)-1, (gid_t)-1);
		if (!ok)
			cli_errno(i->cli, "%s/tls", i->dir);
	}
	if (key.ptr != NULL)
		explicit_bzero(key.ptr, key.size);
	buf_clear(&cert);
	buf_clear(&key);
	(void)close(fd);
	return ok;
}

static bool
write_once(const struct init *i, int dirfd, const char *name, mode_t mode, const char *text)
{
	if (exists(dirfd, name))
		return true;
	if (file_replace(dirfd, name, text, strlen(text), mode, (uid_t)-1, (gid_t)-1))
		return true;
	cli_errno(i->cli, "%s", name);
	return false;
}

/* The text files of a new domain; `pennypost domain add` uses them too. */
static const char accounts_text[] =
    "# Mailboxes: user:hash[:quota=500M].  'pennypost user add' writes these lines.\n";
static const char aliases_text[] =
    "# Aliases of this domain, as in aliases(5): info: alice, bob, someone@example.org\n"
    "# The catch-all is written *: alice.  Mail to postmaster must reach somebody.\n";
static const char machine_aliases_text[] =
    "# Aliases of the machine's own users, as in aliases(5).  After a change: newaliases\n"
    "# Mail to postmaster of any of our domains goes to that domain's postmaster if it\n"
    "# has one, else to postmaster or root of this file.\n"
    "# root: alice@example.org\n";

bool
init_domain_files(const struct cli *c, int domain_dirfd, const char *domain)
{
	struct init i = { .dirfd = domain_dirfd, .dir = c->conf.domain_dir };
	struct cli copy = *c;
	bool ok;
	int fd;

	i.cli = &copy;
	fd = open_below(&i, domain, 0755);
	if (fd < 0)
		return false;
	ok = write_once(&i, fd, "accounts", 0600, accounts_text) &&
	    write_once(&i, fd, "aliases", 0644, aliases_text);
	(void)close(fd);
	return ok;
}

/* Only one in the folder of the suite: /etc/aliases is the machine's. */
static bool
write_machine_aliases(const struct init *i)
{
	const struct conf *conf = &i->cli->conf;

	return strncmp(conf->aliases, conf->dir, strlen(conf->dir)) != 0 ||
	    write_once(i, i->dirfd, strrchr(conf->aliases, '/') + 1, 0644, machine_aliases_text);
}

/* Everything that the configuration (still under another name) speaks of. */
static bool
write_suite(struct init *i, const char *conf_path)
{
	struct cli *c = i->cli;
	char why[600];
	int fd;

	c->conf_file = conf_path;
	if (!cli_load(c))
		return false;
	if (!folders_make(&c->conf, why, sizeof(why))) {
		cli_say(c, "%s", why);
		return false;
	}
	if (!write_machine_aliases(i))
		return false;
	fd = folder_open(c->conf.domain_dir, why, sizeof(why));
	if (fd < 0) {
		cli_say(c, "%s", why);
		return false;
	}
	if (!init_domain_files(c, fd, i->domain)) {
		(void)close(fd);
		return false;
	}
	(void)close(fd);
	return true;
}

static bool
compile(struct cli *c)
{
	struct maps_report report = { 0 };
	bool ok = maps_compile(&c->conf, false, &report);

	if (!ok)
		(void)cli_problems(NULL, &report.problems);
	maps_report_clear(&report);
	return ok;
}

/* The configuration gets its name last: with it, the suite is whole. */
static int
write_all(struct init *i)
{
	char path[PATH_MAX];
	struct buf text;
	int rc = EX_CANTCREAT;

	buf_init(&text, 65536);
	if (exists(i->dirfd, "pennypost.conf")) {
		cli_say(i->cli, "%s/pennypost.conf is there already; take another folder", i->dir);
		goto out;
	}
	if (!conf_write_initial(&i->conf, &text) ||
	    !file_replace(i->dirfd, "pennypost.conf.new", text.ptr, text.len, 0644, (uid_t)-1, (gid_t)-1)) {
		cli_errno(i->cli, "%s/pennypost.conf", i->dir);
		goto out;
	}
	(void)snprintf(path, sizeof(path), "%s/pennypost.conf.new", i->dir);
	if (write_tls(i) && write_suite(i, path) && compile(i->cli)) {
		if (renameat(i->dirfd, "pennypost.conf.new", i->dirfd, "pennypost.conf") == 0 && fsync(i->dirfd) == 0)
			rc = EX_OK;
		else
			cli_errno(i->cli, "%s/pennypost.conf", i->dir);
	}
	if (rc != EX_OK)
		(void)unlinkat(i->dirfd, "pennypost.conf.new", 0);
out:
	buf_clear(&text);
	return rc;
}

/* ---- what is said ---- */

static void
say_json(const struct init *i)
{
	const struct conf *conf = &i->cli->conf;
	json_t *ports = json_object();
	char file[PATH_MAX];

	for (size_t k = 0; k < conf->listen_n; k++) {
		const struct conf_listen *l = &conf->listen[k];

		(void)json_object_set_new(ports, conf_service_name(l->service),
		    l->path != NULL ? json_string(l->path) : json_integer(l->port));
	}
	(void)snprintf(file, sizeof(file), "%s/pennypost.conf", conf->dir);
	cli_json(json_pack("{s:s, s:s, s:s, s:s, s:o}", "config", file, "hostname", conf->hostname,
	    "domain", i->domain, "certificate", conf->tls_certificate, "listen", ports));
}

static void
say_text(const struct init *i)
{
	const struct conf *conf = &i->cli->conf;
	const char *space = "";

	(void)printf("%s/pennypost.conf is written: host %s, domain %s\nlistens to:", conf->dir, conf->hostname, i->domain);
	for (size_t k = 0; k < conf->listen_n; k++) {
		const struct conf_listen *l = &conf->listen[k];

		if (l->path != NULL)
			(void)printf("%s %s %s", space, conf_service_name(l->service), l->path);
		else
			(void)printf("%s %s %s:%u", space, conf_service_name(l->service), l->host, l->port);
		space = ",";
	}
	(void)printf("\nnext:\n  pennypost -C %s/pennypost.conf user add NAME@%s\n  pennypost -C %s/pennypost.conf start\n",
	    conf->dir, i->domain, conf->dir);
}

static bool
open_dir(struct init *i)
{
	if (mkdir(i->dir, 0755) != 0 && errno != EEXIST) {
		cli_errno(i->cli, "%s", i->dir);
		return false;
	}
	i->dirfd = open(i->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (i->dirfd < 0)
		cli_errno(i->cli, "%s", i->dir);
	return i->dirfd >= 0;
}

int
cmd_init(struct cli *c, int argc, char **argv)
{
	const char *domain = NULL, *hostname = NULL, *base = NULL, *address = NULL, *lmtp = "run/lmtp";
	const char *libexec = NULL, *uid_base = NULL;
	const struct cli_option options[] = {
		{ "--domain", &domain, NULL }, { "--hostname", &hostname, NULL },
		{ "--port-base", &base, NULL }, { "--address", &address, NULL },
		{ "--lmtp", &lmtp, NULL }, { "--libexec", &libexec, NULL },
		{ "--uid-base", &uid_base, NULL }, { NULL, NULL, NULL },
	};
	struct init i = { .cli = c, .dirfd = -1 };
	int rc;

	/* --port overrules --port-base, wherever they stand: the base is set first. */
	for (int k = 1; k < argc; k++)
		if (strncmp(argv[k], "--port-base", 11) == 0)
			base = argv[k][11] == '=' ? argv[k] + 12 : argv[k + 1];
	if (!set_port_base(&i, base == NULL ? "0" : base) || !take_ports(&i, &argc, argv) ||
	    !cli_options(c, options, &argc, argv))
		return EX_USAGE;
	if (argc != 2)
		return cli_usage(c, USAGE);
	i.dir = argv[1];
	(void)umask(022);
	i.conf.address = address != NULL ? address : base != NULL ? "127.0.0.1" : "*";
	i.conf.lmtp_path = lmtp[0] == '\0' ? NULL : lmtp;
	if (!set_names(&i, hostname, domain))
		return EX_USAGE;
	i.conf.hostname = i.hostname;
	set_libexec(&i, libexec);
	if (!open_dir(&i))
		return EX_CANTCREAT;
	i.conf.numbers = getpwnam("pp-smtpd") == NULL;
	rc = set_uid_base(&i, uid_base) ? write_all(&i) : EX_USAGE;
	if (rc == EX_OK && c->json)
		say_json(&i);
	else if (rc == EX_OK)
		say_text(&i);
	(void)close(i.dirfd);
	return rc;
}
