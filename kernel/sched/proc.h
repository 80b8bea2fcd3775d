/* What sched/process.c, the life of processes, and sched/process_calls.c, how they come into the kernel, share. See
 * spec/sched.md, "Processes". */
#pragma once

/* On the way to ring 3, of a thread that was poked, as thread_set_user_hook has it: ends it if its process ends, keeps it
 * while that is stopped, and uses up a cancellation. A thread without a process just goes on. May sleep. */
void process_hook(void);

/* Ends the calling thread, which is a process's, and if it is the last one the process, with 0 unless that ends
 * already. May sleep. */
_Noreturn void process_leave(void);
