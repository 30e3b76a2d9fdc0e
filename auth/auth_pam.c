/*
 * The PAM worker: users of the machine (CONVENTIONS.md section 8).  It may be
 * killed at any time, and is replaced after a number of look-ups, because
 * modules leak.
 */
#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>

#include "auth_worker.h"
#include "log.h"
#include "slice.h"
#include "verdict.h"

struct question {
	char	service[17];
	char	user[65];
	char	password[1025];
	char	address[65];
};

/* Prompts without echo get the password, those with echo the name; nothing else is answered. */
static int
converse(int n, const struct pam_message **messages, struct pam_response **responses, void *ctx)
{
	const struct question *q = ctx;
	struct pam_response *r;
	bool ok = n > 0 && n <= PAM_MAX_NUM_MSG;

	if (!ok)
		return PAM_CONV_ERR;
	r = calloc((size_t)n, sizeof(*r));
	if (r == NULL)
		return PAM_BUF_ERR;
	for (int i = 0; i < n && ok; i++) {
		switch (messages[i]->msg_style) {
		case PAM_PROMPT_ECHO_OFF:
			r[i].resp = strdup(q->password);
			ok = r[i].resp != NULL;
			break;
		case PAM_PROMPT_ECHO_ON:
			r[i].resp = strdup(q->user);
			ok = r[i].resp != NULL;
			break;
		case PAM_TEXT_INFO:
		case PAM_ERROR_MSG:
			break;
		default:
			ok = false;
		}
	}
	if (ok) {
		*responses = r;
		return PAM_SUCCESS;
	}
	for (int i = 0; i < n; i++) {
		if (r[i].resp != NULL)
			explicit_bzero(r[i].resp, strlen(r[i].resp));
		free(r[i].resp);
	}
	free(r);
	return PAM_CONV_ERR;
}

/* auth delays failures itself, without a process that sleeps. */
static void
no_delay(int status, unsigned usec, void *ctx)
{
	(void)status;
	(void)usec;
	(void)ctx;
}

static void
judge(int rc, struct ipc_pam_result *out)
{
	out->verdict = PERM;
	out->reason = AUTH_REASON_CREDENTIALS;
	switch (rc) {
	case PAM_SUCCESS:
		out->verdict = OK;
		out->reason = AUTH_REASON_NONE;
		break;
	case PAM_ACCT_EXPIRED:
	case PAM_NEW_AUTHTOK_REQD:
	case PAM_CRED_EXPIRED:
	case PAM_AUTHTOK_EXPIRED:
		out->reason = AUTH_REASON_EXPIRED;
		break;
	case PAM_AUTHINFO_UNAVAIL:
	case PAM_SYSTEM_ERR:
	case PAM_SERVICE_ERR:
	case PAM_OPEN_ERR:
	case PAM_SYMBOL_ERR:
	case PAM_BUF_ERR:
	case PAM_ABORT:
	case PAM_CONV_ERR:
	case PAM_CRED_INSUFFICIENT:
	case PAM_MODULE_UNKNOWN:
	case PAM_NO_MODULE_DATA:
		out->verdict = TEMP;
		out->reason = AUTH_REASON_UNAVAILABLE;
		break;
	default:
		break;
	}
}

static int
set_items(pam_handle_t *pam, const struct question *q, const char *tty)
{
	union {
		void	(*function)(int, unsigned, void *);
		const void *item;
	} delay = { .function = no_delay };
	int rc = pam_set_item(pam, PAM_TTY, tty);

	if (rc == PAM_SUCCESS && q->address[0] != '\0')
		rc = pam_set_item(pam, PAM_RHOST, q->address);
	if (rc == PAM_SUCCESS)
		rc = pam_set_item(pam, PAM_RUSER, q->user);
	if (rc == PAM_SUCCESS)
		rc = pam_set_item(pam, PAM_FAIL_DELAY, delay.item);
	return rc;
}

/* user: PAM_USER afterwards; modules may change it. */
static void
ask_pam(const struct conf *conf, struct question *q, struct ipc_pam_result *out, char user[65])
{
	const char *service = conf->pam_service == NULL ? q->service : conf->pam_service;
	const struct pam_conv conversation = { converse, q };
	pam_handle_t *pam = NULL;
	const void *item = NULL;
	int rc;

	if (conf->pam_config_dir == NULL)
		rc = pam_start(service, q->user, &conversation, &pam);
	else
		rc = pam_start_confdir(service, q->user, &conversation, conf->pam_config_dir, &pam);
	if (rc == PAM_SUCCESS)
		rc = set_items(pam, q, conf->log_tag);
	if (rc == PAM_SUCCESS)
		rc = pam_authenticate(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	if (rc == PAM_SUCCESS)
		rc = pam_acct_mgmt(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	if (rc == PAM_SUCCESS)
		rc = pam_get_item(pam, PAM_USER, &item);
	if (rc == PAM_SUCCESS && (item == NULL || !slice_text(slice_of(item), user, 65)))
		rc = PAM_USER_UNKNOWN;
	judge(rc, out);
	if (out->verdict == TEMP)
		log_say(LOG_LEVEL_WARNING, "PAM service %s cannot tell: %s", service, pam_strerror(pam, rc));
	if (pam != NULL)
		(void)pam_end(pam, rc);
}

/* Modules leave the password on the stack below us. */
static void __attribute__((noinline))
wipe_stack(void)
{
	char below[64 * 1024];

	explicit_bzero(below, sizeof(below));
}

static bool
take(struct slice frame, struct question *q)
{
	struct ipc_pam_check m;

	return ipc_get_pam_check(frame, &m) && slice_text(m.service, q->service, sizeof(q->service)) &&
	    slice_text(m.user, q->user, sizeof(q->user)) &&
	    slice_text(m.password, q->password, sizeof(q->password)) &&
	    slice_text(m.client_address, q->address, sizeof(q->address));
}

void
auth_pam_serve(int fd, const struct conf *conf)
{
	struct question q;
	struct buf in, out;
	bool ok = true;

	buf_init(&in, IPC_FRAME_MAX);
	buf_init(&out, IPC_FRAME_MAX);
	while (ok && auth_worker_wait(fd, &in)) {
		struct ipc_pam_result result = { .verdict = PERM, .reason = AUTH_REASON_CREDENTIALS };
		char user[65] = "";

		if (take(buf_slice_of(&in), &q))	/* else a NUL in it: no */
			ask_pam(conf, &q, &result, user);
		wipe_stack();
		explicit_bzero(in.ptr, in.len);
		explicit_bzero(&q, sizeof(q));
		result.user = slice_of(user);
		buf_reset(&out);
		ok = ipc_put_pam_result(&out, &result) && auth_worker_answer(fd, &out);
	}
	buf_clear(&in);
	buf_clear(&out);
}
