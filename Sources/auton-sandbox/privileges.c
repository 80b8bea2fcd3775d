#define _GNU_SOURCE
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void tell_kernel(const char *file, const char *words) {
    int open_file = open(file, O_WRONLY | O_CLOEXEC);
    if (open_file < 0 || write(open_file, words, strlen(words)) != (ssize_t)strlen(words) || close(open_file) != 0)
        fail("cannot name the user");
}

static void drop_bounding_set(void) {
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
        if (prctl(PR_CAPBSET_DROP, capability) != 0) fail("cannot drop capabilities");
}

/// The kernel counts a user's processes by user namespace, and the user is one for all sandboxes: in a namespace of their own a
/// crowd in one of them keeps nobody else from forking. Where the kernel gives none, that remains.
static void count_processes_alone(uid_t user) {
    // The change of user has made our files in /proc root's.
    if (prctl(PR_SET_DUMPABLE, 1) != 0) fail("cannot be looked into");
    if (unshare(CLONE_NEWUSER) != 0) return;
    drop_bounding_set(); // which it begins with whole
    char map[64];
    snprintf(map, sizeof map, "%u %u 1", user, user);
    tell_kernel("/proc/self/setgroups", "deny");
    tell_kernel("/proc/self/uid_map", map);
    tell_kernel("/proc/self/gid_map", map);
}

void drop_privileges(uid_t user) {
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) fail("cannot drop capabilities");
    if (user) {
        drop_bounding_set();
        if (setgroups(0, NULL) != 0 || setresgid(user, user, user) != 0 || setresuid(user, user, user) != 0)
            fail("cannot change user");
        count_processes_alone(user);
    }
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    if (syscall(SYS_capset, &header, none) != 0) fail("cannot drop capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail("cannot renounce privileges");
}

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/// What is refused, and when: always; unless an argument has this value; or if it has any of these bits.
static const struct rule {
    unsigned number;
    enum { ALWAYS, UNLESS, IF_ANY } when;
    unsigned argument, value;
    int code;
} rules[] = {
    // Memory and messages that no limit counts, and that stay for the next command.
    {SYS_memfd_create, ALWAYS, 0, 0, ENOSYS},
    {SYS_memfd_secret, ALWAYS, 0, 0, ENOSYS},
    {SYS_shmget, ALWAYS, 0, 0, ENOSYS},
    {SYS_semget, ALWAYS, 0, 0, ENOSYS},
    {SYS_msgget, ALWAYS, 0, 0, ENOSYS},
    {SYS_mq_open, ALWAYS, 0, 0, ENOSYS},
    // The keyrings of whoever started us.
    {SYS_add_key, ALWAYS, 0, 0, ENOSYS},
    {SYS_request_key, ALWAYS, 0, 0, ENOSYS},
    {SYS_keyctl, ALWAYS, 0, 0, ENOSYS},
    // A user namespace has all capabilities, and with them mounts, which are memory. The flags of clone3 cannot be seen.
    {SYS_unshare, IF_ANY, 0, CLONE_NEWUSER, EPERM},
    {SYS_clone, IF_ANY, 0, CLONE_NEWUSER, EPERM},
    {SYS_clone3, ALWAYS, 0, 0, ENOSYS},
    // Parts of the kernel that nothing here needs.
    {SYS_io_uring_setup, ALWAYS, 0, 0, ENOSYS},
    {SYS_bpf, ALWAYS, 0, 0, EPERM},
    {SYS_perf_event_open, ALWAYS, 0, 0, EPERM},
    {SYS_userfaultfd, ALWAYS, 0, 0, EPERM},
    // Of the others some know no namespaces: a virtual machine's host is reached by AF_VSOCK.
    {SYS_socket, UNLESS, 0, AF_UNIX, EAFNOSUPPORT},
    // Of another process than oneself, which is 0, they might be the supervisor's, and what it passes on.
    {SYS_prlimit64, UNLESS, 0, 0, EPERM},
    {SYS_sched_setaffinity, UNLESS, 0, 0, EPERM},
    {SYS_sched_setattr, UNLESS, 0, 0, EPERM},
    {SYS_sched_setparam, UNLESS, 0, 0, EPERM},
    {SYS_sched_setscheduler, UNLESS, 0, 0, EPERM},
    {SYS_setpriority, UNLESS, 0, 0, EPERM},
    {SYS_setpriority, UNLESS, 1, 0, EPERM},
    {SYS_ioprio_set, ALWAYS, 0, 0, EPERM},
};

enum { RULES = sizeof rules / sizeof *rules };

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)

void filter_system_calls(void) {
    struct sock_filter program[8 + 5 * RULES], *next = program;
#define ADD(...) (*next++ = (struct sock_filter)__VA_ARGS__)
    ADD(LOAD(arch));
    ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0));
    ADD(RETURN(SECCOMP_RET_ERRNO | ENOSYS));
    ADD(LOAD(nr));
#if defined(__x86_64__)
    // The calls of the x32 ABI are the same ones by other numbers.
    ADD(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1));
    ADD(RETURN(SECCOMP_RET_ERRNO | ENOSYS));
#endif
    for (const struct rule *rule = rules; rule < rules + RULES; rule++) {
        if (rule->when == ALWAYS) {
            ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule->number, 0, 1));
        } else {
            ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule->number, 0, 4));
            // Little-endian: the low half comes first, and is all that the kernel looks at of a number or of flags.
            ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * rule->argument));
            if (rule->when == UNLESS) ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule->value, 1, 0));
            else ADD(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, rule->value, 0, 1));
        }
        ADD(RETURN(SECCOMP_RET_ERRNO | (unsigned)rule->code));
        if (rule->when != ALWAYS) ADD(LOAD(nr));
    }
    ADD(RETURN(SECCOMP_RET_ALLOW));
    struct sock_fprog filter = {(unsigned short)(next - program), program};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) fail("cannot filter system calls");
}
