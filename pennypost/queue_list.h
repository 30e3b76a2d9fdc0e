/* queue_list: what is in the queue, as mailq prints it (CONVENTIONS.md section 2). */
#ifndef PP_QUEUE_LIST_H
#define PP_QUEUE_LIST_H

#include <stdio.h>

#include "cli.h"
#include "client.h"
#include "ipc.h"

/* Ask queue and print to stdout; json: one object a line.  Exit code. */
int queue_list(struct cli *c, const struct ipc_queue_list *filter, bool json);

/* Connect to queue-control; says what is wrong and puts the exit code into *rc. */
bool queue_open(struct cli *c, struct client *client, int *rc);

/* ---- how it looks; out is stdout but in tests ---- */

struct queue_printer {
	FILE		*out;
	bool		 json;
	uint64_t	 last;		/* id of the message that is open; 0 none */
	json_t		*message;	/* json: the one that is being put together */
	uint64_t	 octets, messages;
	struct buf	 reason;	/* printed last in this message */
};
void queue_print_begin(struct queue_printer *p, FILE *out, bool json);
/* False: the item is malformed. */
bool queue_print_item(struct queue_printer *p, const struct ipc_queue_item *item);
void queue_print_end(struct queue_printer *p);

#endif
