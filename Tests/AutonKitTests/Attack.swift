/// A program that tries what no shell command can: at the supervisor, at what outlives a command, at the kernel. It prints a
/// line for each attempt: its name, and `-` if it succeeded, else why not.
let attack = #"""
    #define _GNU_SOURCE
    #include <errno.h>
    #include <fcntl.h>
    #include <sched.h>
    #include <signal.h>
    #include <stddef.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/mman.h>
    #include <sys/ptrace.h>
    #include <sys/resource.h>
    #include <sys/socket.h>
    #include <sys/syscall.h>
    #include <sys/uio.h>
    #include <sys/un.h>
    #include <unistd.h>

    #define TRY(name, call) \
        (errno = 0, (long)(call) < 0 ? printf("%s %s\n", name, strerrorname_np(errno)) : printf("%s -\n", name))

    static long connect_to(const char *name)
    {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strcpy(address.sun_path + 1, name);
        return connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address,
            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)));
    }

    int main(int count, char **words)
    {
        char text[16];
        struct iovec here = {text, sizeof text}, there = {(void *)0x400000, sizeof text};
        const struct rlimit none = {0, 0};
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(0, &one);
        TRY("attach", ptrace(PTRACE_ATTACH, 1, 0, 0));
        TRY("seize", ptrace(PTRACE_SEIZE, 1, 0, 0));
        TRY("read", process_vm_readv(1, &here, 1, &there, 1, 0));
        TRY("memory", open("/proc/1/mem", O_RDWR));
        TRY("socket", open("/proc/1/fd/0", O_WRONLY));
        TRY("getfd", syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, 1, 0), 0, 0));
        TRY("prlimit", prlimit(1, RLIMIT_NOFILE, &none, NULL));
        TRY("affinity", sched_setaffinity(1, sizeof one, &one));
        TRY("scheduler", sched_setscheduler(1, SCHED_IDLE, &(struct sched_param){0}));
        TRY("nice of all", setpriority(PRIO_USER, 0, 19));
        TRY("nice of 1", setpriority(PRIO_PROCESS, 1, 19));
        TRY("own nice", setpriority(PRIO_PROCESS, 0, 19));
        TRY("user namespace", unshare(CLONE_NEWUSER));
        TRY("mount namespace", unshare(CLONE_NEWNS));
        TRY("keyring", syscall(SYS_keyctl, 0, -3, 0, 0, 0));
        TRY("memfd", memfd_create("x", 0));
        TRY("System V memory", syscall(SYS_shmget, 1, 4096, 01600));
        TRY("System V queue", syscall(SYS_msgget, 1, 01600));
        TRY("System V semaphore", syscall(SYS_semget, 1, 1, 01600));
        TRY("message queue", syscall(SYS_mq_open, "x", O_CREAT | O_RDWR, 0600, NULL));
        TRY("io_uring", syscall(SYS_io_uring_setup, 1, text));
        TRY("bpf", syscall(SYS_bpf, 0, text, 0));
        TRY("terminal", syscall(SYS_ioctl, 0, 0x5412, "x"));
        TRY("Internet", socket(AF_INET, SOCK_STREAM, 0));
        TRY("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
        TRY("netlink", socket(AF_NETLINK, SOCK_RAW, 0));
        TRY("abstract socket", connect_to(words[1]));
        for (int number = 1; number < 32; number++) kill(1, number);
        return 0;
    }
    """#
