/* pop3_user: what pop3d does in the process of a user (login/user_process.h). */
#include <stdlib.h>

#include "conf.h"
#include "log.h"
#include "pop3d/pop3_conn.h"

static void
say(void *ctx, const char *text)
{
	const struct pop3_user *user = ctx;

	log_say(LOG_LEVEL_WARNING, "%s: %s", user_process_user(user->process), text);
}

static void *
user_open(struct user_process *process, int maildir_fd)
{
	struct pop3_user *user = calloc(1, sizeof(*user));

	if (user == NULL)
		return NULL;
	user->process = process;
	user->maildir_fd = maildir_fd;
	user->store = (struct store_options){
		.hostname = user_process_conf(process)->hostname,
		.quota = user_process_quota(process),
		.create = true,
		.say = say,
		.say_ctx = user,
	};
	return user;
}

static bool
user_session(void *ctx, const struct user_session *s)
{
	return pop3_conn_new(ctx, s);
}

static void
user_end(void *ctx)
{
	pop3_conn_end_all(ctx);
}

static void
user_close(void *ctx)
{
	free(ctx);
}

const struct user_proto pop3_user_proto = {
	.program = "pop3",
	.kind = CONFINE_POP3_USER,
	.open = user_open,
	.session = user_session,
	.end = user_end,
	.close = user_close,
};
