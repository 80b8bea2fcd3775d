/* Error numbers: Linux's, so that a reader of a log need not look them up. Functions return them negated; 0 is
 * success. */
#pragma once

#define EPERM      1    /* not allowed */
#define ENOENT     2    /* no such thing */
#define EIO        5    /* the device misbehaves */
#define E2BIG      7    /* too long for the receiver */
#define EAGAIN    11    /* nothing now, try later */
#define ENOMEM    12    /* out of memory */
#define EFAULT    14    /* an address that cannot be used */
#define EBUSY     16    /* taken, in use */
#define EEXIST    17
#define ENODEV    19    /* no such device */
#define EINVAL    22    /* an argument that can never be right */
#define ENOSPC    28    /* a table is full */
#define ERANGE    34    /* a number out of range */
#define ENOSYS    38    /* not there */
#define ETIMEDOUT 110
