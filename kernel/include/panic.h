/* The end of a kernel that cannot go on. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Stops the machine: interrupts off; caught by panic_catch if this processor is catching panics; otherwise
 * panic_begin(), on the console `panic: <message>` and a newline, with more than one processor online a newline
 * (another may have been stopped within a line), `panic: cpu N: <message>` and a newline; then harness_panic(message).
 * Messages are cut at 255 bytes; formats are printf.h's. Does not return. May be called from anywhere, also before
 * console_init() (the message then only reaches the harness) and before GS base is set (nobody catches, and it is
 * processor 0). A panic inside panic, the second on this processor, goes straight to harness_panic with its fmt as it
 * stands: formatting or the console may be what failed. Of processors that panic at the same time one is heard. */
_Noreturn void panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Runs fn(arg) and catches the first panic in it on this processor: 1 and the message in why (cut to size bytes,
 * ended; NULL if size is 0), or 0 with why unchanged if fn returned. Nothing is printed, nobody stopped. Nests four
 * deep on each processor, for itself (trap_catch, desc.h, counts apart), the innermost catches; a fifth is -ENOSPC,
 * and fn is not run. After a panic interrupts are on or off as they were at the call, the preempt count (cpu.h) too; a
 * lock that fn held stays taken. fn is not NULL; not checked. After gdt_load here; from threads and in cpu_call alike,
 * interrupts on or off. */
int panic_catch(void (*fn)(void *), void *arg, char *why, size_t size);

/* What stops the other processors; panic_begin calls it once, interrupts off, in whatever context, and it waits no
 * longer than a bound. NULL: there are none, as at the start. No errors. For smp, at INIT_SMP. */
void panic_set_stopper(void (*fn)(void));

/* This processor panics: interrupts off, the others stopped, the console's lock no longer asked for. At further calls
 * nothing; if it has begun on another processor this one halts for good. By panic, and by the dump of an exception
 * before its first line; any context, also before GS base is set. */
void panic_begin(void);

/* It has begun, on whichever processor: what is locked now stays locked. Any context, also before GS base is set. */
bool panic_begun(void);

/* Returns unless it has begun on another processor: then counts this one as stopped and halts it for good. For the
 * NMI; interrupts off. */
void panic_stop_here(void);

/* How many processors panic_stop_here has stopped. Any context. */
unsigned panic_stopped(void);
