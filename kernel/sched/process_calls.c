/* How processes come into the kernel: their system calls, and exceptions in ring 3. See spec/sched.md, "Processes" and
 * "What bad input gets".
 *
 * Arguments are anything that fits in a register. A caller is the current process's thread; one of a thread without a
 * process, the kernel's or one that entered ring 3 by itself, is refused with -EPERM. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "console.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "mm.h"
#include "panic.h"
#include "printf.h"
#include "proc.h"
#include "process.h"
#include "sched.h"
#include "syscall.h"

enum { STATUS_MAX = 255, WRITE_MAX = 4096, WRITE_PIECE = 1024 };

/* ---- ends, and begins ---- */

/* The thread ends on its way back, by process_kill's poke or that of whoever was first. */
static int64_t call_exit(const uint64_t a[6])
{
	struct process *const p = process_current();

	if (!p)
		return -EPERM;
	if (a[0] > STATUS_MAX)
		return -EINVAL;
	(void)process_kill(p, (int)a[0]);
	return 0;
}

static int64_t call_thread(const uint64_t a[6])
{
	const struct user_regs regs = { .rip = a[0], .rsp = a[1], .rdi = a[2] };
	struct process *const p = process_current();

	return p ? process_add_thread(p, &regs) : -EPERM;
}

static int64_t call_thread_exit(const uint64_t a[6])
{
	(void)a;
	if (!process_current())
		return -EPERM;
	process_leave();
}

static int64_t call_self(const uint64_t a[6])
{
	const struct process *const p = process_current();

	(void)a;
	return p ? (int64_t)process_id(p) : -EPERM;
}

/* ---- the console ---- */

/* Reads [from, from+len) in pieces that fit into a frame, and writes each if that is asked for. What the UART does not
 * take is lost, as the kernel's own lines are. -EFAULT. */
static int read_pieces(struct vmspace *vs, vaddr_t from, size_t len, bool to_console)
{
	char piece[WRITE_PIECE];

	for (size_t n; len; from += n, len -= n) {
		n = len < sizeof piece ? len : sizeof piece;
		if (copy_from_user(vs, piece, from, n))
			return -EFAULT;
		if (to_console)
			(void)console_write(piece, n);
	}
	return 0;
}

/* All of it is looked at before any is written. What other threads of the process unmap after that can no longer keep
 * what comes before it off the console. */
static int64_t call_write(const uint64_t a[6])
{
	struct process *const p = process_current();
	struct vmspace *vs;

	if (!p)
		return -EPERM;
	if (a[1] > WRITE_MAX)
		return -E2BIG;
	vs = process_vmspace(p);
	return read_pieces(vs, a[0], a[1], false) || read_pieces(vs, a[0], a[1], true) ? -EFAULT : (int64_t)a[1];
}

/* ---- memory ---- */

/* Whether those are more than vs may still have, or than are free. mm would find out only frame by frame, and meanwhile
 * have all that there are. */
static bool too_many(struct vmspace *vs, size_t pages)
{
	struct vmspace_stats space;
	struct frame_stats frames;

	vmspace_get_stats(vs, &space);
	frame_get_stats(&frames);
	return (space.limit && space.frames + space.tables + pages > space.limit) || pages > frames.free;
}

/* Whether mm can be asked: what it gets has fewer bits, and none is cut off. */
static bool prot_fits(uint64_t prot)
{
	return prot <= VM_PROT_MASK;
}

static int64_t call_map(const uint64_t a[6])
{
	struct process *const p = process_current();
	vaddr_t va = VM_ANY;
	int err;

	if (!p)
		return -EPERM;
	if (!prot_fits(a[1]))
		return -EINVAL;
	if (too_many(process_vmspace(p), a[0] / PAGE_SIZE))
		return -ENOMEM;
	err = vmspace_map_anon(process_vmspace(p), &va, a[0], (unsigned)a[1]);
	return err ? err : (int64_t)va;
}

static int64_t call_unmap(const uint64_t a[6])
{
	struct process *const p = process_current();

	return p ? vmspace_unmap(process_vmspace(p), a[0], a[1]) : -EPERM;
}

static int64_t call_protect(const uint64_t a[6])
{
	struct process *const p = process_current();

	if (!p)
		return -EPERM;
	return prot_fits(a[2]) ? vmspace_protect(process_vmspace(p), a[0], a[1], (unsigned)a[2]) : -EINVAL;
}

/* ---- exceptions ---- */

/* Interrupts off, on the thread's own stack. Those that have a stack of their own are not the program's doing, and what
 * is below them may be anything. The others end the process, or a thread that has none, with a line that says why; one
 * of a process that ends already ends with it. */
static void handle_exception(struct trap_frame *f)
{
	const int status = STATUS_FAULT + (int)f->vector;
	const struct thread *const self = thread_current();
	struct process *const p = process_current();

	if (f->vector == VEC_NMI || f->vector == VEC_DOUBLE_FAULT || f->vector == VEC_MACHINE_CHECK)
		panic("process: exception %lu in ring 3, at 0x%lx", f->vector, f->rip);
	__asm__ volatile("sti" : : : "memory");
	if (!p) {
		kprintf("thread %u %s: exception %lu at 0x%lx\n", thread_id(self), thread_name(self), f->vector, f->rip);
		thread_exit(status);
	}
	if (process_kill(p, status) == 0)
		kprintf("process %u %s: exception %lu at 0x%lx\n", process_id(p), thread_name(self), f->vector, f->rip);
	process_leave();
}

/* ---- start ---- */

static void process_init(void)
{
	static const struct { unsigned nr; syscall_fn fn; } calls[] = {
		{ SYS_EXIT, call_exit }, { SYS_WRITE, call_write }, { SYS_SELF, call_self }, { SYS_MAP, call_map },
		{ SYS_UNMAP, call_unmap }, { SYS_PROTECT, call_protect }, { SYS_THREAD, call_thread },
		{ SYS_THREAD_EXIT, call_thread_exit },
	};

	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (syscall_register(calls[i].nr, calls[i].fn))
			panic("process_init: system call %u is taken", calls[i].nr);
	trap_set_user_handler(handle_exception);
	thread_set_user_hook(process_hook);
}
INIT(INIT_SCHED + 1, process_init);
