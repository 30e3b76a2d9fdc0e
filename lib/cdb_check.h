/*
 * cdb_check: is a compiled map whole?  libcdb maps files into memory and
 * checks every offset that it follows, but a file that was cut short would
 * end the process with SIGBUS: so this is asked before it is opened.
 */
#ifndef PP_CDB_CHECK_H
#define PP_CDB_CHECK_H

#include <stdbool.h>
#include <sys/stat.h>

/*
 * fstat(2) by the system call of that name.  glibc asks newfstatat, which takes
 * a path as well, so a filter cannot allow the one without the other, and fronts
 * must not look at files by name.
 */
bool cdb_stat(int fd, struct stat *st);

/* A regular file whose header leads to hash tables that end where the file ends. */
bool cdb_check(int fd);

/* Has the file still the size it had when st was taken?  One fstat. */
bool cdb_check_size(int fd, const struct stat *st);

#endif
