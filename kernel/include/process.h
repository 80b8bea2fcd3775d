/* Processes: a space of their own and threads in ring 3, made of ELF images or snapshots. */
#ifndef AUTON_PROCESS_H
#define AUTON_PROCESS_H

#include "mm.h"
#include "sched.h"
#include "syscall.h"

/* Functions return 0 or a negative error code, and change nothing when they fail. Thread context, interrupts on, no
 * spinlock held; which of them may sleep (sched.h) says so. From INIT_SERVICES on. Who calls holds a reference, or sees
 * to it otherwise that the process is not gone. Lengths are bytes. */

#define PROCESS_MAX 1024
#define PROCESS_THREADS_MAX 16
#define USER_STACK_SIZE 65536ul                 /* first thread's stack, its top at USER_END - PAGE_SIZE */
_Static_assert(PROCESS_THREADS_MAX <= THREAD_MAX, "a process may have all its threads");
_Static_assert(USER_STACK_SIZE % PAGE_SIZE == 0 && USER_STACK_SIZE < USER_END - PAGE_SIZE - USER_MIN,
	"the stack is whole pages, and in user space");

/* How a process ended: what it gave to SYS_EXIT, what process_kill was given, or one of these. */
#define STATUS_FAULT  0x100                     /* + exception vector: ended by an exception in ring 3 */
#define STATUS_KILLED 0x200
_Static_assert(STATUS_FAULT > 255 && STATUS_FAULT + 31 < STATUS_KILLED,
	"neither SYS_EXIT's statuses nor the exceptions' reach the next");

/* name as thread_attr's; limit_frames of its space as vmspace_create's; the agent its threads work for. */
struct process_attr { const char *name; enum sched_class cls; size_t limit_frames; uint32_t agent; };

struct process;                                 /* counted; the creator holds one reference */

/* Loads a static little-endian x86_64 ELF64, ET_EXEC: maps its PT_LOAD segments (W with X refused), zeroes the rest;
 * *entry is where it begins. Reads only image[0..len). Not from interrupts; needs no thread, and nothing else of sched.
 * -EINVAL: anything malformed (spec/sched.md, "ELF"), outside user bounds, two segments in one page, a page of one
 *          mapped in vs already, over 64 program headers, PT_INTERP present, entry not in an executable segment.
 * -ENOMEM.
 * On failure vs is as before, but for empty page tables; *entry is as it was. */
int elf_load(struct vmspace *vs, const void *image, size_t len, vaddr_t *entry);

/* An empty space and no thread; the reference is in *out. -EINVAL: class KERNEL, IDLE or none, or the name, as
 * thread_create; -ENOMEM; -ENOSPC: PROCESS_MAX. */
int process_create(const struct process_attr *attr, struct process **out);

/* Its space, until it has ended. No errors. Any context. */
struct vmspace *process_vmspace(struct process *p);

/* Makes the first thread, with a stack (mapped writable; rsp is its top), arg in rdi, all other registers 0.
 * -EBUSY: has or had threads; -EINVAL: entry not fit (not below USER_END); -ENOMEM; -ENOSPC: THREAD_MAX; -ENOENT:
 * ended. */
int process_start(struct process *p, vaddr_t entry, uint64_t arg);

/* Ends p with that status. From any thread, one of its own too (which ends at its way back to ring 3); all its threads
 * end soon, whatever they do or wait for, stopped or not. -ENOENT: ended, or ending, already. */
int process_kill(struct process *p, int status);

/* Waits until p has ended; *status, unless status is NULL, is how. May sleep. With 0 all that it had is back: frames,
 * tables, threads. Again: 0 and the same. -ETIMEDOUT: not ended within timeout_ns (TIMEOUT_NOW: looks only); -EAGAIN:
 * the caller was cancelled (thread_cancel). */
int process_wait(struct process *p, uint64_t timeout_ns, int *status);

/* May sleep until no thread of it runs: those in ring 3 stop there, those that wait in a system call stop at its end,
 * which is at once, with -EAGAIN. Without threads it is just marked. -EBUSY: stopped already; -ENOENT: ended, or ends
 * meanwhile. Not by itself. */
int process_stop(struct process *p);

/* Lets a stopped process go on. -EINVAL: not stopped. */
int process_resume(struct process *p);

/* Drops a reference; the last one of a process that has threads: it goes on; of one without: it is gone. No errors. */
void process_put(struct process *p);

/* From 1. No errors. Any context. */
uint32_t process_id(const struct process *p);

/* Whose thread the current one is; NULL in a kernel thread. No reference is taken. No errors. Any context. */
struct process *process_current(void);

/* attr's agent. No errors. Any context. */
uint32_t process_agent(const struct process *p);

/* Live thread i, from 0, in order of creation, of a stopped process: where it goes on. -EINVAL: not stopped; -ENOENT:
 * no such thread. */
int process_get_regs(struct process *p, unsigned i, struct user_regs *out);

/* One more thread, which begins at once, or when p is resumed. -EINVAL: regs not fit for ring 3, as user_enter;
 * -ENOSPC: PROCESS_THREADS_MAX, or THREAD_MAX; -ENOMEM; -ENOENT: ended. */
int process_add_thread(struct process *p, const struct user_regs *regs);

/* Writes a snapshot of a stopped process (spec/sched.md, "Snapshot layout"); it may go on afterwards. *len: bytes of
 * buf on entry, bytes written or needed on return. -EINVAL: not stopped; -ENOSPC: buf too small (*len says how much);
 * -EBUSY: it has borrowed mappings. */
int snapshot_save(struct process *p, void *buf, size_t *len);

/* A new process, stopped (process_resume starts it); the reference is in *out. Its limit is attr's, or if that is 0 the
 * saved one; name, class and agent are attr's. -EINVAL: bad magic, version, sum, counts, lengths, overlap, registers,
 * attr; nothing is made. -ENOMEM. -ENOSPC: PROCESS_MAX, or THREAD_MAX. */
int snapshot_restore(const void *buf, size_t len, const struct process_attr *attr, struct process **out);

#endif
