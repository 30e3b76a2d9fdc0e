/*
 * folders: the folders that a suite keeps its things in, with owner and mode.
 *
 * Made by `pennypost init` and again, where missing, by `start`.  Runs as root,
 * so nothing is trusted: folders are walked one by one with O_NOFOLLOW (a
 * symbolic link only if root or we made it), changed through their descriptor, and
 * only when they belong to us or already to the account that should have them.
 */
#ifndef PP_FOLDERS_H
#define PP_FOLDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "conf.h"

/*
 * Open the folder of an absolute path, making what is missing (root or our
 * uid, 0755).  Returns an O_RDONLY|O_DIRECTORY descriptor, or -1 with `why` filled.
 */
int folder_open(const char *path, char *why, size_t why_size);

/* The same, then give it this owner and mode; uid (uid_t)-1: not root, only the mode is set. */
int folder_make(const char *path, uid_t uid, gid_t gid, mode_t mode, char *why, size_t why_size);

/* All folders of the configuration.  False: `why` says which one and what to do. */
bool folders_make(const struct conf *conf, char *why, size_t why_size);

/* For `check`: what is missing (no mistake yet) or cannot be used, with the option that names it. */
typedef void folder_say(void *ctx, bool mistake, const char *option, const char *text);
void folders_check(const struct conf *conf, folder_say *say, void *ctx);

/*
 * Write a whole file below dirfd: beside it, synced, renamed over it, folder
 * synced.  False with errno: the old file, if any, is untouched.
 */
bool file_replace(int dirfd, const char *name, const void *ptr, size_t len, mode_t mode, uid_t uid, gid_t gid);

#endif
