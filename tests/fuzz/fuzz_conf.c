/* pennypost.conf: what is looked at before libconfuse, and the whole of it; a copy in force says the same again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf.h"
#include "conf_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
look(const char *text)
{
	struct conf_text_fault fault;
	char value[64], *work = strdup(text);
	size_t len = strlen(text);
	int lines = 1;

	if (work == NULL)
		return;
	for (const char *p = text; *p != '\0'; p++)
		lines += *p == '\n';
	if (conf_text_value(text, "state-dir", value, sizeof(value)) && (value[0] == '\0' || strchr(value, '\n') != NULL))
		abort();
	if (!conf_text_prepare(work, &fault) && (fault.line < 1 || fault.line > lines || fault.text == NULL))
		abort();
	if (strlen(work) != len || conf_text_line(work, "state-dir") > lines)
		abort();
	free(work);
}

/* From a file without a name, as daemons get it from the master. */
static bool
load(struct conf *c, const char *text, size_t len)
{
	int fd = memfd_create("conf", MFD_CLOEXEC);
	struct conf_problems problems = { 0 };
	bool ok = fd != -1 && write(fd, text, len) == (ssize_t)len && conf_load_fd(c, "/etc/p/p.conf", fd, &problems);

	if (!ok && problems.n == 0)
		abort();
	conf_problems_clear(&problems);
	if (fd != -1)
		(void)close(fd);
	return ok;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf first, again;
	struct buf copy;
	char *text = calloc(1, size + 1);

	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	look(text);
	buf_init(&copy, CONF_FILE_MAX);
	if (memchr(text, '$', size) == NULL && load(&first, text, size)) {	/* ${NAME} is the environment's */
		if (!conf_print_in_force(&first, &copy) || !load(&again, copy.ptr, copy.len) ||
		    strcmp(first.hostname, again.hostname) != 0 || strcmp(first.state_dir, again.state_dir) != 0 ||
		    first.listen_n != again.listen_n || first.message_size != again.message_size)
			abort();
		conf_clear(&again);
		conf_clear(&first);
	}
	buf_clear(&copy);
	free(text);
	return 0;
}
