/* Further tests of sched/snapshot.c: snapshots that are made up here, from what the spec says of their layout, and must
 * come out of a process again as they went in; any change of one against a judge of our own; limits and want of memory;
 * processes whose threads are at anything; what is done to one that has been restored. See spec/sched.md, "Snapshot
 * layout" and "What bad input gets", and include/process.h.
 *
 * We may be stopped at any time, for tens of milliseconds: nothing here must be in time. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "mm.h"
#include "process.h"
#include "sched.h"
#include "string.h"
#include "syscall.h"

#define US 1000ul
#define MS 1000000ul
#define LONG (4000 * MS)                /* what takes so long does not come any more */
#define SEED 0x736e6170u

#define CODE 0x400000ul                 /* a program's page; one to write to; four that differ in protection */
#define DATA 0x600000ul
#define KINDS 0x500000ul

#define FLAGS_TAKEN 0xcd5ul             /* CF, PF, AF, ZF, SF, OF and DF */
#define FLAGS_FORCED 0x202ul            /* IF, and the one that is always set */

#define ROOM (192 * 1024ul)             /* bytes of a buffer */
enum { BUFFERS = 3, SLACK = 32 };       /* SLACK: frames that slabs and tables of stacks may keep */

#define GET(word) __atomic_load_n(&(word), __ATOMIC_SEQ_CST)

/* Sleeps until it is so, looking every now and then; whether it is. */
#define COMES(condition) \
	({ \
		const uint64_t begin_ = clock_ns(); \
		while (!(condition) && clock_ns() - begin_ < LONG) \
			(void)thread_park(20 * US); \
		(condition); \
	})

/* The first line that found something wrong; 0: none did. */
static uint32_t wrong;

#define CHECK(condition) \
	do { \
		if (!(condition) && !wrong) \
			wrong = __LINE__; \
	} while (0)

/* splitmix64 */
static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t free_frames(void)
{
	struct frame_stats stats;

	frame_get_stats(&stats);
	return stats.free;
}

static uint64_t live_threads(void)
{
	struct slab_stats stats;

	slab_get_stats(slab_cache_of(thread_current()), &stats);
	return stats.live;
}

/* The same, when those that others have left are gone. */
static uint64_t settled(void)
{
	uint64_t before;

	do {
		before = live_threads();
		(void)thread_park(200 * US);
	} while (live_threads() != before);
	return before;
}

static bool near(uint64_t a, uint64_t b)
{
	return a <= b + SLACK && b <= a + SLACK;
}

/* ---- buffers, which are given back after each test ---- */

static uint8_t *buffers[BUFFERS];

static void close_buffers(void)
{
	for (unsigned i = 0; i < BUFFERS; i++) {
		kfree(buffers[i]);
		buffers[i] = NULL;
	}
}

static bool open_buffers(void)
{
	wrong = 0;
	for (unsigned i = 0; i < BUFFERS; i++)
		buffers[i] = kzalloc(ROOM);
	for (unsigned i = 0; i < BUFFERS; i++)
		if (!buffers[i]) {
			close_buffers();
			return false;
		}
	return true;
}

/* ---- the layout, as the spec has it ---- */

struct head {
	uint32_t magic;
	uint16_t version, zero;
	uint64_t length;
	uint32_t threads, regions;
	uint64_t limit;
	uint32_t sum, zero_2;
};
_Static_assert(sizeof(struct head) == 40, "threads begin at byte 40");

struct record {
	uint64_t va, len, prot;
};

static uint32_t crc(const uint8_t *p, size_t n)
{
	static uint32_t table[256];
	uint32_t c = UINT32_MAX;

	for (uint32_t i = 0; i < 256 && !table[255]; i++) {
		uint32_t v = i;

		for (unsigned bit = 0; bit < 8; bit++)
			v = v >> 1 ^ (v & 1 ? 0xEDB88320u : 0);
		table[i] = v;
	}
	for (; n; n--)
		c = c >> 8 ^ table[(c ^ *p++) & 0xff];
	return ~c;
}

static struct head *head_of(uint8_t *buf)
{
	return (struct head *)buf;
}

static struct user_regs *regs_of(uint8_t *buf, unsigned i)
{
	return (struct user_regs *)(buf + sizeof(struct head)) + i;
}

static struct record *record_of(uint8_t *buf, unsigned i)
{
	return (struct record *)regs_of(buf, head_of(buf)->threads) + i;
}

static uint8_t *contents_of(uint8_t *buf)
{
	return (uint8_t *)record_of(buf, head_of(buf)->regions);
}

static void seal(uint8_t *buf, size_t len)
{
	head_of(buf)->sum = crc(buf + sizeof(struct head), len - sizeof(struct head));
}

/* A head for so many threads and regions, the regions of no pages yet. */
static void begin(uint8_t *buf, unsigned threads, unsigned regions, uint64_t limit)
{
	memset(buf, 0, ROOM);
	*head_of(buf) = (struct head){
		.magic = 0x504E5341, .version = 1, .threads = threads, .regions = regions, .limit = limit,
	};
	head_of(buf)->length = (uint64_t)(contents_of(buf) - buf);
}

/* Region i, after those before it, with what its contents are to be; 0: by chance. */
static void add_region(uint8_t *buf, unsigned i, struct record r, const void *contents, size_t len,
	uint64_t *random)
{
	uint8_t *const to = buf + head_of(buf)->length;

	*record_of(buf, i) = r;
	memset(to, 0, r.len);
	if (contents)
		memcpy(to, contents, len);
	for (size_t w = 0; !contents && w < r.len / 8; w++)
		((uint64_t *)to)[w] = next(random);
	head_of(buf)->length += r.len;
}

/* Any registers that ring 3 can have, but for flags: those may be any. */
static void any_regs(struct user_regs *r, uint64_t *random)
{
	uint64_t *const words = (uint64_t *)r;

	for (size_t w = 0; w < sizeof *r / 8; w++)
		words[w] = next(random);
	r->rip %= USER_END;
	r->rsp %= USER_END;
	r->fs_base %= USER_END;
}

/* A good snapshot by chance; its length. Regions are next to each other, near, or far away, and some at the ends of what
 * there is. */
static size_t make_up(uint8_t *buf, unsigned threads, unsigned regions, unsigned most_pages, uint64_t *random)
{
	vaddr_t at = next(random) % 2 ? USER_MIN : USER_MIN + next(random) % 100000 * PAGE_SIZE;

	begin(buf, threads, regions, next(random) % 2 ? 0 : 500 + next(random) % 500);
	for (unsigned i = 0; i < threads; i++)
		any_regs(regs_of(buf, i), random);
	for (unsigned i = 0; i < regions; i++) {
		struct record r = { at, (1 + next(random) % most_pages) * PAGE_SIZE, next(random) % 3 };

		if (i && i + 1 == regions && next(random) % 2)
			r.va = USER_END - r.len;
		add_region(buf, i, r, NULL, 0, random);
		at = r.va + r.len;
		if (next(random) % 2)
			at += next(random) % (next(random) % 3 ? 4 : 0x40000) * PAGE_SIZE;
	}
	seal(buf, head_of(buf)->length);
	return head_of(buf)->length;
}

/* Flags as a process has them. */
static void make_own(uint8_t *buf)
{
	for (unsigned i = 0; i < head_of(buf)->threads; i++)
		regs_of(buf, i)->rflags = (regs_of(buf, i)->rflags & FLAGS_TAKEN) | FLAGS_FORCED;
	seal(buf, head_of(buf)->length);
}

static const struct process_attr any = { "restored", CLASS_NORMAL, 0, 99 };

/* Ends it; how it did. */
static int end(struct process *p)
{
	int status = -1;

	(void)process_kill(p, STATUS_KILLED);
	if (process_wait(p, LONG, &status))
		return -1;
	process_put(p);
	return status;
}

static void *at_user(struct process *p, vaddr_t va)
{
	struct pt_entry e;

	return vmspace_translate(process_vmspace(p), va, &e) ? NULL : (char *)phys_to_virt(e.pa) + (va - e.va);
}

static uint64_t word(struct process *p, vaddr_t va)
{
	const uint64_t *const at = at_user(p, va);

	return at ? GET(*at) : UINT64_MAX;
}

/* ---- out again as it went in ---- */

static int add_up(const struct vm_region *r, void *arg)
{
	*(uint64_t *)arg += r->len;
	return 0;
}

/* What p has is what the snapshot says: registers, pages, their protection, their contents, no more. */
static void check_process(struct process *p, uint8_t *buf)
{
	const struct head *const h = head_of(buf);
	const uint8_t *contents = contents_of(buf);
	struct vmspace_stats stats;
	struct user_regs regs;
	uint64_t mapped = 0;

	for (unsigned i = 0; i < h->threads; i++)
		CHECK(process_get_regs(p, i, &regs) == 0 && memcmp(&regs, regs_of(buf, i), sizeof regs) == 0);
	CHECK(process_get_regs(p, h->threads, &regs) == -ENOENT);
	for (unsigned i = 0; i < h->regions; i++) {
		const struct record r = *record_of(buf, i);

		for (uint64_t at = 0; at < r.len; at += PAGE_SIZE, contents += PAGE_SIZE) {
			struct pt_entry e = { 0 };

			CHECK(vmspace_translate(process_vmspace(p), r.va + at, &e) == 0);
			CHECK(e.prot == (VM_USER | r.prot));
			CHECK(e.pa && memcmp(phys_to_virt(e.pa), contents, PAGE_SIZE) == 0);
		}
	}
	vmspace_for_each(process_vmspace(p), add_up, &mapped);
	CHECK(mapped == (uint64_t)(contents - contents_of(buf)));
	vmspace_get_stats(process_vmspace(p), &stats);
	CHECK(stats.frames == mapped / PAGE_SIZE && stats.limit == h->limit);
}

/* Made up, restored, looked at, saved again, to any address: the same bytes, but for flags that ring 3 cannot have. */
KTEST(sched, check_snapshot_made_up)
{
	enum { ROUNDS = 8 };
	uint64_t random = SEED;

	ktest_note("seed", SEED);
	KASSERT(open_buffers());
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint8_t *const buf = buffers[0], *const again = buffers[1] + i;
		const unsigned threads = i == 0 ? PROCESS_THREADS_MAX : 1 + (unsigned)(next(&random) % 3);
		const size_t len = make_up(buf, threads, i == 1 ? 0 : (unsigned)(next(&random) % 8), 3, &random);
		size_t room = len + i % 2 * 1000;
		struct process *p = NULL;

		memset(buffers[1], 0x5a, ROOM);
		CHECK(snapshot_restore(buf, len, &any, &p) == 0);
		if (!p)
			break;
		make_own(buf);
		check_process(p, buf);
		CHECK(snapshot_save(p, again, &room) == 0);
		CHECK(room == len);
		CHECK(memcmp(buf, again, len) == 0);
		CHECK(again[len] == 0x5a && (!i || again[-1] == 0x5a));
		CHECK(end(p) == STATUS_KILLED);
	}
	close_buffers();
	KASSERT_EQ(wrong, 0);
}

/* ---- limits, and want of memory ---- */

/* Frames and tables of one that is restored without a limit. */
static size_t needs(const uint8_t *buf, size_t len)
{
	struct vmspace_stats stats = { 0 };
	struct process *p = NULL;

	CHECK(snapshot_restore(buf, len, &any, &p) == 0);
	if (!p)
		return 0;
	vmspace_get_stats(process_vmspace(p), &stats);
	CHECK(end(p) == STATUS_KILLED);
	return stats.frames + stats.tables;
}

/* By its own limit or by that of who restores it: to the frame. One that is refused leaves nothing. */
KTEST(sched, check_snapshot_limits)
{
	uint64_t random = SEED, frames = 0, threads = 0;
	size_t len, least;

	ktest_note("seed", SEED);
	KASSERT(open_buffers());
	do
		len = make_up(buffers[0], 2, 4, 2, &random);
	while (head_of(buffers[0])->limit);
	least = needs(buffers[0], len);
	for (size_t limit = 1; limit <= least + 1; limit += limit + 6 < least ? 3 : 1) {
		for (unsigned own = 0; own < 2; own++) {
			struct process *const none = (struct process *)1, *p = none;
			struct process_attr attr = any;
			int err;

			head_of(buffers[0])->limit = own ? limit : 1;
			attr.limit_frames = own ? 0 : limit;
			err = snapshot_restore(buffers[0], len, &attr, &p);
			CHECK(err == (limit < least ? -ENOMEM : 0));
			CHECK(!err || p == none);
			if (!err)
				CHECK(end(p) == STATUS_KILLED);
			if (limit == 1) {
				frames = free_frames();
				threads = settled();
			}
			CHECK(live_threads() == threads && near(free_frames(), frames));
		}
	}
	close_buffers();
	KASSERT_EQ(wrong, 0);
}

/* What stands in the first frame of each run that was taken. */
struct taken {
	paddr_t next;
	size_t count;
};

/* Takes all frames but so many; what give_back wants. */
static paddr_t take_all_but(size_t left)
{
	paddr_t kept = 0, head = 0, pa;

	for (; left && frame_alloc(0, &pa) == 0; left--) {
		*(struct taken *)phys_to_virt(pa) = (struct taken){ kept, 1 };
		kept = pa;
	}
	for (size_t count = 1ul << 15; count; count /= 2)
		while (frame_alloc_contig(count, 1, 0, 0, &pa) == 0) {
			*(struct taken *)phys_to_virt(pa) = (struct taken){ head, count };
			head = pa;
		}
	while (kept) {
		pa = kept;
		kept = ((struct taken *)phys_to_virt(pa))->next;
		(void)frame_free(pa);
	}
	return head;
}

static void give_back(paddr_t head)
{
	while (head) {
		const struct taken run = *(struct taken *)phys_to_virt(head);

		(void)frame_free_contig(head, run.count);
		head = run.next;
	}
}

/* With so many frames left it is restored as it is to be, or not at all. */
KTEST(sched, check_snapshot_short)
{
	uint64_t random = SEED, frames = 0, threads = 0;
	unsigned refused = 0, done = 0;
	size_t len, most;

	ktest_note("seed", SEED);
	KASSERT(open_buffers());
	len = make_up(buffers[0], 3, 3, 2, &random);
	make_own(buffers[0]);
	most = needs(buffers[0], len) + 3 * (KSTACK_SIZE / PAGE_SIZE) + SLACK;
	for (size_t left = 0; left <= most; left += 2) {
		struct process *p = NULL;
		const paddr_t all = take_all_but(left);
		const int err = snapshot_restore(buffers[0], len, &any, &p);

		give_back(all);
		CHECK(err == 0 || err == -ENOMEM);
		CHECK(!err == !!p);
		if (p) {
			check_process(p, buffers[0]);
			CHECK(end(p) == STATUS_KILLED);
			if (++done == 2)
				break;
		}
		refused += err != 0;
		if (left == 4) {
			frames = free_frames();
			threads = settled();
		} else if (left > 4) {
			CHECK(live_threads() == threads && near(free_frames(), frames));
		}
	}
	close_buffers();
	KASSERT_EQ(wrong, 0);
	KASSERT(refused > 5);
	KASSERT(done > 0);
}

/* ---- a judge ---- */

/* Whether the spec has it restored, were there memory. */
static bool is_good(uint8_t *buf, size_t len)
{
	const struct head *const h = head_of(buf);
	uint64_t from = USER_MIN, left;

	if (len < sizeof *h || h->magic != 0x504E5341 || h->version != 1 || h->zero || h->zero_2 || h->length != len)
		return false;
	if (h->threads < 1 || h->threads > PROCESS_THREADS_MAX)
		return false;
	left = len - sizeof *h;
	if (left < h->threads * sizeof(struct user_regs))
		return false;
	left -= h->threads * sizeof(struct user_regs);
	if (left / sizeof(struct record) < h->regions)
		return false;
	left -= h->regions * sizeof(struct record);
	for (unsigned i = 0; i < h->regions; i++) {
		const struct record r = *record_of(buf, i);

		if (r.va % PAGE_SIZE || r.len % PAGE_SIZE || !r.len || r.va < from || r.va >= USER_END)
			return false;
		if (USER_END - r.va < r.len || r.len > left || r.prot > VM_EXEC)
			return false;
		from = r.va + r.len;
		left -= r.len;
	}
	for (unsigned i = 0; i < h->threads; i++) {
		const struct user_regs *const r = regs_of(buf, i);

		if (r->rip >= USER_END || r->rsp >= USER_END || r->fs_base >= USER_END)
			return false;
	}
	return !left && h->sum == crc(buf + sizeof *h, len - sizeof *h);
}

static uint64_t odd_word(uint64_t *random)
{
	static const uint64_t odd[] = {
		0, 1, 2, 3, 4, 15, 16, 17, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, USER_MIN - PAGE_SIZE, USER_MIN,
		USER_END - PAGE_SIZE, USER_END - 1, USER_END, USER_END + 1, 1ul << 32, 1ul << 47, 1ul << 63,
		UINT64_MAX - PAGE_SIZE + 1, UINT64_MAX,
	};
	const uint64_t which = next(random), by_chance = next(random);

	return which % 4 ? odd[by_chance % (sizeof odd / sizeof *odd)] : by_chance;
}

/* One change of what is before the contents, which may make len another. */
static void change(uint8_t *buf, size_t *len, uint64_t *random)
{
	struct head *const h = head_of(buf);
	const bool told = h->threads && h->threads <= PROCESS_THREADS_MAX && h->regions < 100;
	const size_t before = told ? (size_t)(contents_of(buf) - buf) : 200;
	const uint64_t kind = next(random) % 9, by_chance = next(random);
	uint64_t value;

	switch (kind) {
	case 0:                                         /* a bit */
		buf[by_chance % before] ^= (uint8_t)(1u << next(random) % 8);
		break;
	case 1 ... 3:                                   /* a word of a thread or of a region */
		value = odd_word(random);
		memcpy(buf + sizeof *h + by_chance % ((before - sizeof *h) / 8) * 8, &value, 8);
		break;
	case 4:                                         /* a little more or less of one */
		memcpy(&value, buf + by_chance % (before / 8) * 8, 8);
		value += (next(random) % 3 - 1) * (next(random) % 2 ? 1 : PAGE_SIZE);
		memcpy(buf + by_chance % (before / 8) * 8, &value, 8);
		break;
	case 5:                                         /* threads or regions */
		*(by_chance % 2 ? &h->threads : &h->regions) += (uint32_t)(next(random) % 5 - 2);
		break;
	case 6:                                         /* half a word of the head */
		value = odd_word(random);
		memcpy(buf + by_chance % 10 * 4, &value, 4);
		break;
	case 7:                                         /* a region where another is, or next to it, or at the end */
		if (!told || h->regions < 2)
			break;
		value = record_of(buf, (unsigned)(next(random) % h->regions))->va;
		value = next(random) % 4 ? value : USER_END - PAGE_SIZE;
		record_of(buf, (unsigned)(by_chance % h->regions))->va = value + (next(random) % 3 - 1) * PAGE_SIZE;
		break;
	default:                                        /* the length, the head's too or not */
		value = next(random) % 2 ? 1 : next(random) % 2 ? sizeof(struct record) : PAGE_SIZE;
		value *= next(random) % 5 - 2;
		*len += *len + value < ROOM ? value : 0;
		if (by_chance % 4)
			h->length = *len;
	}
}

/* More than a thousand that have been changed, most with a sum that is right then: what the judge finds good is restored,
 * or, where it has a limit, is too much; all others are -EINVAL. Nothing is lost by it. */
KTEST(sched, check_snapshot_changed)
{
	enum { CHANGES = 1200, BASES = 4, MOST = 16 };
	static const unsigned threads[BASES] = { 1, 2, 3, 1 }, regions[BASES] = { 0, 0, 1, 3 };
	uint64_t random = SEED, frames = 0;
	unsigned good = 0, tried = 0;
	size_t lens[BASES];

	ktest_note("seed", SEED);
	KASSERT(open_buffers());
	for (unsigned i = 0; i < BASES; i++) {
		lens[i] = make_up(buffers[0], threads[i], regions[i], 1, &random);
		memcpy(buffers[1] + i * (ROOM / BASES), buffers[0], lens[i]);
	}
	for (unsigned i = 0; i < CHANGES; i++) {
		const unsigned which = (unsigned)(next(&random) % (next(&random) % 4 ? 2 : BASES));    /* few are long */
		uint8_t *const buf = buffers[2];
		size_t len = lens[which];
		struct process *p = NULL;
		bool is;
		int err;

		if (i == 100)
			frames = free_frames();
		memset(buf, 0, 2 * PAGE_SIZE);
		memcpy(buf, buffers[1] + which * (ROOM / BASES), len);
		for (uint64_t n = 1 + next(&random) % 2; n; n--)
			change(buf, &len, &random);
		if (next(&random) % 16 && len >= sizeof(struct head) && len < ROOM)
			seal(buf, len);
		is = is_good(buf, len);
		good += is;
		if (is && tried == MOST)
			continue;                       /* they take long, and are all alike */
		tried += is;
		err = snapshot_restore(buf, len, &any, &p);
		CHECK(err == (is ? 0 : -EINVAL) || (is && err == -ENOMEM && head_of(buf)->limit));
		CHECK(!err == !!p);
		if (p) {
			make_own(buf);
			check_process(p, buf);
			CHECK(end(p) == STATUS_KILLED);
		}
	}
	close_buffers();
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(tried, MOST);
	KASSERT(good > 100);
	KASSERT(good < CHANGES * 2 / 3);
	KASSERT(near(free_frames(), frames + BUFFERS * ROOM / PAGE_SIZE));
}

/* ---- of threads that are at anything ---- */

/* A program, position-independent, which is copied from here. */
#define PROGRAM(name, code) \
	extern const char name[], name##_end[]; \
	__asm__(".section .rodata\n" #name ":\n" code "\n" #name "_end:\n.previous\n")
#define LEN(program) ((size_t)((uintptr_t)program##_end - (uintptr_t)program))

/* By RDI: computes, sleeps, maps and unmaps, gives way, makes threads, asks. R15 stays what it was, and FS:0 counts. */
PROGRAM(busy,
	"cmp $1, %rdi\nje 1f\ncmp $2, %rdi\nje 2f\ncmp $3, %rdi\nje 3f\ncmp $4, %rdi\nje 4f\ncmp $5, %rdi\nje 5f\n"
	"0: incq %fs:0\npause\ntestq $63, %fs:0\njnz 0b\nmov $2000, %edi\nmov $3, %eax\nsyscall\njmp 0b\n"
	"1: incq %fs:0\nmov $20000, %edi\nmov $3, %eax\nsyscall\njmp 1b\n"
	"2: mov $8192, %edi\nmov $1, %esi\nmov $7, %eax\nsyscall\nmov %rax, %rbx\nmov %rbx, 4096(%rbx)\n"
	"mov $5000, %edi\nmov $3, %eax\nsyscall\n"
	"mov %rbx, %rdi\nmov $4096, %esi\nxor %edx, %edx\nmov $9, %eax\nsyscall\n"
	"mov $5000, %edi\nmov $3, %eax\nsyscall\nmov %rbx, %rdi\nmov $8192, %esi\nmov $8, %eax\nsyscall\n"
	"incq %fs:0\ntest %rax, %rax\njz 2b\nud2\n"
	"3: incq %fs:0\nmov $2, %eax\nsyscall\ntestq $15, %fs:0\njnz 3b\n"
	"mov $9000, %edi\nmov $3, %eax\nsyscall\njmp 3b\n"
	"4: incq %fs:0\nlea 6f(%rip), %rdi\nxor %esi, %esi\nmov $10, %eax\nsyscall\n"
	"mov $15000, %edi\nmov $3, %eax\nsyscall\njmp 4b\n"
	"5: incq %fs:0\nmov $6, %eax\nsyscall\nmov $4000, %edi\nmov $3, %eax\nsyscall\njmp 5b\n"
	"6: mov $11, %eax\nsyscall\nud2");

enum { ROLES = 6, BUSY = 9 };           /* threads at first; one role makes more */

static vaddr_t counter(unsigned i)
{
	return DATA + 8 * i;
}

/* Not started: its threads are added, so it has no stack of 16 pages. */
static struct process *make(const char *program, size_t len)
{
	static const unsigned kinds[] = { VM_READ, VM_WRITE, VM_EXEC, VM_READ };
	vaddr_t code = CODE, data = DATA;
	struct process *p = NULL;
	bool good;

	if (process_create(&any, &p))
		return NULL;
	good = !vmspace_map_anon(process_vmspace(p), &code, PAGE_SIZE, VM_EXEC) &&
		!vmspace_map_anon(process_vmspace(p), &data, PAGE_SIZE, VM_WRITE);
	for (unsigned i = 0; i < 4 && good; i++) {
		vaddr_t at = KINDS + i * PAGE_SIZE;

		good = !vmspace_map_anon(process_vmspace(p), &at, PAGE_SIZE, kinds[i]);
		if (good)
			memset(at_user(p, at), (int)i + 1, PAGE_SIZE);
	}
	if (!good) {
		process_put(p);
		return NULL;
	}
	memcpy(at_user(p, CODE), program, len);
	return p;
}

/* Stopped at any time and saved: the same bytes each time, and the same of what is restored from that. Both go on. */
KTEST(sched, check_snapshot_busy)
{
	enum { ROUNDS = 2 };
	uint64_t random = SEED;
	struct process *const p = make(busy, LEN(busy));

	ktest_note("seed", SEED);
	KASSERT(p != NULL);
	KASSERT(open_buffers());
	CHECK(process_stop(p) == 0);                    /* until all are there none makes others, which would take their room */
	for (unsigned i = 0; i < BUSY; i++) {
		const struct user_regs regs = {
			.rip = CODE, .rsp = DATA + PAGE_SIZE, .rdi = i % ROLES, .r15 = i * 0x1111, .fs_base = counter(i),
		};

		CHECK(process_add_thread(p, &regs) == 0);
	}
	CHECK(process_resume(p) == 0);
	for (unsigned i = 0; i < BUSY; i++)             /* they take their time to begin */
		CHECK(COMES(word(p, counter(i)) > 0));
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t len = ROOM, again = ROOM - 1, third = ROOM;
		struct process *q = NULL;
		uint64_t at[BUSY];

		(void)thread_park(next(&random) % (200 * US));
		CHECK(process_stop(p) == 0);
		CHECK(snapshot_save(p, buffers[0], &len) == 0);
		CHECK(snapshot_save(p, buffers[1] + 1, &again) == 0);
		CHECK(again == len && memcmp(buffers[0], buffers[1] + 1, len) == 0);
		CHECK(is_good(buffers[0], len));
		CHECK(head_of(buffers[0])->threads >= BUSY);
		for (unsigned i = 0; i < BUSY; i++)
			CHECK(regs_of(buffers[0], i)->r15 == i * 0x1111 && regs_of(buffers[0], i)->fs_base == counter(i));
		for (unsigned i = 0; i < BUSY; i++)             /* who has counted is not where it began */
			CHECK(word(p, counter(i)) == 0 || regs_of(buffers[0], i)->rip != CODE);
		CHECK(snapshot_restore(buffers[0], len, &any, &q) == 0);
		CHECK(process_resume(p) == 0);
		if (!q)
			break;
		check_process(q, buffers[0]);
		CHECK(snapshot_save(q, buffers[2], &third) == 0);
		CHECK(third == len && memcmp(buffers[0], buffers[2], len) == 0);
		if (round + 1 == ROUNDS) {
			for (unsigned i = 0; i < BUSY; i++)
				at[i] = word(q, counter(i));
			CHECK(process_resume(q) == 0);
			for (unsigned i = 0; i < BUSY; i++) {
				CHECK(COMES(word(q, counter(i)) > at[i] + 1));
				CHECK(COMES(word(p, counter(i)) > at[i] + 1));
			}
		}
		CHECK(end(q) == STATUS_KILLED);
	}
	close_buffers();
	KASSERT_EQ(end(p), STATUS_KILLED);
	KASSERT_EQ(wrong, 0);
}

/* Thread RDI makes R12 steps, some with calls, and before the R13th last waits until it is told; what it comes to, and what
 * FS:0 does, is known. */
PROGRAM(steps,
	"mov %rdi, %rbx\n1: imul $1103515245, %rbx\nadd $12345, %rbx\nadd %rbx, %fs:0\n"
	"dec %r12\ncmp %r13, %r12\njne 2f\nlock incq 0x600fe8\n"
	"4: mov $5000, %edi\nmov $3, %eax\nsyscall\ncmpq $0, 0x600ff0\nje 4b\n"
	"2: test $63, %r12d\njnz 5f\nmov $2, %eax\nsyscall\n5: test %r12, %r12\njnz 1b\n"
	"mov %rbx, %fs:8\nlock incq 0x600ff8\n"
	"3: mov $1000000000, %edi\nmov $3, %eax\nsyscall\njmp 3b");

enum { STEPPERS = 5, WAITING = 3, STEPS = 4000 };       /* WAITING: that many wait for a word half-way */
enum { HALF_WAY = 0xfe8, GO_ON = 0xff0, DONE = 0xff8 }; /* words of the page at DATA */

/* How many threads came to something else. */
static unsigned others(struct process *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < STEPPERS; i++) {
		uint64_t value = i, sum = 0;

		for (unsigned k = 0; k < STEPS; k++) {
			value = value * 1103515245 + 12345;
			sum += value;
		}
		n += word(p, DATA + i * 64) != sum || word(p, DATA + i * 64 + 8) != value;
	}
	return n;
}

/* Several threads, each with memory of its own by FS, some half-way: what they come to is the same for the one that was
 * saved, for one that was restored from it, and for one that was restored from that. */
KTEST(sched, check_snapshot_goes_on)
{
	struct process *p[3] = { make(steps, LEN(steps)) };
	unsigned different[3] = { 1, 1, 1 };

	KASSERT(p[0] != NULL);
	KASSERT(open_buffers());
	for (unsigned i = 0; i < STEPPERS; i++) {
		const struct user_regs regs = {
			.rip = CODE, .rsp = DATA, .rdi = i, .r12 = STEPS, .r13 = i < WAITING ? STEPS / 2 + i : UINT64_MAX,
			.fs_base = DATA + i * 64,
		};

		CHECK(process_add_thread(p[0], &regs) == 0);
	}
	CHECK(COMES(word(p[0], DATA + HALF_WAY) == WAITING));
	for (unsigned i = 1; i < 3; i++) {
		size_t len = ROOM;

		CHECK(process_stop(p[i - 1]) == 0);
		CHECK(snapshot_save(p[i - 1], buffers[0], &len) == 0);
		CHECK(snapshot_restore(buffers[0], len, &any, &p[i]) == 0);
		if (!p[i])
			break;
		CHECK(word(p[i], DATA + HALF_WAY) == WAITING && word(p[i], DATA + DONE) <= STEPPERS - WAITING);
		CHECK(process_resume(p[i - 1]) == 0 && process_resume(p[i]) == 0);
		(void)thread_park(30 * US);
	}
	for (unsigned i = 0; i < 3 && p[i]; i++)
		*(volatile uint64_t *)at_user(p[i], DATA + GO_ON) = 1;
	for (unsigned i = 0; i < 3 && p[i]; i++) {
		CHECK(COMES(word(p[i], DATA + DONE) == STEPPERS));
		different[i] = others(p[i]);
		CHECK(end(p[i]) == STATUS_KILLED);
	}
	close_buffers();
	KASSERT_EQ(wrong, 0);
	for (unsigned i = 0; i < 3; i++)
		KASSERT_EQ(different[i], 0);
}

/* ---- what is done to one that has been restored ---- */

/* Counts, and sleeps in between, until it is told to exit; R12 is how. */
PROGRAM(count,
	"1: lock incq 0x600000\nmov $8000, %edi\nmov $3, %eax\nsyscall\ncmpq $0, 0x600008\nje 1b\n"
	"mov $1, %eax\nmov %r12, %rdi\nsyscall\nud2");

/* A snapshot of so many threads that count. */
static size_t make_count(uint8_t *buf, unsigned threads)
{
	begin(buf, threads, 2, 0);
	for (unsigned i = 0; i < threads; i++)
		*regs_of(buf, i) = (struct user_regs){ .rip = CODE, .rsp = DATA, .rflags = FLAGS_FORCED, .r12 = 5 };
	add_region(buf, 0, (struct record){ CODE, PAGE_SIZE, VM_EXEC }, count, LEN(count), NULL);
	add_region(buf, 1, (struct record){ DATA, PAGE_SIZE, VM_WRITE }, "", 1, NULL);
	seal(buf, head_of(buf)->length);
	return head_of(buf)->length;
}

/* Nothing runs before it is resumed; then it is as any other. Two of one snapshot have nothing in common. */
KTEST(sched, check_snapshot_handled)
{
	struct process *p = NULL, *q = NULL, *r = NULL;
	const struct user_regs regs = { .rip = CODE, .rsp = DATA, .r12 = 6 };
	struct user_regs told;
	uint64_t at;
	int status = -1;
	size_t len;

	KASSERT(open_buffers());
	len = make_count(buffers[0], 3);
	CHECK(snapshot_restore(buffers[0], len, &any, &p) == 0);
	CHECK(snapshot_restore(buffers[0], len, &any, &q) == 0);
	CHECK(snapshot_restore(buffers[0], len, &any, &r) == 0);
	close_buffers();
	KASSERT(p && q && r);
	CHECK(process_id(p) != process_id(q) && process_id(q) != process_id(r) && process_id(p) != process_id(r));
	CHECK(process_stop(p) == -EBUSY);
	CHECK(process_start(p, CODE, 0) == -EBUSY);
	CHECK(process_wait(p, 100 * US, NULL) == -ETIMEDOUT);
	CHECK(word(p, DATA) == 0);
	CHECK(process_resume(p) == 0 && process_resume(p) == -EINVAL);
	CHECK(COMES(word(p, DATA) > 5));
	CHECK(process_stop(p) == 0);
	at = word(p, DATA);
	(void)thread_park(50 * US);
	CHECK(word(p, DATA) == at);
	CHECK(process_resume(p) == 0);
	CHECK(COMES(word(p, DATA) > at + 2));
	CHECK(word(q, DATA) == 0);

	/* as many as there may be, then resumed */
	for (unsigned i = 3; i < PROCESS_THREADS_MAX; i += 1) {
		CHECK(process_get_regs(q, i, &told) == -ENOENT);
		CHECK(process_add_thread(q, &regs) == 0);
		CHECK(process_get_regs(q, i, &told) == 0 && told.r12 == 6);
	}
	CHECK(process_add_thread(q, &regs) == -ENOSPC);
	CHECK(process_resume(q) == 0);
	CHECK(COMES(word(q, DATA) >= PROCESS_THREADS_MAX));
	*(volatile uint64_t *)at_user(p, DATA + 8) = 1;
	CHECK(process_wait(p, LONG, &status) == 0 && status == 5);
	CHECK(end(p) == 5);
	CHECK(word(q, DATA + 8) == 0);
	CHECK(end(q) == STATUS_KILLED);

	/* killed before it has ever run */
	CHECK(process_kill(r, 9) == 0);
	CHECK(process_resume(r) == -EINVAL && process_stop(r) == -ENOENT);
	CHECK(end(r) == 9);
	KASSERT_EQ(wrong, 0);
}

/* Who restores it says who it is; what is not right is refused, and nothing is made. */
KTEST(sched, check_snapshot_attr)
{
	static const struct process_attr bad[] = {
		{ NULL, CLASS_NORMAL, 0, 0 }, { "01234567890123456789012345678901", CLASS_NORMAL, 0, 0 },
		{ "x", CLASS_KERNEL, 0, 0 }, { "x", CLASS_IDLE, 0, 0 }, { "x", CLASS_COUNT, 0, 0 }, { "x", (enum sched_class)77, 0, 0 },
	};
	static const struct process_attr good[] = {
		{ "0123456789012345678901234567890", CLASS_INTERACTIVE, 77, 1 }, { "", CLASS_INFERENCE, 0, UINT32_MAX },
	};
	struct process *const none = (struct process *)1, *p;
	size_t len;

	KASSERT(open_buffers());
	len = make_count(buffers[0], 1);
	head_of(buffers[0])->limit = 55;
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		p = none;
		CHECK(snapshot_restore(buffers[0], len, &bad[i], &p) == -EINVAL && p == none);
	}
	for (unsigned i = 0; i < sizeof good / sizeof *good; i++) {
		struct vmspace_stats stats;

		p = none;
		CHECK(snapshot_restore(buffers[0], len, &good[i], &p) == 0);
		if (p == none)
			break;
		vmspace_get_stats(process_vmspace(p), &stats);
		CHECK(stats.limit == (i ? 55 : 77));
		CHECK(process_agent(p) == good[i].agent);
		CHECK(end(p) == STATUS_KILLED);
	}
	close_buffers();
	KASSERT_EQ(wrong, 0);
}

/* When there are as many processes as there may be, or as memory is for, one more is refused as it is made. Those that
 * failed before, half restored, take no room. */
KTEST(sched, check_snapshot_no_room)
{
	enum { FAILED = 8 };
	struct process **const all = kmalloc((PROCESS_MAX + 1) * sizeof *all);
	struct process *const none = (struct process *)1, *p = none;
	struct process_attr little = any;
	int err = 0, refused, later;
	unsigned n = 0, most;
	size_t len;

	KASSERT(all != NULL);
	KASSERT(open_buffers());
	len = make_count(buffers[0], 1);
	little.limit_frames = 6;                /* its two pages and the root are fewer, the other tables are not there */
	for (unsigned i = 0; i < FAILED; i++)
		CHECK(snapshot_restore(buffers[0], len, &little, &p) == -ENOMEM);
	while (n <= PROCESS_MAX && (err = process_create(&any, &all[n])) == 0)
		n++;
	most = n;
	refused = snapshot_restore(buffers[0], len, &any, &p);
	while (n)
		process_put(all[--n]);
	kfree(all);
	KASSERT(p == none);
	later = snapshot_restore(buffers[0], len, &any, &p);
	close_buffers();
	if (!later)
		CHECK(end(p) == STATUS_KILLED);
	KASSERT_EQ(wrong, 0);
	KASSERT(err == -ENOMEM || most == PROCESS_MAX);
	KASSERT(err == -ENOSPC || err == -ENOMEM);
	KASSERT_EQ(refused, err);
	KASSERT_EQ(later, 0);
}

/* ---- what is not saved ---- */

static bool is_untouched(void)
{
	size_t i = 0;

	while (i < ROOM && buffers[1][i] == 0xc7)
		i++;
	return i == ROOM;
}

static int try_save(struct process *p)
{
	size_t len = ROOM;

	return snapshot_save(p, buffers[1], &len);
}

/* One that is not stopped, in whatever way, or has no thread to be saved; the buffer stays as it was. */
KTEST(sched, check_snapshot_not_saved)
{
	struct process *p = NULL, *empty = NULL;
	bool untouched;
	size_t len;

	KASSERT(open_buffers());
	memset(buffers[1], 0xc7, ROOM);
	len = make_count(buffers[0], 2);
	CHECK(process_create(&any, &empty) == 0);
	CHECK(try_save(empty) == -EINVAL);
	CHECK(process_stop(empty) == 0);
	CHECK(try_save(empty) < 0);             /* none that there could be a snapshot of */
	CHECK(process_resume(empty) == 0);
	process_put(empty);
	CHECK(snapshot_restore(buffers[0], len, &any, &p) == 0);
	KASSERT(p != NULL);
	CHECK(process_resume(p) == 0);
	CHECK(try_save(p) == -EINVAL);
	CHECK(COMES(word(p, DATA) > 1));
	CHECK(try_save(p) == -EINVAL);
	CHECK(process_stop(p) == 0);
	for (size_t room = 0; room < len; room += 1 + room / 3) {
		size_t needed = room;

		CHECK(snapshot_save(p, buffers[1], &needed) == -ENOSPC && needed == len);
	}
	untouched = is_untouched();
	CHECK(process_kill(p, 1) == 0);
	CHECK(try_save(p) == -EINVAL);
	CHECK(process_wait(p, LONG, NULL) == 0);
	CHECK(try_save(p) == -EINVAL);
	untouched &= is_untouched();
	CHECK(end(p) == 1);
	close_buffers();
	KASSERT_EQ(wrong, 0);
	KASSERT(untouched);
}
