/* Every frame getter and every list, with anything. */
#include <stdint.h>

#include "ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TRY_MESSAGE(name, code, sender, receiver, FIELDS) {			\
	struct ipc_##name m;							\
	(void)ipc_get_##name(frame, &m);					\
}
#define TRY_ELEMENT(name, FIELDS) {						\
	struct ipc_##name m;							\
	struct slice list = frame;						\
	bool bad = false;							\
	while (ipc_next_##name(&list, &m, &bad))				\
		;								\
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice frame = slice_make(data, size);
	uint16_t code;

	if (ipc_code(frame, &code))
		(void)ipc_name(code);
	IPC_MESSAGES(TRY_MESSAGE)
	IPC_ELEMENTS(TRY_ELEMENT)
	return 0;
}
