/* The crypt worker: a hash and a password in, yes or no out. */
#include <string.h>

#include "auth_hash.h"
#include "auth_worker.h"

void
auth_crypt_serve(int fd)
{
	struct buf in, out;
	bool ok = true;

	buf_init(&in, IPC_FRAME_MAX);
	buf_init(&out, IPC_FRAME_MAX);
	while (ok && auth_worker_wait(fd, &in)) {
		struct ipc_crypt_result result = { .verdict = PERM };
		struct ipc_crypt_check check;
		char setting[ACCOUNTS_HASH_MAX + 1];

		ok = ipc_get_crypt_check(buf_slice_of(&in), &check);
		if (ok && auth_hash_setting(check.hash, setting))
			result.verdict = (uint8_t)auth_hash_check(setting, check.password);
		explicit_bzero(in.ptr, in.len);
		buf_reset(&out);
		ok = ok && ipc_put_crypt_result(&out, &result) && auth_worker_answer(fd, &out);
	}
	buf_clear(&in);
	buf_clear(&out);
}
