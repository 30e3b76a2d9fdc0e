/* pop3_maildrop: see the header. */
#include "pop3d/pop3_maildrop.h"

#include <stdlib.h>

static enum pop3_result
result(struct pop3_maildrop *m, enum store_error error)
{
	if (error == STORE_OK)
		return POP3_DONE;
	if (error == STORE_GONE)
		return POP3_GONE;
	m->error = error;
	return POP3_FAILED;
}

static void
maildrop_uidl(void *ctx, uint32_t n, char out[POP3_UIDL_MAX + 2])
{
	struct pop3_maildrop *m = ctx;

	store_message_uidl(m->inbox, m->seq[n - 1], out);
}

static void
maildrop_text_close(void *ctx)
{
	struct pop3_maildrop *m = ctx;

	store_content_close(&m->content);
	m->content = (struct store_content){ 0 };
}

static enum pop3_result
maildrop_text_open(void *ctx, uint32_t n, struct slice *text)
{
	struct pop3_maildrop *m = ctx;
	enum store_error error = store_content_open(m->inbox, m->seq[n - 1], &m->content);

	if (error != STORE_OK)
		return result(m, error);
	error = store_content_text(&m->content, text);
	if (error != STORE_OK)
		maildrop_text_close(m);
	return result(m, error);
}

static enum pop3_result
maildrop_remove(void *ctx, const uint32_t *number, size_t n)
{
	struct pop3_maildrop *m = ctx;
	uint32_t *uid = malloc(n * sizeof(*uid));
	enum pop3_result r;

	if (uid == NULL) {
		m->error = STORE_MEMORY;
		return POP3_FAILED;
	}
	for (size_t i = 0; i < n; i++)
		uid[i] = store_folder_at(m->inbox, m->seq[number[i] - 1])->uid;
	r = result(m, store_folder_remove(m->inbox, uid, n));
	free(uid);
	return r;
}

const struct pop3_ops pop3_maildrop_ops = {
	.uidl = maildrop_uidl,
	.text_open = maildrop_text_open,
	.text_close = maildrop_text_close,
	.remove = maildrop_remove,
};

/* The list of messages with their sizes; one that vanished meanwhile is left out. */
static enum store_error
take_list(struct pop3_maildrop *m, struct pop3_message **message)
{
	uint32_t n = store_folder_count(m->inbox);

	if (n == 0)
		return STORE_OK;
	m->seq = calloc(n, sizeof(*m->seq));
	*message = calloc(n, sizeof(**message));
	if (m->seq == NULL || *message == NULL)
		return STORE_MEMORY;
	for (uint32_t seq = 1; seq <= n; seq++) {
		enum store_error error = store_message_size(m->inbox, seq, &(*message)[m->count].size);

		if (error == STORE_GONE)
			continue;
		if (error != STORE_OK)
			return error;
		m->seq[m->count++] = seq;
	}
	return STORE_OK;
}

enum pop3_open
pop3_maildrop_open(struct pop3_maildrop *m, int maildir_fd,
    const struct store_options *options, struct pop3_message **message)
{
	*m = (struct pop3_maildrop){ 0 };
	*message = NULL;
	m->store = store_open(maildir_fd, options, &m->error);
	if (m->store == NULL)
		return POP3_OPEN_FAILED;
	if (!store_pop3_lock(m->store)) {
		m->error = STORE_BUSY;
		pop3_maildrop_close(m);
		return POP3_IN_USE;
	}
	m->inbox = store_folder_open(m->store, SLICE("INBOX"), true, &m->error);
	if (m->inbox != NULL)
		m->error = take_list(m, message);
	if (m->error != STORE_OK) {
		pop3_maildrop_close(m);
		free(*message);
		*message = NULL;
		return POP3_OPEN_FAILED;
	}
	return POP3_OPENED;
}

void
pop3_maildrop_close(struct pop3_maildrop *m)
{
	store_content_close(&m->content);
	store_folder_close(m->inbox);
	store_close(m->store);
	free(m->seq);
	*m = (struct pop3_maildrop){ .error = m->error };
}
