// auton-sandbox: process 1 of a sandbox, which bubblewrap starts. It runs one command after another, each within its limits,
// and answers for nothing of a command being left when its end is told. It and the commands are one user: it is made so that
// they can neither look into it, nor end it, nor change what the next command starts with.
#pragma once

#include "SandboxProtocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// Where commands begin, and what is bounded by a request's `disk`.
extern const char *tree;
/// The directory for temporary files, which is emptied after each command.
extern const char *temporary;
/// What SIGCHLD is read from: a signalfd(2).
extern int children;

/// Says what failed on standard error, with errno's reason, and ends the sandbox.
_Noreturn void fail(const char *what);

/// Where the kernel schedules sessions, ours has our niceness from now on, without which that counts among ourselves only (sched(7),
/// autogroup). The kernel hears one such call in a tenth of a second, of whoever it is; after five seconds of others' we do without.
void make_session_nice(void);

// privileges.c
/// Gives up all privileges, after which no program that is started can have any; becomes `user` unless that is 0.
void drop_privileges(uid_t user);
/// Keeps commands from what rlimits do not bound, what outlives them, and what would change the supervisor.
void filter_system_calls(void);

// command.c
/// Runs a command to its end and answers.
/// - words: ends with NULL.
void run_command(const struct auton_sandbox_request *request, char **words, const char *input);

// output.c
/// What is kept of an output stream: the first bytes and, in a ring, the last.
struct output {
    int fd;
    uint64_t total;
    size_t limit;
    char *bytes;
};
void output_open(struct output *output, int fd, size_t limit);
/// Takes what there is to read; false at the end.
bool output_take(struct output *output);
size_t output_kept(const struct output *output);
/// Sends what was kept, in order, and frees it.
void output_send(struct output *output);
/// Sends all of it to whom we answer.
void send_all(const void *bytes, size_t count);

// processes.c
/// Bytes of memory, resident and not of a file, that all processes below this one have.
uint64_t memory_below(void);
/// Kills and reaps every process below this one, until there is none.
void end_processes(void);

// disk.c
/// Begins to watch that the tree does not come to more than `limit` bytes.
void disk_begin(uint64_t limit);
/// What is to be said of the disk while a command runs: EXITED for nothing, else DISK or SHORTAGE.
uint64_t disk_look(void);
/// Whether what was taken for SHORTAGE was the command's doing: now that it is dead, what it hid is free again.
uint64_t disk_blame(uint64_t ending);
/// Empties the directory for temporary files; false if something remains.
bool empty_temporary(void);
