/*
 * cdb_check: is a compiled map whole?  libcdb maps files into memory and
 * checks every offset that it follows, but a file that was cut short would
 * end the process with SIGBUS: so this is asked before it is opened.
 */
#ifndef PP_CDB_CHECK_H
#define PP_CDB_CHECK_H

#include <stdbool.h>
#include <sys/stat.h>

/* A regular file whose header leads to hash tables that end where the file ends. */
bool cdb_check(int fd);

/* Has the file still the size it had when st was taken?  One fstat. */
bool cdb_check_size(int fd, const struct stat *st);

#endif
