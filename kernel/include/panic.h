/* The end of a kernel that cannot go on. */
#pragma once

/* Stops the machine: interrupts off, `panic: <message>` and a newline on the console, harness_panic(message). Messages
 * are cut at 255 bytes; formats are printf.h's. Does not return. May be called from anywhere, also before
 * console_init() (the message then only reaches the harness). A panic inside panic goes straight to harness_panic. */
_Noreturn void panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
