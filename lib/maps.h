/*
 * maps: compile the texts that people edit into map_dir/routes.cdb (who exists
 * and where mail goes; world-readable to the suite) and
 * map_dir/private/accounts.cdb (password hashes; auth alone).
 *
 * Each is written beside, synced and renamed; on any mistake the old maps stay.
 */
#ifndef PP_MAPS_H
#define PP_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"

struct maps_report {
	struct conf_problems	 problems;	/* with file names in the text: "FILE:LINE: ..." */
	size_t	aliases, longest, total;	/* of the machine's alias file, for newaliases */
	size_t	domains, mailboxes, domain_aliases;
	int	exit_code;			/* 0, or 65 syntax, 66 no file, 73 cannot write (CONVENTIONS.md section 3) */
};

/*
 * check_only: parse and report, write nothing.  False: the old maps stay, and
 * exit_code and at least one problem that is no warning say why.
 *
 * Without a machine alias file (conf->aliases) everything else is compiled and
 * true is returned; exit_code is then 66 for newaliases, and a warning says so.
 *
 * Compilers exclude each other by a lock on map_dir, which is held while the
 * texts are read, so whoever edits first and compiles then finds his edit in.
 */
bool maps_compile(const struct conf *conf, bool check_only, struct maps_report *report);
void maps_report_clear(struct maps_report *report);

#endif
