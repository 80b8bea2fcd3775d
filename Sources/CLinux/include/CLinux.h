// The Linux calls that Swift's Glibc module does not show, because they need _GNU_SOURCE or have no fixed arguments.
#pragma once

#include "SandboxProtocol.h"

/// rename(2) that fails with EEXIST if the target exists.
int auton_rename_new(const char *from, const char *to);

/// syncfs(2): flushes the file system that `fd` lies on.
int auton_syncfs(int fd);

/// Locks one byte of a file, beyond its end too, until every copy of the open file description is closed (F_OFD_SETLK).
/// -1 with EAGAIN if another one has it.
int auton_lock_byte(int fd, long byte);

/// 1 if another open file description has the byte locked, 0 if none has, -1 on an error (F_OFD_GETLK).
int auton_byte_is_locked(int fd, long byte);

/// Has no program that we start from now on inherit what is open, but for 0 to 2 (close_range(2)).
void auton_keep_descriptors(void);

/// One of the processors that we may run on, by turns: the `number`-th of them, and so on from the first. -1 on an error
/// (sched_getaffinity(2)).
int auton_processor(unsigned number);

/// For posix_spawn(3): what is started begins a session of its own.
extern const short auton_spawn_session;
