// The Linux calls that Swift's Glibc module does not show, because they need _GNU_SOURCE.
#pragma once

/// rename(2) that fails with EEXIST if the target exists.
int auton_rename_new(const char *from, const char *to);

/// syncfs(2): flushes the file system that `fd` lies on.
int auton_syncfs(int fd);
