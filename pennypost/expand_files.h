/* expand_files: reads :include: and .forward files for expand_address(), as whoever runs the command. */
#ifndef PP_EXPAND_FILES_H
#define PP_EXPAND_FILES_H

#include "expand.h"

/* Fill in include and forward; ctx is not used. */
void expand_files(struct expand_ops *ops);

#endif
