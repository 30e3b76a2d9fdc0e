#include "privs_sockets.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_LISTEN	0x0a	/* of TCP, include/net/tcp_states.h */
#define STATE_CLOSE	0x07	/* of UDP: not connected */
#define ADDRESS_MAX	64

static struct slice
next_word(struct slice *rest)
{
	size_t n = 0;

	while (rest->len > 0 && rest->ptr[0] == ' ')
		*rest = slice_sub(*rest, 1, rest->len);
	while (n < rest->len && rest->ptr[n] != ' ')
		n++;
	return slice_cut(rest, ' ');
}

static bool
hex_number(struct slice s, size_t digits, uint32_t *out)
{
	*out = 0;
	if (s.len != digits)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		static const char set[] = "0123456789ABCDEF";
		const char *at = memchr(set, s.ptr[i], 16);

		if (at == NULL)
			return false;
		*out = *out << 4 | (uint32_t)(at - set);
	}
	return true;
}

/* "0100007F:0019", or 32 digits for IPv6: words in the machine's own order of octets. */
static bool
address(struct slice word, char out[ADDRESS_MAX])
{
	char text[INET6_ADDRSTRLEN];
	struct slice host = slice_cut(&word, ':');
	uint32_t port, part[4];
	size_t words = host.len / 8;

	if ((words != 1 && words != 4) || host.len % 8 != 0 || !hex_number(word, 4, &port))
		return false;
	for (size_t i = 0; i < words; i++)
		if (!hex_number(slice_sub(host, i * 8, 8), 8, &part[i]))
			return false;
	if (inet_ntop(words == 1 ? AF_INET : AF_INET6, part, text, sizeof(text)) == NULL)
		return false;
	(void)snprintf(out, ADDRESS_MAX, words == 1 ? "%s:%u" : "[%s]:%u", text, port);
	return true;
}

bool
socket_parse_inet(struct slice line, const char *name, struct socket_info *out)
{
	char local[ADDRESS_MAX], remote[ADDRESS_MAX];
	struct slice rest = line;
	uint32_t state;

	(void)next_word(&rest);		/* "0:" */
	if (!address(next_word(&rest), local) || !address(next_word(&rest), remote) ||
	    !hex_number(next_word(&rest), 2, &state))
		return false;
	for (int i = 0; i < 5; i++)	/* queues, timer, retransmits, uid, timeout */
		(void)next_word(&rest);
	if (!slice_number(next_word(&rest), UINT64_MAX, &out->inode))
		return false;
	if (state == STATE_LISTEN || state == STATE_CLOSE)
		(void)snprintf(out->text, sizeof(out->text), "%s %s%s", name, local, state == STATE_LISTEN ? " listening" : "");
	else
		(void)snprintf(out->text, sizeof(out->text), "%s %s - %s", name, local, remote);
	return true;
}

bool
socket_parse_unix(struct slice line, struct socket_info *out)
{
	struct slice rest = line, word;
	uint32_t flags, type;
	const char *kind;

	(void)next_word(&rest);		/* address */
	(void)next_word(&rest);		/* references */
	(void)next_word(&rest);		/* protocol */
	if (!hex_number(next_word(&rest), 8, &flags) || !hex_number(next_word(&rest), 4, &type))
		return false;
	(void)next_word(&rest);		/* state */
	word = next_word(&rest);
	if (!slice_number(word, UINT64_MAX, &out->inode))
		return false;
	kind = type == 1 ? "stream" : type == 2 ? "datagram" : "packets";
	rest = slice_trim(rest);
	(void)snprintf(out->text, sizeof(out->text), "unix %.*s%s(%s)%s", (int)(rest.len < 120 ? rest.len : 120),
	    rest.len == 0 ? "" : rest.ptr, rest.len == 0 ? "" : " ", kind,
	    (flags & 0x10000) != 0 ? " listening" : "");	/* __SO_ACCEPTCON */
	return true;
}

static int
compare(const void *a, const void *b)
{
	const struct socket_info *x = a, *y = b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static void
read_table(const char *name, struct socket_info **all, size_t *n, size_t *size)
{
	char path[64], *line = NULL;
	size_t room = 0;
	ssize_t len;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/net/%s", name);
	f = fopen(path, "re");
	while (f != NULL && (len = getline(&line, &room, f)) > 0) {
		struct slice s = slice_sub(slice_make(line, (size_t)len), 0, (size_t)len - 1);
		struct socket_info *grown;

		if (*n == *size) {
			*size = *size == 0 ? 256 : *size * 2;
			grown = reallocarray(*all, *size, sizeof(**all));
			if (grown == NULL)
				break;
			*all = grown;
		}
		if (strcmp(name, "unix") == 0 ? socket_parse_unix(s, &(*all)[*n]) : socket_parse_inet(s, name, &(*all)[*n]))
			(*n)++;
	}
	free(line);
	if (f != NULL)
		(void)fclose(f);
}

struct socket_info *
sockets_read(size_t *n)
{
	static const char *const tables[] = { "tcp", "tcp6", "udp", "udp6", "unix" };
	struct socket_info *all = NULL;
	size_t size = 0;

	*n = 0;
	for (size_t i = 0; i < LEN(tables); i++)
		read_table(tables[i], &all, n, &size);
	if (all != NULL)
		qsort(all, *n, sizeof(*all), compare);
	return all;
}

const struct socket_info *
sockets_find(const struct socket_info *all, size_t n, uint64_t inode)
{
	const struct socket_info key = { .inode = inode };

	return all == NULL ? NULL : bsearch(&key, all, n, sizeof(*all), compare);
}
