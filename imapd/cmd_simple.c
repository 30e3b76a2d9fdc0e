/* The verbs of a few lines: CAPABILITY NOOP CHECK LOGOUT ENABLE COMPRESS ID NAMESPACE. */
#include "imap_cmd.h"

/* RFC 3501 section 6.1.1. */
enum imap_step
cmd_capability(struct imap_session *s, struct imap_in *in)
{
	if (!imap_parse_end(in))
		return imap_bad_args(s, in);
	(void)buf_text(&s->out, "* CAPABILITY ");
	imap_put_capabilities(s, &s->out);
	(void)buf_text(&s->out, "\r\n");
	return imap_ok(s, "Capabilities listed");
}

/* RFC 3501 section 6.1.2: what changed is told as after any command. */
enum imap_step
cmd_noop(struct imap_session *s, struct imap_in *in)
{
	if (!imap_parse_end(in))
		return imap_bad_args(s, in);
	return imap_ok(s, "Nothing done");
}

/* RFC 3501 section 6.4.1: all is on disk anyway. */
enum imap_step
cmd_check(struct imap_session *s, struct imap_in *in)
{
	if (!imap_parse_end(in))
		return imap_bad_args(s, in);
	return imap_ok(s, "Checked");
}

/* RFC 3501 section 6.1.3. */
enum imap_step
cmd_logout(struct imap_session *s, struct imap_in *in)
{
	if (!imap_parse_end(in))
		return imap_bad_args(s, in);
	imap_session_bye(s, "Logging out");
	return imap_ok(s, "Logged out");
}

static const struct {
	const char		*name;
	enum imap_enabled	 bit;
} enablers[] = {
	{ "IMAP4rev2",		ENABLED_REV2 },
	{ "UTF8=ACCEPT",	ENABLED_UTF8 },
	{ "CONDSTORE",		ENABLED_CONDSTORE },
	{ "QRESYNC",		ENABLED_QRESYNC },
};

/* RFC 5161.  What is not known, or needs no enabling, is passed over. */
enum imap_step
cmd_enable(struct imap_session *s, struct imap_in *in)
{
	struct slice name;
	unsigned bits = 0;

	do {
		if (!imap_parse_space(in) || !imap_parse_atom(in, &name))
			return imap_bad_args(s, in);
		for (size_t i = 0; i < LEN(enablers); i++)
			if (slice_ieq(name, enablers[i].name))
				bits |= enablers[i].bit;
	} while (!imap_at_end(in));
	s->enabled |= bits & ~(unsigned)ENABLED_CONDSTORE;
	(void)buf_text(&s->out, "* ENABLED");
	for (size_t i = 0; i < LEN(enablers); i++)
		if ((bits & enablers[i].bit) != 0)
			(void)buf_fmt(&s->out, " %s", enablers[i].name);
	(void)buf_text(&s->out, "\r\n");
	if ((bits & (ENABLED_CONDSTORE | ENABLED_QRESYNC)) != 0)
		imap_condstore(s);
	return imap_ok(s, "Enabled what there is");
}

/* RFC 4978: what follows the answer, either way, is compressed. */
enum imap_step
cmd_compress(struct imap_session *s, struct imap_in *in)
{
	struct slice how;

	if (!imap_parse_space(in) || !imap_parse_atom(in, &how) || !imap_parse_end(in))
		return imap_bad_args(s, in);
	if (!slice_ieq(how, "DEFLATE"))
		return imap_no(s, "[CANNOT] Unknown compression");
	if (s->deflate)
		return imap_no(s, "[COMPRESSIONACTIVE] Compressed already");
	s->deflate = s->switching = true;
	return imap_ok(s, "DEFLATE active");
}

/* RFC 2971.  What the client says of itself is read and forgotten. */
enum imap_step
cmd_id(struct imap_session *s, struct imap_in *in)
{
	if (!imap_parse_id(in))
		return imap_bad_args(s, in);
	(void)buf_text(&s->out, IMAP_ID_RESPONSE);
	return imap_ok(s, "ID exchanged");
}

/* RFC 2342: the user's own folders, and nothing else. */
enum imap_step
cmd_namespace(struct imap_session *s, struct imap_in *in)
{
	if (!imap_parse_end(in))
		return imap_bad_args(s, in);
	(void)buf_text(&s->out, "* NAMESPACE ((\"\" \".\")) NIL NIL\r\n");
	return imap_ok(s, "Namespaces listed");
}
