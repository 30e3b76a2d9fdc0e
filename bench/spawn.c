/*
 * spawn: runs a program again and again, one after the other.
 *
 *	spawn COUNT STDIN-FILE PROGRAM ARGV0 [ARGUMENT ...]
 *
 * Its stdin is the file, read from the beginning each time.  Prints the runs
 * a second; exits 1 at the first run that fails.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double
now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
run(const char *program, char **argv, const char *input)
{
	posix_spawn_file_actions_t files;
	int status = -1;
	pid_t pid;

	if (posix_spawn_file_actions_init(&files) != 0)
		return -1;
	if (posix_spawn_file_actions_addopen(&files, 0, input, O_RDONLY, 0) == 0 &&
	    posix_spawn(&pid, program, &files, NULL, argv, environ) == 0 &&
	    waitpid(pid, &status, 0) != pid)
		status = -1;
	(void)posix_spawn_file_actions_destroy(&files);
	return status;
}

int
main(int argc, char **argv)
{
	long count;
	double start;

	if (argc < 5 || (count = strtol(argv[1], NULL, 10)) <= 0) {
		(void)fprintf(stderr, "usage: spawn COUNT STDIN-FILE PROGRAM ARGV0 [ARGUMENT ...]\n");
		return 64;
	}
	start = now_s();
	for (long i = 0; i < count; i++) {
		int status = run(argv[3], argv + 4, argv[2]);

		if (status != 0) {
			(void)fprintf(stderr, "spawn: run %ld: %s ended with %d\n", i, argv[3], status);
			return 1;
		}
	}
	(void)printf("%.1f\n", (double)count / (now_s() - start));
	return 0;
}
