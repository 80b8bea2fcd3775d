#define _GNU_SOURCE
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/// Between looks at what no rlimit bounds.
enum { LOOK_MILLISECONDS = 50 };

struct pipe {
    int reader, writer;
};

static struct pipe make_pipe(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) fail("no pipe");
    return (struct pipe){ends[0], ends[1]};
}

static void do_not_block(int fd) {
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) fail("cannot set a pipe");
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/// In the child: has a third of the processor time that it had beside others, and does not interrupt them when it wakes. It does without
/// what is not to be had.
static void give_way(void) {
    setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + 5);
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    // Whoever changed its user has no files there until it has become another program.
    prctl(PR_SET_DUMPABLE, 1);
    make_session_nice();
}

/// In the child: becomes the command.
static _Noreturn void become(
    const struct auton_sandbox_request *request, char **words, int input, int output, int errors, int complaint
) {
    const struct {
        __rlimit_resource_t resource;
        rlim_t value;
    } limits[] = {
        {RLIMIT_AS, request->address_space}, {RLIMIT_CPU, request->cpu_seconds}, {RLIMIT_NPROC, request->processes},
        {RLIMIT_FSIZE, request->file_size},  {RLIMIT_NOFILE, 256},               {RLIMIT_CORE, 0},
    };
    bool done = (request->gives_way ? setsid() >= 0 : setpgid(0, 0) == 0) && chdir(tree) == 0;
    if (request->gives_way) give_way();
    done &= dup2(input, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 && dup2(errors, STDERR_FILENO) >= 0;
    for (size_t n = 0; n < sizeof limits / sizeof *limits; n++)
        done &= setrlimit(limits[n].resource, &(struct rlimit){limits[n].value, limits[n].value}) == 0;
    sigset_t none;
    sigemptyset(&none);
    if (done && sigprocmask(SIG_SETMASK, &none, NULL) == 0) execvp(words[0], words);
    const int code = errno;
    _exit(write(complaint, &code, sizeof code) == sizeof code ? 127 : 126);
}

struct command {
    pid_t pid;
    struct output output, errors;
    int input, complaint;
};

static struct command start(const struct auton_sandbox_request *request, char **words) {
    struct pipe input = make_pipe(), output = make_pipe(), errors = make_pipe(), complaint = make_pipe();
    pid_t pid = fork();
    if (pid < 0) fail("cannot fork");
    if (pid == 0) become(request, words, input.reader, output.writer, errors.writer, complaint.writer);
    close(input.reader), close(output.writer), close(errors.writer), close(complaint.writer);
    do_not_block(input.writer), do_not_block(output.reader), do_not_block(errors.reader);
    struct command command = {.pid = pid, .input = input.writer, .complaint = complaint.reader};
    output_open(&command.output, output.reader, request->output);
    output_open(&command.errors, errors.reader, request->output);
    return command;
}

/// Reaps who has ended; true if the command itself is among them.
static bool reap(struct command *command, struct auton_sandbox_reply *reply) {
    struct signalfd_siginfo signals[8];
    while (read(children, signals, sizeof signals) > 0) {}
    bool ended = false;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid != command->pid) continue;
        ended = true;
        reply->ending = WIFSIGNALED(status) ? AUTON_SANDBOX_SIGNALLED : AUTON_SANDBOX_EXITED;
        reply->code = (uint64_t)(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    return ended;
}

/// Whether the command is to stop. Who asks for it and is gone ends everything.
static bool is_told_to_stop(void) {
    uint8_t kind;
    ssize_t got = read(STDIN_FILENO, &kind, 1);
    if (got == 1 && kind == AUTON_SANDBOX_STOP) return true;
    end_processes();
    if (got == 0) exit(0);
    fail("nonsense was asked");
}

/// What ends the command from outside, at its time or for what it uses up; EXITED if nothing does.
static uint64_t look(const struct auton_sandbox_request *request) {
    return memory_below() > request->memory ? AUTON_SANDBOX_MEMORY : disk_look();
}

static void drain(struct output *output) {
    uint64_t before;
    do before = output->total;
    while (output_take(output) && output->total > before);
}

/// Passes on what there is until the command has ended or is to be ended.
static void attend(
    struct command *command, const struct auton_sandbox_request *request, const char *input, struct auton_sandbox_reply *reply
) {
    const uint64_t end = now() + request->milliseconds;
    uint64_t next_look = now() + LOOK_MILLISECONDS, left = request->input_bytes;
    struct pollfd events[] = {
        {STDIN_FILENO, POLLIN, 0},       {children, POLLIN, 0},           {command->output.fd, POLLIN, 0},
        {command->errors.fd, POLLIN, 0}, {command->input, POLLOUT, 0},
    };
    for (;;) {
        if (!left && events[4].fd >= 0) close(command->input), events[4].fd = -1;
        const uint64_t time = now(), wake = end < next_look ? end : next_look;
        if (poll(events, 5, wake > time ? (int)(wake - time) : 0) < 0 && errno != EINTR) fail("cannot wait");
        if (events[1].revents && reap(command, reply)) break;
        if (events[0].revents && is_told_to_stop()) { reply->ending = AUTON_SANDBOX_STOPPED; break; }
        if (events[2].revents && !output_take(&command->output)) events[2].fd = -1;
        if (events[3].revents && !output_take(&command->errors)) events[3].fd = -1;
        if (events[4].revents) {
            ssize_t put = write(command->input, input + (request->input_bytes - left), left);
            // A command need not read its input.
            left = put >= 0 ? left - (uint64_t)put : errno == EAGAIN ? left : 0;
        }
        if (now() >= end) { reply->ending = AUTON_SANDBOX_STOPPED; break; }
        if (now() < next_look) continue;
        next_look = now() + LOOK_MILLISECONDS;
        if ((reply->ending = look(request)) != AUTON_SANDBOX_EXITED) break;
    }
    if (events[4].fd >= 0) close(command->input);
}

void run_command(const struct auton_sandbox_request *request, char **words, const char *input) {
    struct auton_sandbox_reply reply = {.ending = AUTON_SANDBOX_EXITED};
    disk_begin(request->disk);
    struct command command = start(request, words);
    attend(&command, request, input, &reply);
    end_processes();
    // Nobody is left to write; what was written is in the pipes.
    drain(&command.output), drain(&command.errors);
    close(command.output.fd), close(command.errors.fd);
    int code;
    if (read(command.complaint, &code, sizeof code) == sizeof code) {
        reply.ending = AUTON_SANDBOX_NOT_BEGUN;
        reply.code = (uint64_t)code;
    }
    close(command.complaint);
    reply.ending = disk_blame(reply.ending);
    reply.is_clean = empty_temporary();
    reply.output_total = command.output.total, reply.output_bytes = output_kept(&command.output);
    reply.error_total = command.errors.total, reply.error_bytes = output_kept(&command.errors);
    send_all(&reply, sizeof reply);
    output_send(&command.output), output_send(&command.errors);
}
