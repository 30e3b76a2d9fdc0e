#include "password.h"

#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* Read octet by octet, so that what follows the line is left to others.  -1: too long or no input. */
static ssize_t
read_line(int fd, char *out, size_t size)
{
	size_t len = 0;
	ssize_t n;
	char c;

	for (;;) {
		do
			n = read(fd, &c, 1);
		while (n < 0 && errno == EINTR);
		if (n < 0 || (n == 0 && len == 0))
			return -1;
		if (n == 0 || c == '\n')
			break;
		if (len + 1 >= size || c == '\0')
			return -1;
		out[len++] = c;
	}
	if (len > 0 && out[len - 1] == '\r')
		len--;
	out[len] = '\0';
	return (ssize_t)len;
}

static ssize_t
ask(const char *prompt, char *out, size_t size)
{
	struct termios old, quiet;
	ssize_t n;

	(void)fputs(prompt, stderr);
	(void)fflush(stderr);
	if (tcgetattr(0, &old) != 0)
		return -1;
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	quiet.c_lflag |= ECHONL;
	(void)tcsetattr(0, TCSAFLUSH, &quiet);
	n = read_line(0, out, size);
	(void)tcsetattr(0, TCSAFLUSH, &old);
	return n;
}

bool
password_read(const struct cli *c, bool from_stdin, char out[PASSWORD_MAX + 1])
{
	char again[PASSWORD_MAX + 1];
	bool tty = !from_stdin && isatty(0) == 1, same;
	ssize_t n = tty ? ask("Password: ", out, PASSWORD_MAX + 1) : read_line(0, out, PASSWORD_MAX + 1);

	if (n <= 0) {
		cli_say(c, n == 0 ? "an empty password is not taken (at most %d octets)" :
		    "no password on standard input, or one of more than %d octets", PASSWORD_MAX);
		return false;
	}
	if (!tty)
		return true;
	n = ask("Again: ", again, sizeof(again));
	same = n > 0 && strcmp(out, again) == 0;
	explicit_bzero(again, sizeof(again));
	if (!same)
		cli_say(c, "the two differ");
	return same;
}

bool
password_hash(const char *password, char out[HASH_MAX])
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	struct crypt_data *data = calloc(1, sizeof(*data));
	const char *hash = NULL;

	if (data != NULL && crypt_gensalt_rn("$y$", 0, NULL, 0, setting, (int)sizeof(setting)) != NULL)
		hash = crypt_rn(password, setting, data, (int)sizeof(*data));
	if (hash != NULL && strlen(hash) >= HASH_MAX)
		hash = NULL;
	if (hash != NULL)
		memcpy(out, hash, strlen(hash) + 1);
	if (data != NULL)
		explicit_bzero(data, sizeof(*data));
	free(data);
	return hash != NULL;
}
