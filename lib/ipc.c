#include "ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- encoding: little-endian numbers, slices as u32 length and octets ---- */

static void
put_number(struct buf *out, uint64_t n, size_t octets)
{
	unsigned char raw[8];

	for (size_t i = 0; i < octets; i++)
		raw[i] = (unsigned char)(n >> (8 * i));
	(void)buf_put(out, raw, octets);
}

static bool
get_number(struct slice *in, uint64_t *n, size_t octets, uint64_t max)
{
	if (in->len < octets)
		return false;
	*n = 0;
	for (size_t i = 0; i < octets; i++)
		*n |= (uint64_t)(unsigned char)in->ptr[i] << (8 * i);
	*in = slice_sub(*in, octets, in->len);
	return *n <= max;
}

#define NUMBER(type, octets)							\
	static bool								\
	put_##type(struct buf *out, type##_value v, uint64_t max)		\
	{									\
		if (v > max)							\
			return false;						\
		put_number(out, v, octets);					\
		return true;							\
	}									\
	static bool								\
	get_##type(struct slice *in, type##_value *v, uint64_t max)		\
	{									\
		uint64_t n;							\
										\
		if (!get_number(in, &n, octets, max))				\
			return false;						\
		*v = (type##_value)n;						\
		return true;							\
	}

typedef uint8_t u8_value;
typedef uint16_t u16_value;
typedef uint32_t u32_value;
typedef uint64_t u64_value;
NUMBER(u8, 1)
NUMBER(u16, 2)
NUMBER(u32, 4)
NUMBER(u64, 8)

static bool
put_slice(struct buf *out, struct slice s, uint64_t max)
{
	if (s.len > max)
		return false;
	put_number(out, s.len, 4);
	(void)buf_slice(out, s);
	return true;
}

static bool
get_slice(struct slice *in, struct slice *s, uint64_t max)
{
	uint64_t len;

	if (!get_number(in, &len, 4, max) || len > in->len)
		return false;
	*s = slice_sub(*in, 0, (size_t)len);
	*in = slice_sub(*in, (size_t)len, in->len);
	return true;
}

/* ---- one put and get a message, one add and next an element ---- */

#define PUT_FIELD(type, name, limit, meaning)	ok = ok && put_##type(out, m->name, limit);
#define GET_FIELD(type, name, limit, meaning)	ok = ok && get_##type(&frame, &m->name, limit);

#define DEFINE_MESSAGE(name, code, sender, receiver, FIELDS)			\
	bool									\
	ipc_put_##name(struct buf *out, const struct ipc_##name *m)		\
	{									\
		size_t before = out->len;					\
		bool ok = true;							\
										\
		put_number(out, code, 2);					\
		FIELDS(PUT_FIELD)						\
		return ok && !out->full && out->len - before <= IPC_FRAME_MAX;	\
	}									\
	bool									\
	ipc_get_##name(struct slice frame, struct ipc_##name *m)		\
	{									\
		uint64_t got;							\
		bool ok = get_number(&frame, &got, 2, UINT16_MAX) && got == (code); \
										\
		*m = (struct ipc_##name){ 0 };					\
		FIELDS(GET_FIELD)						\
		return ok && frame.len == 0;					\
	}
IPC_MESSAGES(DEFINE_MESSAGE)

#define GET_ELEMENT_FIELD(type, name, limit, meaning)	ok = ok && get_##type(list, &m->name, limit);
#define DEFINE_ELEMENT(name, FIELDS)						\
	bool									\
	ipc_add_##name(struct buf *out, const struct ipc_##name *m)		\
	{									\
		size_t before = out->len;					\
		bool ok = true;							\
										\
		FIELDS(PUT_FIELD)						\
		if (ok && !out->full)						\
			return true;						\
		out->len = before;	/* nothing of it stays */		\
		return false;							\
	}									\
	bool									\
	ipc_next_##name(struct slice *list, struct ipc_##name *m, bool *bad)	\
	{									\
		bool ok = true;							\
										\
		*m = (struct ipc_##name){ 0 };					\
		if (list->len == 0)						\
			return false;						\
		FIELDS(GET_ELEMENT_FIELD)					\
		if (!ok)							\
			*bad = true;						\
		return ok;							\
	}
IPC_ELEMENTS(DEFINE_ELEMENT)

bool
ipc_code(struct slice frame, uint16_t *code)
{
	uint64_t n;

	if (!get_number(&frame, &n, 2, UINT16_MAX))
		return false;
	*code = (uint16_t)n;
	return true;
}

const char *
ipc_name(uint16_t code)
{
#define NAME_CASE(name, c, sender, receiver, FIELDS)	case c: return #name;
	switch (code) {
	IPC_MESSAGES(NAME_CASE)
	default:
		return "unknown";
	}
}

/* ---- sockets ---- */

/* Several frames of the largest size must fit, or a full socket would never take one. */
void
ipc_roomy(int fd)
{
	int size = 4 * IPC_FRAME_MAX;

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* Run bind or connect with dirfd as the working folder: the path stays relative and short. */
static int
at_folder(int dirfd, const char *name, int fd,
    int (*call)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int back, result, error;

	if (strlen(name) >= sizeof(sun.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sun.sun_path, name, strlen(name));
	back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fchdir(dirfd) != 0) {
		error = errno;
		if (back != -1)
			(void)close(back);
		errno = error;
		return -1;
	}
	result = call(fd, (const struct sockaddr *)&sun, sizeof(sun));
	error = errno;
	if (back != -1) {
		if (fchdir(back) != 0 && result == 0) {
			result = -1;
			error = errno;
		}
		(void)close(back);
	}
	errno = error;
	return result;
}

int
ipc_listen(int dirfd, const char *name, mode_t mode)
{
	struct stat st;
	int fd;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode))
		(void)unlinkat(dirfd, name, 0);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -1;
	if (at_folder(dirfd, name, fd, bind) != 0 ||
	    fchmodat(dirfd, name, mode, 0) != 0 || listen(fd, 1024) != 0) {
		int error = errno;

		(void)close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int
ipc_connect(int dirfd, const char *name)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd == -1)
		return -1;
	ipc_roomy(fd);
	if (at_folder(dirfd, name, fd, connect) != 0) {
		int error = errno;

		(void)close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int
ipc_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd != -1)
		ipc_roomy(fd);
	return fd;
}

bool
ipc_pair(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
		return false;
	ipc_roomy(fds[0]);
	ipc_roomy(fds[1]);
	return true;
}

bool
ipc_peer_uid(int fd, uid_t *uid)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return false;
	*uid = peer.uid;
	return true;
}

/* ---- frames ---- */

enum ipc_io
ipc_send(int fd, struct slice frame, int pass_fd)
{
	union {
		struct cmsghdr	align;
		char		space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)frame.ptr, .iov_len = frame.len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (pass_fd != -1) {
		struct cmsghdr *c;

		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &pass_fd, sizeof(int));
	}
	do
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (n == -1 && errno == EINTR);
	if (n == (ssize_t)frame.len)
		return IPC_IO_OK;
	if (n == -1 && (errno == EAGAIN || errno == ENOBUFS))
		return IPC_IO_AGAIN;
	if (n == -1 && (errno == EPIPE || errno == ECONNRESET))
		return IPC_IO_CLOSED;
	return IPC_IO_ERROR;
}

/* Take the one descriptor that may have come along; others are closed. */
static int
passed_fd(struct msghdr *msg)
{
	int first = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (first == -1)
				first = fd;
			else
				(void)close(fd);
		}
	}
	return first;
}

enum ipc_io
ipc_recv(int fd, struct buf *frame, int *passed)
{
	union {
		struct cmsghdr	align;
		char		space[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov;
	struct msghdr msg;
	ssize_t n;
	char *room;

	*passed = -1;
	buf_reset(frame);
	room = buf_room(frame, IPC_FRAME_MAX);
	if (room == NULL)
		return IPC_IO_ERROR;
	do {
		iov = (struct iovec){ .iov_base = room, .iov_len = IPC_FRAME_MAX };
		msg = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1,
		    .msg_control = control.space, .msg_controllen = sizeof(control.space) };
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (n == -1 && errno == EINTR);
	if (n == -1) {
		if (errno == EAGAIN)
			return IPC_IO_AGAIN;
		return errno == ECONNRESET ? IPC_IO_CLOSED : IPC_IO_ERROR;
	}
	*passed = passed_fd(&msg);
	if (n == 0)
		return IPC_IO_CLOSED;
	if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
		if (*passed != -1)
			(void)close(*passed);
		*passed = -1;
		return IPC_IO_ERROR;
	}
	buf_add(frame, (size_t)n);
	return IPC_IO_OK;
}

bool
ipc_wait(int fd, bool writing, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = writing ? POLLOUT : POLLIN };
	int n;

	do
		n = poll(&p, 1, timeout_ms);
	while (n == -1 && errno == EINTR);
	return n == 1;
}
