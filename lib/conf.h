/*
 * conf: pennypost.conf, read with libconfuse (pennypost.conf(5)).
 *
 * Nearly everything has a safe default.  Relative paths are taken from the
 * folder of the file, so a whole suite runs from any folder.  Every string is
 * owned by the struct and NUL-terminated; folders have no '/' at the end.
 */
#ifndef PP_CONF_H
#define PP_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"

#define CONF_FILE_MAX	(1024 * 1024)	/* octets */

enum conf_service {	/* listeners; names as in LISTEN_FDNAMES */
	SERVICE_SMTP, SERVICE_SUBMISSION, SERVICE_SUBMISSIONS, SERVICE_LMTP,
	SERVICE_IMAP, SERVICE_IMAPS, SERVICE_POP3, SERVICE_POP3S,
	SERVICE_COUNT
};

struct conf_listen {
	enum conf_service	service;
	char			*host;	/* "127.0.0.1", "::1", "*" for all; NULL for a Unix socket */
	uint16_t		 port;
	char			*path;	/* absolute path of a Unix socket, or NULL */
	int			 line;	/* in the file, for messages */
};

struct conf_smarthost {
	char		*host;		/* NULL: none, mail goes to the MX */
	uint16_t	 port;		/* default 587 */
	int		 tls;		/* enum conf_tls */
	char		*user;		/* NULL: no AUTH */
	char		*password_file;	/* absolute; one line; readable by root only; relay reads it before it drops privileges */
	bool		 verify;	/* certificate must match host */
};
enum conf_tls { TLS_NEVER, TLS_MAY, TLS_STARTTLS, TLS_IMPLICIT };

struct conf {
	char	*file;			/* absolute path of the file itself */
	char	*dir;			/* its folder, absolute */
	char	*text;			/* what it said when it was read; NULL: forgotten */

	char	*hostname;		/* what we call ourselves in banners, EHLO and Received: */
	char	*log_tag;		/* "pennypost" */
	char	*log_to;		/* "stderr", "syslog", "journal", or an absolute path */
	bool	 log_json;

	/* Folders, absolute. */
	char	*run_dir;		/* sockets, pid files */
	char	*spool_dir;		/* queue's */
	char	*state_dir;		/* one folder a daemon: auth/, queue/ */
	char	*mail_root;		/* <mail_root>/<domain>/<user>/Maildir */
	char	*map_dir;		/* compiled: routes.cdb; private/accounts.cdb */
	char	*domain_dir;		/* <domain_dir>/<domain>/accounts, aliases */
	char	*aliases;		/* file: /etc/aliases */
	char	*libexec_dir;		/* where the daemons are */

	char	*tls_certificate, *tls_key;	/* PEM files; NULL: no TLS is offered */

	struct conf_listen	*listen;
	size_t			 listen_n;

	bool	 system_users;		/* the machine's users have mailboxes (~/Maildir) at hostname */
	char	*pam_service;		/* NULL: service names smtp, imap, pop3 */
	char	*pam_config_dir;	/* folder of the service files, for tests; NULL: the system's */
	unsigned auth_cache_s;		/* how long a good answer is kept; 0: no cache */
	unsigned auth_pam_timeout_s;

	char	*user_prefix;		/* "pp-": accounts pp-smtpd, pp-queue ...; "": numbers from uid_base alone */
	uid_t	 uid_base;		/* numeric ids used where the accounts do not exist */

	/* Limits.  Octets, counts, seconds. */
	uint64_t message_size;		/* 52428800 */
	unsigned header_size;		/* 102400 */
	unsigned line_length;		/* 998 without CRLF is the RFC's; we take up to 2048 on input */
	unsigned recipients;		/* 1000 a message */
	unsigned smtp_sessions;		/* at once, whole daemon */
	unsigned smtp_sessions_per_client;
	unsigned smtp_timeout_s;	/* 300 */
	unsigned smtp_soft_errors, smtp_hard_errors;	/* 10, 20 */
	unsigned smtp_workers;		/* processes; 0: one a processor, at most 4 */
	unsigned hops;			/* Received: count, 50 */
	bool	 smtp_bare_newline_refused;	/* true */
	uint64_t spool_min_free;	/* octets kept free; below: 452 */
	unsigned imap_timeout_s;	/* 1860: RFC 3501 wants 30 minutes at least */
	unsigned pop3_timeout_s;	/* 600 */
	unsigned login_timeout_s;	/* 60 to log in */
	unsigned login_sessions, login_sessions_per_client;
	unsigned user_process_idle_s;	/* a user's process ends so long after the last connection */

	/* Queue. */
	unsigned retry_min_s, retry_max_s;	/* 300, 14400 */
	unsigned lifetime_s, bounce_lifetime_s;	/* 432000, 86400 */
	unsigned trace_keep_s;		/* 30 days */
	uint64_t bounce_size;		/* octets of the original returned in a bounce */
	unsigned deliver_slots, relay_slots;	/* 200, 100: jobs in flight */

	struct conf_smarthost smarthost;
	char	*resolver;		/* "192.0.2.53" or "192.0.2.53@5353"; NULL: those of /etc/resolv.conf */
	uint16_t relay_port;		/* 25; tests use another */
	unsigned relay_timeout_s;
	unsigned relay_connections;	/* at once to one destination */
};

/* One finding of a check: where, what, and what to write instead. */
struct conf_problem {
	int	 line;		/* 0: the file as a whole */
	char	*text;		/* "unknown option 'hostnme'; did you mean 'hostname'?" */
	bool	 warning;
};
struct conf_problems {
	struct conf_problem	*at;
	size_t			 n;
};

/*
 * Read and check.  Problems (all that can be found, not the first alone) are
 * added to `problems` (may be NULL: they are logged).  Returns false if there
 * is one that is no warning; *conf is then empty.
 */
bool conf_load(struct conf *conf, const char *file, struct conf_problems *problems);
/* The same of an open file (-1: errno says why it is not open) that `file` is the name of. */
bool conf_load_fd(struct conf *conf, const char *file, int fd, struct conf_problems *problems);
void conf_clear(struct conf *conf);
/* The master alone hands it on; in all others it would only take room. */
void conf_forget_text(struct conf *conf);
void conf_problems_clear(struct conf_problems *problems);

/*
 * The configuration in force: the master keeps a copy of what it runs by in
 * state_dir, so that commands work while somebody is half-way through an edit.
 * Loads the copy that was made of `file`; which state_dir is looked up in
 * the file as well as its mistakes allow, then in the default places.  A copy
 * counts only if root or the owner of `file` wrote it, and names `file`.  False: there is none.
 */
#define CONF_IN_FORCE	"pennypost.conf"
#define CONF_STATE_DIR	PP_LOCALSTATEDIR "/lib/pennypost/state"	/* when the file does not say */
bool conf_load_in_force(struct conf *conf, const char *file);
/* What the copy holds. */
bool conf_print_in_force(const struct conf *conf, struct buf *out);

/* The absolute path (to be freed), also of a file that is not there any more; NULL: no memory. */
char *conf_absolute_file(const char *file);

/* The file used when there is no -C: SYSCONFDIR/pennypost/pennypost.conf. */
const char *conf_default_file(void);

/* "smtp", "submissions" ...: as in LISTEN_FDNAMES and the configuration. */
const char *conf_service_name(enum conf_service service);
bool conf_service_parse(const char *name, enum conf_service *out);

/* A commented pennypost.conf with these values, for `pennypost init`. */
struct conf_init {
	const char	*hostname;
	const char	*address;	/* to listen on: "127.0.0.1", "*" */
	unsigned	 port[SERVICE_COUNT];	/* 0: not listened to */
	const char	*lmtp_path;	/* may be NULL */
	const char	*libexec_dir;	/* NULL: the installed one */
	unsigned	 uid_base;
	bool		 numbers;	/* the accounts do not exist: the suite keeps to numbers, also if they come later */
};
bool conf_write_initial(const struct conf_init *init, struct buf *out);

#endif
