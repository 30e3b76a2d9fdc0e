/*
 * tracer_story: answers "what became of it": by queue id, Message-ID or
 * address, the events of the messages concerned and of the notifications about
 * them, as frames on the asker's connection.
 */
#ifndef PP_TRACER_STORY_H
#define PP_TRACER_STORY_H

#include "slice.h"
#include "tracer_index.h"

/* Tell it all and end with queue_end; fd stays open.  False: the index is damaged (the asker was told TEMP). */
bool story_tell(struct index_db *x, int trace_dirfd, struct slice key, int fd);

#endif
