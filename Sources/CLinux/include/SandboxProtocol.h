// What auton-sandbox is asked over the socket that is its standard input, and what it answers there, in the machine's own
// byte order. It says AUTON_SANDBOX_READY when it can be asked. A request is AUTON_SANDBOX_RUN, the struct, and what the
// struct says follows; the answer comes when the command and all that it started are dead. AUTON_SANDBOX_STOP before that
// ends the command, and means nothing after. The end of the socket ends everything.
#pragma once

#include <stdint.h>

enum auton_sandbox_kind { AUTON_SANDBOX_READY = '+', AUTON_SANDBOX_RUN = 'R', AUTON_SANDBOX_STOP = 'S' };

/// A command. `argument_bytes` of words, each with its NUL, follow, then `input_bytes` for its standard input.
struct auton_sandbox_request {
    /// Of wall time.
    uint64_t milliseconds;
    /// Of each process.
    uint64_t cpu_seconds;
    /// Bytes of each process.
    uint64_t address_space;
    /// Bytes that all processes together may have resident.
    uint64_t memory;
    uint64_t processes;
    /// Bytes of the largest file.
    uint64_t file_size;
    /// Bytes that the tree and the directory for temporary files may come to, each file counted as 4 KiB at least.
    uint64_t disk;
    /// Bytes kept of each of the command's output streams: the first half and the last.
    uint64_t output;
    /// Others have the processors first: 0 or 1.
    uint64_t gives_way;
    uint64_t argument_bytes;
    uint64_t input_bytes;
};

enum auton_sandbox_ending {
    /// By itself; `code` is its status.
    AUTON_SANDBOX_EXITED,
    /// `code` is the signal.
    AUTON_SANDBOX_SIGNALLED,
    /// At its time, or because it was to stop.
    AUTON_SANDBOX_STOPPED,
    /// Killed for `memory`, for `disk`.
    AUTON_SANDBOX_MEMORY,
    AUTON_SANDBOX_DISK,
    /// Killed because the disk is nearly full, which is not its doing.
    AUTON_SANDBOX_SHORTAGE,
    /// It was not begun; `code` is the errno of execve(2).
    AUTON_SANDBOX_NOT_BEGUN,
};

/// How a command ended. `output_bytes` of its standard output follow, then `error_bytes` of its standard error.
struct auton_sandbox_reply {
    uint64_t ending;
    uint64_t code;
    /// Bytes printed in all.
    uint64_t output_total;
    uint64_t output_bytes;
    uint64_t error_total;
    uint64_t error_bytes;
    /// 0 if something of the command's remains outside the tree: nothing more may be run here.
    uint64_t is_clean;
};
