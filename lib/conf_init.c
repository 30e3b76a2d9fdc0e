/* conf_init: the commented pennypost.conf that `pennypost init` writes. */
#include "conf.h"

static void
put_listen(struct buf *out, const struct conf_init *init, enum conf_service service)
{
	const char *name = conf_service_name(service);

	if (service == SERVICE_LMTP && init->lmtp_path != NULL)
		(void)buf_fmt(out, "%s-listen = {\"%s\"}\n", name, init->lmtp_path);
	else if (init->port[service] != 0)
		(void)buf_fmt(out, "%s-listen = {\"%s:%u\"}\n", name, init->address, init->port[service]);
}

bool
conf_write_initial(const struct conf_init *init, struct buf *out)
{
	(void)buf_fmt(out,
	    "# Pennypost.  pennypost.conf(5) has every option; nearly all have a safe default.\n"
	    "# Relative paths start in the folder of this file.\n"
	    "# After a change: pennypost -C THIS-FILE check && pennypost -C THIS-FILE reload\n"
	    "\n"
	    "# What we call ourselves: the name in the MX record and in the certificate.\n"
	    "hostname = \"%s\"\n"
	    "\n"
	    "# Where we listen: \"127.0.0.1:25\", \"[::1]:25\", \"*:25\", or a path for a Unix socket.\n",
	    init->hostname);
	for (int s = 0; s < SERVICE_COUNT; s++)
		put_listen(out, init, (enum conf_service)s);
	(void)buf_text(out,
	    "\n"
	    "# The certificate (whole chain) and its key, PEM.  Read before privileges are dropped.\n"
	    "tls-certificate = \"tls/cert.pem\"\n"
	    "tls-key = \"tls/key.pem\"\n"
	    "\n"
	    "# Everything the suite keeps.\n"
	    "run-dir = \"run\"\n"
	    "spool-dir = \"spool\"\n"
	    "state-dir = \"state\"\n"
	    "mail-root = \"mail\"\n"
	    "map-dir = \"maps\"\n"
	    "domain-dir = \"domains\"\n"
	    "aliases = \"aliases\"\n");
	if (init->libexec_dir != NULL)
		(void)buf_fmt(out, "libexec-dir = \"%s\"\n", init->libexec_dir);
	(void)buf_fmt(out,
	    "\n"
	    "# stderr, syslog, journal, or a file.\n"
	    "log-to = \"log/pennypost.log\"\n"
	    "\n"
	    "# Started as root, each daemon runs under an id of its own.\n"
	    "%suid-base = %u\n"
	    "\n"
	    "# Mail to other hosts goes to their MX.  To send all of it through a provider:\n"
	    "# smarthost = \"smtp.example.net:587\"\n"
	    "# smarthost-user = \"me@example.net\"\n"
	    "# smarthost-password-file = \"smarthost-password\"\n",
	    init->numbers ?
	    "# The accounts pp-smtpd, pp-queue ... did not exist when this was written: unused numbers.\n"
	    "user-prefix = \"\"\n" :
	    "# The accounts pp-smtpd, pp-queue ...; where one is missing, a number from here on.\n",
	    init->uid_base);
	return !out->full;
}
