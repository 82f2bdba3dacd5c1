/*
 * cpu.c - runs a command and prints the milliseconds of processor time that it used, with its
 * children, to standard error. Its exit code is the command's.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static double ms(struct timeval tv)
{
	return (double)tv.tv_sec * 1e3 + (double)tv.tv_usec / 1e3;
}

int main(int argc, char **argv)
{
	struct rusage u;
	int st = 0;
	pid_t pid;

	if (argc < 2)
		return 125;
	pid = fork();
	if (pid == 0) {
		execvp(argv[1], argv + 1);
		perror(argv[1]);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &st, 0) != pid || getrusage(RUSAGE_CHILDREN, &u) < 0)
		return 125;
	fprintf(stderr, "%.2f\n", ms(u.ru_utime) + ms(u.ru_stime));
	return WIFEXITED(st) ? WEXITSTATUS(st) : 125;
}
