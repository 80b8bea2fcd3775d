#define _GNU_SOURCE
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

const char *tree, *temporary;
int children;

_Noreturn void fail(const char *what) {
    static bool again;
    dprintf(STDERR_FILENO, "auton-sandbox: %s: %s\n", what, strerror(errno));
    // Where we are process 1 they would die with us.
    if (!again) again = true, end_processes();
    exit(70);
}

/// Reads from the socket; at its end nobody is there any more to work for.
static void receive(void *bytes, size_t count) {
    for (char *next = bytes; count;) {
        ssize_t got = read(STDIN_FILENO, next, count);
        if (got == 0) exit(0);
        if (got < 0 && errno != EINTR) fail("cannot read");
        if (got > 0) next += got, count -= (size_t)got;
    }
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory) fail("no memory");
    return memory;
}

static void serve(void) {
    uint8_t kind;
    receive(&kind, 1);
    // A stop may come too late.
    if (kind == AUTON_SANDBOX_STOP) return;
    struct auton_sandbox_request request;
    receive(&request, sizeof request);
    char *text = allocate(request.argument_bytes + 1, 1), *input = allocate(request.input_bytes + 1, 1);
    receive(text, request.argument_bytes);
    receive(input, request.input_bytes);
    size_t count = 0;
    for (size_t place = 0; place < request.argument_bytes; place++) count += !text[place];
    char **words = allocate(count + 1, sizeof *words);
    for (char *word = text, **next = words; next < words + count; word += strlen(word) + 1) *next++ = word;
    if (kind != AUTON_SANDBOX_RUN || !count) errno = EPROTO, fail("nonsense was asked");
    run_command(&request, words, input);
    free(words), free(input), free(text);
}

void make_session_nice(void) {
    const int niceness = getpriority(PRIO_PROCESS, 0);
    const int session = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
    for (int n = 0; n < 500 && dprintf(session, "%d", niceness) < 0 && errno == EAGAIN; n++) usleep(10000);
    close(session);
}

/// Undoes what we were started with: open files of others, ignored signals, and a place among those whom the kernel spares
/// when memory is short. A niceness stays, and is the session's, too.
static void begin_clean(void) {
    if (getpriority(PRIO_PROCESS, 0) > 0) make_session_nice();
    if (close_range(STDERR_FILENO + 1, ~0U, 0) != 0) fail("cannot close");
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    int adjustment = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (adjustment < 0 || write(adjustment, "1000", 4) != 4 || close(adjustment) != 0) fail("cannot set oom_score_adj");
    sigset_t all;
    sigfillset(&all);
    // What a command sends us waits for ever. Its children's ends are read as the only ones.
    if (sigprocmask(SIG_SETMASK, &all, NULL) != 0) fail("cannot block signals");
    sigemptyset(&all);
    sigaddset(&all, SIGCHLD);
    children = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    if (children < 0) fail("cannot watch children");
}

int main(int count, char **words) {
    if (count != 4) {
        fputs("usage: auton-sandbox USER TREE TEMPORARY\n"
              "Runs commands inside a sandbox; started by the programs that need one, with a socket as standard input.\n",
              stderr);
        return 64;
    }
    tree = words[2], temporary = words[3];
    begin_clean();
    drop_privileges((uid_t)strtoul(words[1], NULL, 10));
    // After the change of user, which undoes both: to die with whom we work for, and not to be looked into.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0) fail("cannot protect itself");
    // Orphans come to us even where we are not process 1.
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) fail("cannot adopt orphans");
    filter_system_calls();
    send_all(&(uint8_t){AUTON_SANDBOX_READY}, 1);
    for (;;) serve();
}
