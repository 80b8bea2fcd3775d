/* System calls: their numbers and table, and the border to ring 3. */
#ifndef AUTON_SYSCALL_H
#define AUTON_SYSCALL_H

#include <stdint.h>
#include "errno.h"
#include "sched.h"

/* In ring 3: syscall; rax number; rdi rsi rdx r10 r8 r9 arguments; rax result (0 or above, or a negative error code);
 * rcx, r11 lost; all else kept. The number is all 64 bits of rax: one that nobody registered is -EINVAL, whatever its
 * lower half. Lengths are bytes. A pointer that is bad anywhere is -EFAULT, nothing done. */
enum {
	SYS_NULL = 0,                   /* () -> 0 */
	SYS_EXIT = 1,                   /* (status 0..255) ends the process; else -EINVAL */
	SYS_YIELD = 2, SYS_SLEEP = 3,   /* (); (ns) -> 0 */
	SYS_CLOCK = 4,                  /* () -> ns */
	SYS_WRITE = 5,                  /* (ptr, len <= 4096) to the console -> len; -E2BIG, -EFAULT */
	SYS_SELF = 6,                   /* () -> process id */
	/* (len, prot) -> address; (va, len); (va, len, prot): the vmspace calls */
	SYS_MAP = 7, SYS_UNMAP = 8, SYS_PROTECT = 9,
	/* (entry, stack top, arg) -> 0; () ends the thread, the last one the process with 0 */
	SYS_THREAD = 10, SYS_THREAD_EXIT = 11,
					/* 12-15 stay free: tests use them */
	SYS_IPC = 16,                   /* 16-31, ipc.md */
	SYS_NL = 32,                    /* 32-39, nl.md */
	SYS_CAP = 40,                   /* 40-47, hv.md */
	SYS_VM = 48,                    /* 48-55, hv.md */
	SYS_LLM = 56,                   /* 56-63, llm.md */
	SYS_COUNT = 64
};
_Static_assert(SYS_THREAD_EXIT < 12 && SYS_IPC == 16, "12-15 stay free");
_Static_assert(SYS_IPC + 16 == SYS_NL && SYS_NL + 8 == SYS_CAP && SYS_CAP + 8 == SYS_VM && SYS_VM + 8 == SYS_LLM,
	"each subsystem's numbers end where the next one's begin");
_Static_assert(SYS_LLM + 8 == SYS_COUNT, "the table ends with the last of them");

/* What a thread has in ring 3. A snapshot has these words as they are (spec/sched.md, "Snapshot layout"). */
struct user_regs {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags, rsp, fs_base;
};
_Static_assert(sizeof(struct user_regs) == 19 * 8, "19 words in a snapshot, no padding");
_Static_assert(offsetof(struct user_regs, rax) == 0 && offsetof(struct user_regs, rsi) == 4 * 8 &&
	offsetof(struct user_regs, r8) == 7 * 8 && offsetof(struct user_regs, r15) == 14 * 8 &&
	offsetof(struct user_regs, rip) == 15 * 8 && offsetof(struct user_regs, fs_base) == 18 * 8,
	"their order is a snapshot's");

/* Leaves for ring 3 on the current thread (which has a space), by thread_user_return(). What lies on its stack is lost.
 * Does not return but for -EINVAL: rip, rsp or fs_base not below USER_END; of rflags CF, PF, AF, ZF, SF, OF and DF are
 * taken, IF is set, all else 0, not refused. Thread context, interrupts on, no spinlock held, preemption on. */
int user_enter(const struct user_regs *r);

/* Fills *r with what t has in ring 3, where it goes on. Of a thread that does not run, and is in a system call, was
 * interrupted in ring 3, or is about to enter it. -ENOENT: none of these. Thread context; that t does not run meanwhile
 * is the caller's care. */
int user_regs_get(const struct thread *t, struct user_regs *r);

/* What a number does: in thread context, interrupts on; thread_current() is the caller, on its own stack and in its
 * space. It may sleep. Returns what rax is to be. */
typedef int64_t (*syscall_fn)(const uint64_t a[6]);

/* Makes fn what the number does. -EINVAL: nr not below SYS_COUNT, fn NULL; -EBUSY: taken. From INIT functions, of any
 * level: the table is static data. */
int syscall_register(unsigned nr, syscall_fn fn);

/* Calls what nr does; returns its result, or -EINVAL: nobody registered nr. What the entry calls, with numbers that fit
 * unsigned: it answers others itself. Thread context, interrupts on; may sleep if that function does. */
int64_t syscall_dispatch(unsigned nr, const uint64_t a[6]);

#endif
