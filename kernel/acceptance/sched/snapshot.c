/* Acceptance of sched/snapshot.c: a process to memory and back, any number of times. See spec/sched.md. */
#include "user.h"

#define BUFFER (256ul * 1024)

enum { MAGIC = 0, VERSION = 4, ZERO = 6, LENGTH = 8, THREADS = 16, REGIONS = 20, LIMIT_FRAMES = 24, SUM = 32, ZERO_2 = 36, BODY = 40, REGS = 152 };

static uint8_t *saved, *copy;           /* BUFFER bytes each */
static size_t saved_len;

static const struct process_attr attr = { "test", CLASS_NORMAL, 0, 4713 };

static struct process *make(const char *program, size_t len, size_t limit)
{
	struct process_attr with = attr;
	struct process *p = NULL;

	if (!saved)
		saved = kmalloc(BUFFER);
	if (!copy)
		copy = kmalloc(BUFFER);
	with.limit_frames = limit;
	if (!saved || !copy || process_create(&with, &p) != 0)
		return NULL;
	if (user_load(process_vmspace(p), program, len) && process_start(p, USER_CODE, 0x1234) == 0)
		return p;
	process_kill(p, 1);
	process_put(p);
	return NULL;
}

static bool ends(struct process *p)
{
	bool gone;

	if (!p)
		return false;
	process_kill(p, 1);
	gone = process_wait(p, LONG, NULL) == 0;
	process_put(p);
	return gone;
}

/* Most of its stack is not used, and only takes time to be summed up. */
static bool cut_stack(struct process *p)
{
	return vmspace_unmap(process_vmspace(p), USER_END - PAGE_SIZE - USER_STACK_SIZE, USER_STACK_SIZE - PAGE_SIZE) == 0;
}

/* Stops it and saves it to saved. */
static bool save(struct process *p)
{
	saved_len = BUFFER;
	return process_stop(p) == 0 && snapshot_save(p, saved, &saved_len) == 0;
}

static struct process *restore(const uint8_t *from, size_t len)
{
	struct process *p = NULL;

	return snapshot_restore(from, len, &attr, &p) == 0 ? p : NULL;
}

static uint32_t crc(const uint8_t *p, size_t n)
{
	static uint32_t table[256];
	uint32_t c = UINT32_MAX;

	for (unsigned i = 0; i < 256 && !table[255]; i++) {
		uint32_t v = i;

		for (unsigned bit = 0; bit < 8; bit++)
			v = v >> 1 ^ (v & 1 ? 0xEDB88320 : 0);
		table[i] = v;
	}
	while (n--)
		c = c >> 8 ^ table[(c ^ *p++) & 0xff];
	return ~c;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	harness_memcpy(&v, p, 4);
	return v;
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	harness_memcpy(&v, p, 8);
	return v;
}

/* Counts with all registers, memory and stack, in and out of calls; when it is done it says so and waits. */
USER_PROGRAM(program_work,
	"mov %rdi, %rbx\nmov $1, %ebp\nmov $2, %r8d\nmov $3, %r9d\nmov $5, %r10d\nmov $7, %r12d\nmov $11, %r13d\nmov $13, %r14d\nmov $17, %r15d\nmov $19, %esi\nmov $0x4444, %edx\npush %rbx\n"
	"1: imul $1103515245, %rbx\nadd $12345, %rbx\nadd %rbx, %rbp\nxor %rbp, %r8\nadd %r8, %r9\nxor %r9, %r10\nadd %r10, %r12\nxor %r12, %r13\nadd %r13, %r14\nxor %r14, %r15\nadd %r15, %rsi\nxor %rsi, %rdx\n"
	"add %rdx, (%rsp)\nmov %rbx, %rcx\nshr $20, %rcx\nand $0x1ff, %ecx\nadd %rdx, 0x601000(,%rcx,8)\n"
	"incq 0x600000\ntestq $0x3f, 0x600000\njnz 2f\nxor %eax, %eax\nsyscall\n2: cmpq $150000, 0x600000\njb 1b\n"
	"pop 0x600010\nmov %rbp, 0x600018\nmov %r15, 0x600020\nmov %rdx, 0x600028\nmovq $1, 0x600008\n3: jmp 3b\n");

static uint8_t results[3][USER_DATA_LEN];

static void keep_result(struct process *p, unsigned i)
{
	harness_memset(results[i], (int)i + 1, USER_DATA_LEN);
	for (unsigned page = 0; page < 2 && p; page++)
		harness_memcpy(results[i] + page * PAGE_SIZE, user_at(process_vmspace(p), USER_DATA + page * PAGE_SIZE), PAGE_SIZE);
}

KTEST(sched, snapshot_same)
{
	const char *const program = program_work;
	struct process *p = make(program, USER_LEN(program_work), 200), *q[2];
	struct user_regs r = { 0 }, s = { .rax = 1 };
	struct vmspace_stats stats = { 0 };
	bool right, done, paused = true;
	uint64_t at;
	int regs;

	KASSERT(p != NULL);
	right = user_word_becomes(p, USER_DATA, 100) && save(p);
	at = user_word(process_vmspace(p), USER_DATA);
	ktest_note("at", at);
	regs = process_get_regs(p, 0, &r);
	q[0] = restore(saved, saved_len);
	right &= process_resume(p) == 0;
	done = user_word_becomes(p, USER_DATA + 8, 1);
	keep_result(p, 0);
	right &= ends(p);
	q[1] = restore(saved, saved_len);
	for (unsigned i = 0; i < 2 && q[i]; i++) {
		paused &= user_word(process_vmspace(q[i]), USER_DATA) == at;
		right &= process_get_regs(q[i], 0, &s) == 0 && harness_memcmp(&r, &s, sizeof r) == 0;
		right &= process_get_regs(q[i], 1, &s) == -ENOENT;
		vmspace_get_stats(process_vmspace(q[i]), &stats);
		thread_park(MS);
		paused &= user_word(process_vmspace(q[i]), USER_DATA) == at;
		right &= process_resume(q[i]) == 0;
		done &= user_word_becomes(q[i], USER_DATA + 8, 1);
		keep_result(q[i], i + 1);
		right &= process_agent(q[i]) == 4713;
	}
	KASSERT(q[0] && q[1]);
	KASSERT(process_id(q[0]) != process_id(q[1]));
	KASSERT(ends(q[0]));
	KASSERT(ends(q[1]));
	KASSERT_EQ(regs, 0);
	KASSERT(right && paused && done);
	KASSERT_EQ(stats.limit, 200);
	KASSERT_EQ(stats.frames, 1 + 2 + USER_STACK_SIZE / PAGE_SIZE);
	KASSERT_EQ(get64(results[0]), 150000);
	KASSERT_EQ(harness_memcmp(results[0], results[1], USER_DATA_LEN), 0);
	KASSERT_EQ(harness_memcmp(results[0], results[2], USER_DATA_LEN), 0);
}

/* Field by field as it is written down. */
KTEST(sched, snapshot_layout)
{
	struct process *p = make(program_work, USER_LEN(program_work), 300);
	struct user_regs r, s;
	uint64_t va[3], pages = 0, last = 0;
	const uint8_t *list, *content;
	unsigned regions, wrong = 0;
	bool right;

	KASSERT(p != NULL);
	right = user_word_becomes(p, USER_DATA, 100) && save(p) && process_get_regs(p, 0, &r) == 0;
	KASSERT(right);
	KASSERT_EQ(get32(saved + MAGIC), 0x504E5341);
	KASSERT_EQ(get32(saved + VERSION), 1);
	KASSERT_EQ(get64(saved + LENGTH), saved_len);
	KASSERT_EQ(get32(saved + THREADS), 1);
	KASSERT_EQ(get64(saved + LIMIT_FRAMES), 300);
	KASSERT_EQ(get32(saved + SUM), crc(saved + BODY, saved_len - BODY));
	KASSERT_EQ(get32(saved + ZERO_2), 0);
	harness_memcpy(&s, saved + BODY, sizeof s);
	KASSERT_EQ(harness_memcmp(&r, &s, sizeof s), 0);
	regions = get32(saved + REGIONS);
	KASSERT(regions >= 3);
	KASSERT(regions <= 19);
	list = saved + BODY + REGS;
	content = list + regions * 24;
	for (unsigned i = 0; i < regions; i++) {
		harness_memcpy(va, list + i * 24, 24);
		wrong += va[0] < last || va[1] == 0 || va[1] % PAGE_SIZE != 0;
		wrong += va[2] != (va[0] == USER_CODE ? VM_EXEC : VM_WRITE);
		for (uint64_t off = 0; off < va[1] && !wrong; off += PAGE_SIZE, content += PAGE_SIZE, pages++)
			wrong += harness_memcmp(content, user_at(process_vmspace(p), va[0] + off), PAGE_SIZE) != 0;
		last = va[0] + va[1];
	}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(pages, 1 + 2 + USER_STACK_SIZE / PAGE_SIZE);
	KASSERT_EQ(content - saved, saved_len);
	KASSERT(ends(p));
}

/* Waits in a call, and says how that ended. */
USER_PROGRAM(program_sleep,
	"movq $1, 0x600000\nmov $1000000000000, %rdi\nmov $3, %eax\nsyscall\nmov %rax, 0x600008\nmovq $1, 0x600010\n1: jmp 1b\n");

KTEST(sched, snapshot_blocked)
{
	struct process *p = make(program_sleep, USER_LEN(program_sleep), 0), *q;
	struct user_regs r = { 0 };
	bool right, done;
	uint64_t told[2];

	KASSERT(p != NULL);
	right = user_word_becomes(p, USER_DATA, 1);
	thread_park(MS);
	right &= save(p);
	harness_memcpy(&r, saved + BODY, sizeof r);
	q = restore(saved, saved_len);
	right &= q && process_resume(q) == 0 && process_resume(p) == 0;
	done = q && user_word_becomes(q, USER_DATA + 16, 1) && user_word_becomes(p, USER_DATA + 16, 1);
	told[0] = user_word(process_vmspace(p), USER_DATA + 8);
	told[1] = q ? user_word(process_vmspace(q), USER_DATA + 8) : 0;
	KASSERT(ends(p));
	KASSERT(ends(q));
	KASSERT(right && done);
	KASSERT_EQ(r.rax, -EAGAIN);
	KASSERT_EQ(told[0], -EAGAIN);
	KASSERT_EQ(told[1], -EAGAIN);
}

/* Three threads, each with a number of its own to count up from; the first makes the others. */
USER_PROGRAM(program_three,
	"mov $100, %ebx\nlea 2f(%rip), %rdi\nmov $0x601400, %esi\nmov $200, %edx\nmov $10, %eax\nsyscall\nlea 2f(%rip), %rdi\nmov $0x601800, %esi\nmov $300, %edx\nmov $10, %eax\nsyscall\n"
	"movq $1, 0x600000\n1: incq 0x600000(,%rbx,8)\njmp 1b\n2: mov %rdi, %rbx\njmp 1b\n");

KTEST(sched, snapshot_threads)
{
	struct process *p = make(program_three, USER_LEN(program_three), 0), *q;
	struct user_regs r[4];
	bool right, go_on = true;

	KASSERT(p != NULL);
	right = user_word_becomes(p, USER_DATA, 1);
	for (unsigned i = 1; i <= 3; i++)
		right &= user_word_becomes(p, USER_DATA + i * 800, 1);
	right &= save(p);
	right &= ends(p);
	q = restore(saved, saved_len);
	for (unsigned i = 0; i < 3; i++)
		right &= q && process_get_regs(q, i, &r[i]) == 0 && r[i].rbx == (i + 1) * 100;
	right &= q && process_get_regs(q, 3, &r[3]) == -ENOENT && process_resume(q) == 0;
	for (unsigned i = 1; i <= 3; i++)
		go_on &= q && user_word_becomes(q, USER_DATA + i * 800, user_word(process_vmspace(q), USER_DATA + i * 800) + 1);
	KASSERT(ends(q));
	KASSERT_EQ(get32(saved + THREADS), 3);
	KASSERT(right);
	KASSERT(go_on);
}

/* ---- what is refused ---- */

static unsigned accepted;

/* Whether it is refused as copy is, with a sum that is right or not. */
static void refuse(size_t len, bool sum)
{
	struct process *p = NULL;
	uint32_t right;

	if (sum) {
		right = crc(copy + BODY, saved_len - BODY);
		harness_memcpy(copy + SUM, &right, 4);
	}
	if (snapshot_restore(copy, len, &attr, &p) != -EINVAL || p) {
		accepted++;
		ends(p);
	}
	harness_memcpy(copy, saved, saved_len);
}

static void put64(size_t at, uint64_t value)
{
	harness_memcpy(copy + at, &value, 8);
}

static void put32(size_t at, uint32_t value)
{
	harness_memcpy(copy + at, &value, 4);
}

KTEST(sched, snapshot_bad)
{
	struct process *p = make(program_sleep, USER_LEN(program_sleep), 0), *q = NULL;
	struct process_attr kernel = attr;
	const size_t list = BODY + REGS;
	uint64_t seed = harness_seed(), before, small, needed;
	unsigned regions, wrong = 0;
	bool right;
	int err;

	KASSERT(p != NULL);
	right = user_word_becomes(p, USER_DATA, 1);
	needed = BUFFER;
	err = snapshot_save(p, saved, &needed);                 /* it is not stopped */
	right &= cut_stack(p) && save(p);
	KASSERT_EQ(err, -EINVAL);
	KASSERT(right);
	harness_memset(copy, 0x77, BUFFER);
	for (small = 0; small < saved_len; small += small < 200 ? 8 : 4096) {
		size_t len = small;

		wrong += snapshot_save(p, copy, &len) != -ENOSPC || len != saved_len;
		for (size_t i = small; i < small + 64 && i < saved_len; i++)
			wrong += copy[i] != 0x77;
	}
	needed = saved_len;
	wrong += snapshot_save(p, copy, &needed) != 0 || needed != saved_len || copy[saved_len] != 0x77;
	wrong += harness_memcmp(copy, saved, saved_len) != 0;
	KASSERT_EQ(wrong, 0);
	KASSERT(ends(p));

	regions = get32(saved + REGIONS);
	accepted = 0;
	refuse(BODY - 1, false);
	before = free_frames();
	for (size_t len = 0; len < saved_len; len += len < list + regions * 24 ? 1 : 1024)
		refuse(len, false);
	for (unsigned i = 0; i < BODY; i++) {                   /* each byte of the head; the limit is anybody's */
		if (i >= LIMIT_FRAMES && i < LIMIT_FRAMES + 8)
			continue;
		copy[i] ^= 0x41;
		refuse(saved_len, false);
	}
	for (unsigned i = 0; i < 100; i++) {
		copy[BODY + harness_random(&seed) % (saved_len - BODY)] ^= (uint8_t)(1u << harness_random(&seed) % 8);
		refuse(saved_len, false);
	}
	/* with a sum that is right */
	put32(THREADS, 0);
	refuse(saved_len, true);
	put32(THREADS, 17);
	refuse(saved_len, true);
	put32(THREADS, UINT32_MAX);
	refuse(saved_len, true);
	put32(REGIONS, 0);
	refuse(saved_len, true);
	put32(REGIONS, regions - 1);
	refuse(saved_len, true);
	put32(REGIONS, UINT32_MAX);
	refuse(saved_len, true);
	for (unsigned i = 0; i < regions; i++) {
		const size_t at = list + i * 24;
		const uint64_t va = get64(saved + at), len = get64(saved + at + 8);
		const uint64_t places[] = { 0, USER_MIN - PAGE_SIZE, va + 1, USER_END, USER_END - len + PAGE_SIZE, 1ull << 47, KERNEL_VIRT_BASE, UINT64_MAX - PAGE_SIZE + 1 };
		const uint64_t lengths[] = { 0, 1, len - 1, len + PAGE_SIZE, 1ull << 40, UINT64_MAX, UINT64_MAX - PAGE_SIZE + 1, -va };
		const uint64_t prots[] = { VM_WRITE | VM_EXEC, VM_USER, VM_UNCACHED, VM_GLOBAL, 32, 1ull << 32, UINT64_MAX };

		for (unsigned k = 0; k < sizeof places / sizeof *places; k++) {
			put64(at, places[k]);
			refuse(saved_len, true);
		}
		for (unsigned k = 0; k < sizeof lengths / sizeof *lengths; k++) {
			put64(at + 8, lengths[k]);
			refuse(saved_len, true);
		}
		for (unsigned k = 0; k < sizeof prots / sizeof *prots; k++) {
			put64(at + 16, prots[k]);
			refuse(saved_len, true);
		}
		if (i) {
			put64(at, get64(saved + at - 24));      /* where another is */
			refuse(saved_len, true);
		}
	}
	KASSERT_EQ(accepted, 0);
	kernel.cls = CLASS_KERNEL;
	KASSERT_EQ(snapshot_restore(saved, saved_len, &kernel, &q), -EINVAL);
	kernel.cls = CLASS_NORMAL;
	kernel.limit_frames = 4;                                /* no room for it */
	KASSERT_EQ(snapshot_restore(saved, saved_len, &kernel, &q), -ENOMEM);
	KASSERT(q == NULL);
	KASSERT(free_frames() + 32 >= before);
	KASSERT(free_frames() <= before + 32);
	q = restore(copy, saved_len);                           /* and as it was it is good */
	KASSERT(ends(q));
}

/* It is refused for want of memory: what it then waits for ends no cancellation, which is there for the caller's next wait. With 0, 1, 2… frames
 * free it comes to each place where some are missing, with threads that have to end too. */
KTEST(sched, snapshot_cancelled)
{
	enum { SPARES = 256 };
	static paddr_t spare[SPARES], all;
	struct process *p = make(program_three, USER_LEN(program_three), 0), *q = NULL;
	unsigned n = 0, given = 0, lost = 0;
	int err = -ENOMEM;
	bool right;

	KASSERT(p != NULL);
	right = user_word_becomes(p, USER_DATA, 1) && cut_stack(p) && save(p);
	right &= ends(p);
	KASSERT(right);
	KASSERT_EQ(get32(saved + THREADS), 3);
	while (n < SPARES && frame_alloc(0, &spare[n]) == 0)
		n++;
	all = hog();
	for (;;) {
		bool kept;

		while (thread_park(TIMEOUT_NOW) != -ETIMEDOUT)
			;
		thread_cancel(thread_current());
		err = snapshot_restore(saved, saved_len, &attr, &q);
		kept = thread_park(TIMEOUT_NOW) == -EAGAIN || thread_park(TIMEOUT_NOW) == -EAGAIN;
		if (err != -ENOMEM)
			break;
		lost += !kept;
		if (given == n)
			break;
		frame_free(spare[given++]);
	}
	unhog(all);
	while (given < n)
		frame_free(spare[given++]);
	KASSERT_EQ(err, 0);
	KASSERT(ends(q));
	KASSERT_EQ(n, SPARES);
	KASSERT_EQ(lost, 0);
}

KTEST(sched, snapshot_borrowed)
{
	struct process *p = make(program_sleep, USER_LEN(program_sleep), 0);
	vaddr_t at = VM_ANY;
	paddr_t frame;
	int mapped, err, after;

	KASSERT(p != NULL);
	KASSERT_EQ(frame_alloc(FRAME_ZERO, &frame), 0);
	mapped = vmspace_map_frames(process_vmspace(p), &at, &frame, 1, VM_READ, true);
	KASSERT_EQ(process_stop(p), 0);
	saved_len = BUFFER;
	err = snapshot_save(p, saved, &saved_len);
	vmspace_unmap(process_vmspace(p), at, PAGE_SIZE);
	saved_len = BUFFER;
	after = snapshot_save(p, saved, &saved_len);
	KASSERT(ends(p));
	KASSERT_EQ(frame_free(frame), 0);
	KASSERT_EQ(mapped, 0);
	KASSERT_EQ(err, -EBUSY);
	KASSERT_EQ(after, 0);
}

/* Says what its flags are, and its selectors. */
USER_PROGRAM(program_flags,
	"movq $1, 0x600000\n1: cmpq $0, 0x600008\nje 1b\npushfq\npop 0x600010\nmov %cs, %eax\nmov %eax, 0x600018\nmov %ss, %eax\nmov %eax, 0x60001c\nmov %r15, 0x600028\nmovq $1, 0x600020\n2: jmp 2b\n");

KTEST(sched, snapshot_regs)
{
	enum { RIP = 15 * 8, RFLAGS = 16 * 8, RSP = 17 * 8, FS_BASE = 18 * 8, R15 = 14 * 8 };
	static const uint64_t bad[] = { USER_END, 1ull << 47, 0xffff800000000000, KERNEL_VIRT_BASE, UINT64_MAX };
	struct process *p = make(program_flags, USER_LEN(program_flags), 0), *q;
	uint64_t flags = 0, selectors = 0, r15 = 0;
	bool right, told;
	uint32_t sum;

	KASSERT(p != NULL);
	right = user_word_becomes(p, USER_DATA, 1) && cut_stack(p) && save(p);
	right &= ends(p);
	KASSERT(right);
	harness_memcpy(copy, saved, saved_len);
	accepted = 0;
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		put64(BODY + RIP, bad[i]);
		refuse(saved_len, true);
		put64(BODY + RSP, bad[i]);
		refuse(saved_len, true);
		put64(BODY + FS_BASE, bad[i]);
		refuse(saved_len, true);
	}
	put64(BODY + RFLAGS, 0xfffffffffffffeff);               /* all but single step, which is not taken either */
	put64(BODY + R15, 0x1515151515151515);
	sum = crc(copy + BODY, saved_len - BODY);
	harness_memcpy(copy + SUM, &sum, 4);
	q = restore(copy, saved_len);
	KASSERT_EQ(accepted, 0);
	KASSERT(q != NULL);
	*(volatile uint64_t *)user_at(process_vmspace(q), USER_DATA + 8) = 1;
	right = process_resume(q) == 0;
	told = user_word_becomes(q, USER_DATA + 32, 1);
	flags = user_word(process_vmspace(q), USER_DATA + 16);
	selectors = user_word(process_vmspace(q), USER_DATA + 24);
	r15 = user_word(process_vmspace(q), USER_DATA + 40);
	KASSERT(ends(q));
	KASSERT(right && told);
	KASSERT_EQ(flags & ~0xcd5ull, 0x202);
	KASSERT_EQ(selectors, 0x23 | 0x1bull << 32);
	KASSERT_EQ(r15, 0x1515151515151515);
}
