/*
 * privs: for each process of the running suite what it may do, read from the
 * kernel (/proc): ids, capabilities, no_new_privs, seccomp, sockets.  The
 * kernel lists no Landlock rules; these come from the record that the process
 * sealed when it confined itself (confine.h).
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "confine.h"
#include "privs_sockets.h"
#include "run_files.h"

#define STATUS_MAX	8192
#define RECORD_MAX	65536

static const char *const cap_names[] = {
	"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
	"linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
	"sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
	"sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
	"mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
	"checkpoint_restore",
};

struct privs {
	struct cli		*cli;
	struct run_list		 list;
	struct socket_info	*sockets;
	size_t			 socket_n;
	json_t			*all;
};

/* The value of "Name:\t..." in /proc/PID/status. */
static struct slice
status_field(struct slice status, const char *name)
{
	while (status.len > 0) {
		struct slice line = slice_cut(&status, '\n'), label = slice_cut(&line, ':');

		if (slice_is(label, name))
			return slice_trim(line);
	}
	return SLICE("");
}

static json_t *
field_json(struct slice status, const char *name)
{
	struct slice s = status_field(status, name);

	return cli_json_text(s.ptr, s.len);
}

/* "Uid: 1 1 1 1" as a list of numbers. */
static json_t *
numbers(struct slice s)
{
	json_t *list = json_array();
	uint64_t n;

	for (size_t i = 0; i < s.len; i++) {
		size_t end = i;

		while (end < s.len && s.ptr[end] >= '0' && s.ptr[end] <= '9')
			end++;
		if (end > i && slice_number(slice_sub(s, i, end - i), UINT32_MAX, &n))
			(void)json_array_append_new(list, json_integer((json_int_t)n));
		i = end;
	}
	return list;
}

static json_t *
capabilities(struct slice hex)
{
	char text[32];
	unsigned long long bits;
	json_t *list = json_array();

	if (!slice_text(hex, text, sizeof(text)))
		return list;
	bits = strtoull(text, NULL, 16);
	for (size_t i = 0; i < 64; i++) {
		if ((bits >> i & 1) == 0)
			continue;
		(void)json_array_append_new(list, i < LEN(cap_names) ? json_string(cap_names[i]) : json_sprintf("cap_%zu", i));
	}
	return list;
}

/* Sockets of a process; JSON null when we may not look. */
static json_t *
sockets_of(const struct privs *p, pid_t pid)
{
	char path[64], target[64];
	const struct dirent *e;
	json_t *list;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
	dir = opendir(path);
	if (dir == NULL)
		return json_null();
	list = json_array();
	while ((e = readdir(dir)) != NULL) {
		const struct socket_info *found;
		unsigned long long inode;
		ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);

		target[n > 0 ? n : 0] = '\0';
		if (sscanf(target, "socket:[%llu]", &inode) != 1)
			continue;
		found = sockets_find(p->sockets, p->socket_n, inode);
		(void)json_array_append_new(list, found != NULL ? json_string(found->text) : json_string("unix (pair)"));
	}
	(void)closedir(dir);
	return list;
}

/* The sealed record, a line each. */
static json_t *
record_of(pid_t pid)
{
	struct buf record;
	struct slice rest;
	json_t *out, *paths, *calls;

	buf_init(&record, RECORD_MAX);
	if (!confine_record_read(pid, &record)) {
		buf_clear(&record);
		return json_null();
	}
	out = json_object();
	paths = json_array();
	rest = buf_slice_of(&record);
	while (rest.len > 0) {
		struct slice line = slice_cut(&rest, '\n'), word = slice_cut(&line, ' ');
		char key[32];

		if (!slice_text(word, key, sizeof(key)))
			continue;
		if (strcmp(key, "read") == 0 || strcmp(key, "run") == 0 || strcmp(key, "write") == 0 || strcmp(key, "all") == 0) {
			(void)json_array_append_new(paths, json_pack("{s:s, s:o}", "access", key, "path", cli_json_text(line.ptr, line.len)));
		} else if (strcmp(key, "syscalls") == 0 || strcmp(key, "refused") == 0) {
			calls = json_array();
			while (line.len > 0) {
				word = slice_cut(&line, ' ');
				(void)json_array_append_new(calls, cli_json_text(word.ptr, word.len));
			}
			(void)json_object_set_new(out, key, calls);
		} else {
			(void)json_object_set_new(out, key, cli_json_text(line.ptr, line.len));
		}
	}
	(void)json_object_set_new(out, "paths", paths);
	buf_clear(&record);
	return out;
}

/* What the master calls it; else its own title. */
static const char *
name_of(const struct privs *p, const struct proc *proc)
{
	for (size_t i = 0; i < p->list.n; i++)
		if (p->list.at[i].pid == proc->pid)
			return p->list.at[i].name;
	return proc->name;
}

static json_t *
process_json(const struct privs *p, const struct proc *proc)
{
	char text[STATUS_MAX], path[64], exe[4200];
	ssize_t n = proc_file(proc->pid, "status", text, sizeof(text)), e;
	struct slice status = slice_make(text, n > 0 ? (size_t)n : 0);
	json_t *out;

	if (n <= 0)
		return NULL;
	(void)snprintf(path, sizeof(path), "/proc/%ld/exe", (long)proc->pid);
	e = readlink(path, exe, sizeof(exe) - 1);
	exe[e > 0 ? e : 0] = '\0';
	out = json_pack("{s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
	    "name", name_of(p, proc), "pid", (int)proc->pid, "parent", (int)proc->ppid,
	    "exe", e > 0 ? json_string(exe) : json_null(),
	    "uid", numbers(status_field(status, "Uid")), "gid", numbers(status_field(status, "Gid")),
	    "groups", numbers(status_field(status, "Groups")),
	    "cap_effective", capabilities(status_field(status, "CapEff")),
	    "cap_permitted", capabilities(status_field(status, "CapPrm")),
	    "cap_bounding", capabilities(status_field(status, "CapBnd")),
	    "no_new_privs", json_boolean(slice_is(status_field(status, "NoNewPrivs"), "1")),
	    "seccomp", field_json(status, "Seccomp"), "seccomp_filters", field_json(status, "Seccomp_filters"),
	    "sandbox", record_of(proc->pid));
	(void)json_object_set_new(out, "sockets", sockets_of(p, proc->pid));
	return out;
}

/* ---- text ---- */

static const char *
seccomp_words(const json_t *process)
{
	const char *mode = json_string_value(json_object_get(process, "seccomp"));

	return mode == NULL || strcmp(mode, "0") == 0 ? "off" : strcmp(mode, "1") == 0 ? "strict" : "filter";
}

static void
put_list(const char *label, const json_t *list, const char *empty)
{
	const json_t *v;
	size_t i;

	(void)printf("  %-14s", label);
	if (json_array_size(list) == 0)
		(void)printf("%s", empty);
	if (json_array_size(list) >= LEN(cap_names)) {
		(void)printf("all capabilities\n");
		return;
	}
	json_array_foreach(list, i, v) {
		if (json_is_integer(v))
			(void)printf("%s%lld", i > 0 ? " " : "", (long long)json_integer_value(v));
		else
			(void)printf("%s%s", i > 0 ? " " : "", json_string_value(v));
	}
	(void)putchar('\n');
}

static void
put_sandbox(const json_t *sandbox)
{
	const json_t *paths = json_object_get(sandbox, "paths"), *v;
	const char *abi = json_string_value(json_object_get(sandbox, "landlock"));
	const char *network = json_string_value(json_object_get(sandbox, "network"));
	size_t i;

	if (!json_is_object(sandbox)) {
		(void)printf("  %-14s%s\n", "landlock", "no record");
		return;
	}
	(void)printf("  %-14s%s\n", "kind", json_string_value(json_object_get(sandbox, "kind")));
	(void)printf("  %-14s%zu allowed, %zu refused by name\n", "system calls",
	    json_array_size(json_object_get(sandbox, "syscalls")), json_array_size(json_object_get(sandbox, "refused")));
	(void)printf("  %-14sversion %s, tcp %s (as the process recorded it; the kernel does not list it)\n", "landlock",
	    abi == NULL ? "0" : abi, network == NULL ? "any" : network);
	if (json_array_size(paths) == 0)
		(void)printf("  %-14s%s\n", "  paths", "none");
	json_array_foreach(paths, i, v)
		(void)printf("  %-14s%s\n", json_string_value(json_object_get(v, "access")), json_string_value(json_object_get(v, "path")));
}

static void
put_text(const json_t *process)
{
	const json_t *sockets = json_object_get(process, "sockets"), *v;
	const char *filters = json_string_value(json_object_get(process, "seccomp_filters"));
	size_t i;

	(void)printf("%s  pid %lld, child of %lld\n", json_string_value(json_object_get(process, "name")),
	    (long long)json_integer_value(json_object_get(process, "pid")),
	    (long long)json_integer_value(json_object_get(process, "parent")));
	put_list("uid r e s f", json_object_get(process, "uid"), "?");
	put_list("gid r e s f", json_object_get(process, "gid"), "?");
	put_list("groups", json_object_get(process, "groups"), "none");
	put_list("effective", json_object_get(process, "cap_effective"), "no capabilities");
	put_list("permitted", json_object_get(process, "cap_permitted"), "no capabilities");
	put_list("bounding", json_object_get(process, "cap_bounding"), "no capabilities");
	(void)printf("  %-14s%s\n", "no_new_privs", json_is_true(json_object_get(process, "no_new_privs")) ? "yes" : "no");
	(void)printf("  %-14s%s, %s filters\n", "seccomp", seccomp_words(process), filters == NULL ? "?" : filters);
	put_sandbox(json_object_get(process, "sandbox"));
	if (json_is_null(sockets))
		(void)printf("  %-14s%s\n", "sockets", "not shown: ask as root");
	json_array_foreach(sockets, i, v)
		(void)printf("  %-14s%s\n", "socket", json_string_value(v));
	(void)putchar('\n');
}

int
cmd_privs(struct cli *c, int argc, char **argv)
{
	struct privs *p;
	struct proc *all;
	json_t *one;
	size_t n, count;
	int dirfd;

	(void)argv;
	if (argc != 1)
		return cli_usage(c, "pennypost privs");
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return EX_OSERR;
	p->cli = c;
	p->all = json_array();
	dirfd = open(c->conf.run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd >= 0)
		(void)run_list_read(dirfd, &p->list);
	all = proc_all(&n);
	count = all == NULL ? 0 : run_list_pick(&p->list, all, n);
	p->sockets = sockets_read(&p->socket_n);
	for (size_t i = 0; i < n && all != NULL; i++) {
		if (!all[i].picked || all[i].state == 'Z' || (one = process_json(p, &all[i])) == NULL)
			continue;
		if (!c->json)
			put_text(one);
		(void)json_array_append_new(p->all, one);
	}
	if (c->json)
		cli_json(json_incref(p->all));
	if (count == 0)
		cli_say(c, "is not running");
	json_decref(p->all);
	free(p->sockets);
	free(all);
	free(p);
	if (dirfd >= 0)
		(void)close(dirfd);
	return count == 0 ? EX_UNAVAILABLE : EX_OK;
}
