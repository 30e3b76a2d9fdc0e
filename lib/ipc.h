/*
 * ipc: frames between the daemons, over SOCK_SEQPACKET Unix sockets.
 *
 * What is said is in ipc_messages.h; from its lines this module has, for each
 * message NAME, a struct ipc_NAME, ipc_put_NAME() and ipc_get_NAME().
 * One packet is one frame: u16 code, then the fields (little-endian; a slice
 * is u32 length and octets; a list is a slice of packed elements).
 */
#ifndef PP_IPC_H
#define PP_IPC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "slice.h"

#define IPC_VERSION	1
#define IPC_FRAME_MAX	(160 * 1024)	/* octets; every socket gets buffers to take several */
#define IPC_INLINE_MAX	(64 * 1024)	/* content up to this size travels in the frame */
#define IPC_RCPTS_MAX	(64 * 1024)	/* octets of a packed list of recipients in one frame */

#include "ipc_messages.h"

/* The code of a frame; false if it is shorter than that. */
bool ipc_code(struct slice frame, uint16_t *code);
/* "submit", or "unknown". */
const char *ipc_name(uint16_t code);

/* For each message: structs, put (append a whole frame to an empty buf) and get (views into frame). */
#define IPC_FIELD_TYPE_u8	uint8_t
#define IPC_FIELD_TYPE_u16	uint16_t
#define IPC_FIELD_TYPE_u32	uint32_t
#define IPC_FIELD_TYPE_u64	uint64_t
#define IPC_FIELD_TYPE_slice	struct slice
#define IPC_STRUCT_FIELD(type, name, limit, meaning)	IPC_FIELD_TYPE_##type name;
#define IPC_DECLARE(name, code, sender, receiver, FIELDS)		\
	struct ipc_##name { FIELDS(IPC_STRUCT_FIELD) };			\
	bool ipc_put_##name(struct buf *out, const struct ipc_##name *m);	\
	bool ipc_get_##name(struct slice frame, struct ipc_##name *m);
#define IPC_ENUM(name, code, sender, receiver, FIELDS)	IPC_##name = code,
IPC_MESSAGES(IPC_DECLARE)
enum ipc_code { IPC_MESSAGES(IPC_ENUM) };

/*
 * Elements of lists (IPC_ELEMENTS in ipc_messages.h): struct ipc_NAME,
 * ipc_add_NAME() appends one to a buf that becomes the list's slice,
 * ipc_next_NAME() takes one off the front.  next returns false at the end of
 * the list, and with *bad = true on a malformed element.
 */
#define IPC_ELEMENT_DECLARE(name, FIELDS)				\
	struct ipc_##name { FIELDS(IPC_STRUCT_FIELD) };			\
	bool ipc_add_##name(struct buf *list, const struct ipc_##name *m);	\
	bool ipc_next_##name(struct slice *list, struct ipc_##name *m, bool *bad);
IPC_ELEMENTS(IPC_ELEMENT_DECLARE)

/*
 * Sockets.  All descriptors are close-on-exec and non-blocking unless said.
 *
 * ipc_listen: bind dirfd/name (an old socket file of that name is replaced),
 * mode as given.  ipc_connect: connect to dirfd/name by a relative path (the
 * working folder is changed and put back, so folders above need no permission).
 * Both return a descriptor, or -1 with errno.
 */
int ipc_listen(int dirfd, const char *name, mode_t mode);
int ipc_connect(int dirfd, const char *name);
int ipc_accept(int listener);
/* For a connection that another way accepted: buffers that take several frames. */
void ipc_roomy(int fd);
bool ipc_pair(int fds[2]);

/* The uid at the other end when it connected (SO_PEERCRED). */
bool ipc_peer_uid(int fd, uid_t *uid);

enum ipc_io { IPC_IO_OK, IPC_IO_AGAIN, IPC_IO_CLOSED, IPC_IO_ERROR };

/* Send one frame, with up to one descriptor (-1: none; the caller keeps its own). */
enum ipc_io ipc_send(int fd, struct slice frame, int pass_fd);

/*
 * Receive one frame into buf (IPC_FRAME_MAX octets are reserved on first use;
 * the frame replaces what was there).  *passed gets a descriptor that came
 * along, or -1; the caller owns it.  A frame that was cut is an error.
 */
enum ipc_io ipc_recv(int fd, struct buf *frame, int *passed);

/* Wait until fd is readable (or writable) for at most timeout_ms; for commands, not for daemons. */
bool ipc_wait(int fd, bool writing, int timeout_ms);

#endif
