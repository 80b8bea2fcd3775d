/* Processes to memory and back. See spec/sched.md, "Snapshot layout" and "What bad input gets".
 *
 * What is restored may be anybody's bytes: all of it is looked at before anything is made. A region's record is looked
 * at again when it is mapped, so that even in a buffer that changes meanwhile none leads outside it, or outside the
 * user's half.
 *
 * What is saved is the caller's to keep as it is: nobody resumes the process, maps or unmaps in it, or ends it before
 * snapshot_save returns. Nothing is written but what there was when the size was found out; if it turns out to be more
 * or less it is refused, as of one that is not stopped. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "errno.h"
#include "mm.h"
#include "process.h"
#include "sched.h"
#include "string.h"
#include "syscall.h"

enum { MAGIC = 0x504E5341, VERSION = 1 };       /* "ASNP" */

struct header {
	uint32_t magic;
	uint16_t version, zero;
	uint64_t length;                        /* of all */
	uint32_t threads, regions;
	uint64_t limit_frames;
	uint32_t sum;                           /* CRC-32 of all that follows the header */
	uint32_t zero_2;
};

/* A region. Its contents are elsewhere. */
struct record {
	uint64_t va, len, prot;
};

_Static_assert(sizeof(struct header) == 40, "layout of a snapshot's header");
_Static_assert(offsetof(struct header, limit_frames) == 24, "layout of a snapshot's header");
_Static_assert(offsetof(struct header, sum) == 32, "layout of a snapshot's header");
_Static_assert(sizeof(struct record) == 24, "layout of a region's record");
_Static_assert(sizeof(struct user_regs) == 19 * 8, "layout of a thread's registers");

/* Where the records begin, and where the contents do. Whatever the counts, these do not wrap. */
static uint64_t records_at(const struct header *h)
{
	return sizeof *h + h->threads * sizeof(struct user_regs);
}

static uint64_t contents_at(const struct header *h)
{
	return records_at(h) + h->regions * sizeof(struct record);
}

/* ---- the sum ---- */

#define CRC_POLYNOMIAL 0xEDB88320u
#define CRC_SHIFTED(c) ((c) >> 1 ^ ((c) & 1 ? CRC_POLYNOMIAL : 0))

/* What each bit of a byte adds to the sum, from the top one down. */
enum {
	CRC_BIT7 = CRC_POLYNOMIAL,        CRC_BIT6 = CRC_SHIFTED(CRC_BIT7),
	CRC_BIT5 = CRC_SHIFTED(CRC_BIT6), CRC_BIT4 = CRC_SHIFTED(CRC_BIT5),
	CRC_BIT3 = CRC_SHIFTED(CRC_BIT4), CRC_BIT2 = CRC_SHIFTED(CRC_BIT3),
	CRC_BIT1 = CRC_SHIFTED(CRC_BIT2), CRC_BIT0 = CRC_SHIFTED(CRC_BIT1),
};

/* A byte adds what its bits do: entries in a row, of which the first is c. */
#define CRC_2(c)   (c), (c) ^ CRC_BIT0
#define CRC_4(c)   CRC_2(c), CRC_2((c) ^ CRC_BIT1)
#define CRC_8(c)   CRC_4(c), CRC_4((c) ^ CRC_BIT2)
#define CRC_16(c)  CRC_8(c), CRC_8((c) ^ CRC_BIT3)
#define CRC_32(c)  CRC_16(c), CRC_16((c) ^ CRC_BIT4)
#define CRC_64(c)  CRC_32(c), CRC_32((c) ^ CRC_BIT5)
#define CRC_128(c) CRC_64(c), CRC_64((c) ^ CRC_BIT6)

static const uint32_t crc_table[] = { CRC_128(0u), CRC_128(0u ^ CRC_BIT7) };
_Static_assert(sizeof crc_table == 256 * sizeof *crc_table, "an entry for each byte");

/* CRC-32 of n bytes. */
static uint32_t crc32(const uint8_t *p, size_t n)
{
	uint32_t c = UINT32_MAX;

	for (; n; n--)
		c = c >> 8 ^ crc_table[(c ^ *p++) & 0xff];
	return ~c;
}

/* ---- regions of a snapshot ---- */

/* A way through the regions: offsets of the next one's record and contents, and the address that it may not begin
 * below. */
struct cursor {
	uint64_t record, contents;
	vaddr_t from;
};

static struct cursor first_region(const struct header *h)
{
	return (struct cursor){ records_at(h), contents_at(h), USER_MIN };
}

/* The next region, of which there is one; moves on past its contents. -EINVAL: not whole pages of the user's half above
 * the one before, no protection that a region has, or more contents than there are. */
static int next_region(const uint8_t *buf, const struct header *h, struct cursor *c, struct record *r)
{
	memcpy(r, buf + c->record, sizeof *r);
	if ((r->va | r->len) % PAGE_SIZE || !r->len)
		return -EINVAL;
	if (r->va < c->from || r->va >= USER_END || r->len > USER_END - r->va)
		return -EINVAL;
	if (r->prot != VM_READ && r->prot != VM_WRITE && r->prot != VM_EXEC)
		return -EINVAL;
	if (r->len > h->length - c->contents)
		return -EINVAL;
	c->record += sizeof *r;
	c->contents += r->len;
	c->from = r->va + r->len;
	return 0;
}

/* ---- saved ---- */

/* Registers of p's threads, of the first room of them, to `to`; *count: how many there are. -EINVAL: p is not stopped,
 * or has none. One that waited in a system call is past it, with -EAGAIN, as process_stop has it. */
static int take_threads(struct process *p, uint8_t *to, uint32_t room, uint32_t *count)
{
	struct user_regs regs;
	uint32_t n = 0;
	int err;

	for (; !(err = process_get_regs(p, n, &regs)); n++)
		if (n < room)
			memcpy(to + n * sizeof regs, &regs, sizeof regs);
	*count = n;
	return err == -ENOENT && n ? 0 : -EINVAL;
}

/* What there is of regions, and where the records of the first room of them go. */
struct tally {
	uint8_t *to;
	uint32_t room, regions;
	uint64_t bytes;
};

/* For vmspace_for_each. */
static int take_region(const struct vm_region *r, void *arg)
{
	const struct record record = { r->va, r->len, r->prot };
	struct tally *const t = arg;

	if (r->borrowed)
		return -EBUSY;
	if (t->regions < t->room)
		memcpy(t->to + t->regions * sizeof record, &record, sizeof record);
	t->regions++;
	t->bytes += r->len;
	return 0;
}

/* The records are there. By uaccess, which keeps the space locked over a page: what is no longer mapped is not read,
 * but -EINVAL. */
static int take_contents(struct vmspace *vs, const struct header *h, uint8_t *buf)
{
	struct cursor c = first_region(h);

	for (uint32_t i = 0; i < h->regions; i++) {
		uint8_t *const to = buf + c.contents;
		struct record r;

		if (next_region(buf, h, &c, &r))
			return -EINVAL;
		for (uint64_t at = 0; at < r.len; at += PAGE_SIZE)
			if (copy_from_user(vs, to + at, r.va + at, PAGE_SIZE))
				return -EINVAL;
	}
	return 0;
}

/* All that follows the header. Threads come last, and with them the answer that p is still stopped. -EINVAL: it is not,
 * or not what the header says; -EBUSY. */
static int take_body(struct process *p, const struct header *h, uint8_t *buf)
{
	struct tally t = { .to = buf + records_at(h), .room = h->regions };
	struct vmspace *const vs = process_vmspace(p);
	int err = vmspace_for_each(vs, take_region, &t);
	uint32_t threads;

	if (!err && (t.regions != h->regions || contents_at(h) + t.bytes != h->length))
		err = -EINVAL;
	if (!err)
		err = take_contents(vs, h, buf);
	if (!err)
		err = take_threads(p, buf + sizeof *h, h->threads, &threads);
	if (!err && threads != h->threads)
		err = -EINVAL;
	return err;
}

/* The header is written when all else is right. */
int snapshot_save(struct process *p, void *buf, size_t *len)
{
	struct header h = { .magic = MAGIC, .version = VERSION };
	struct vmspace_stats stats;
	struct tally t = { 0 };
	int err = take_threads(p, NULL, 0, &h.threads);

	if (!err)
		err = vmspace_for_each(process_vmspace(p), take_region, &t);
	if (err)
		return err;
	vmspace_get_stats(process_vmspace(p), &stats);
	h.regions = t.regions;
	h.limit_frames = stats.limit;
	h.length = contents_at(&h) + t.bytes;
	if (*len < h.length) {
		*len = h.length;
		return -ENOSPC;
	}
	err = take_body(p, &h, buf);
	if (err)
		return err;
	h.sum = crc32((const uint8_t *)buf + sizeof h, h.length - sizeof h);
	memcpy(buf, &h, sizeof h);
	*len = h.length;
	return 0;
}

/* ---- restored ---- */

/* Registers of thread i, of which there is one. */
static struct user_regs regs_of(const uint8_t *buf, uint32_t i)
{
	struct user_regs regs;

	memcpy(&regs, buf + sizeof(struct header) + i * sizeof regs, sizeof regs);
	return regs;
}

/* The header's own numbers; the threads and the records are in the buffer then. */
static bool header_good(const struct header *h, size_t len)
{
	return h->magic == MAGIC && h->version == VERSION && !h->zero && !h->zero_2 && h->length == len &&
		h->threads >= 1 && h->threads <= PROCESS_THREADS_MAX && contents_at(h) <= len;
}

/* All that can be wrong with a snapshot. *h: its header. Flags are not looked at: process_add_thread takes of them what
 * ring 3 may have. -EINVAL. */
static int check(const uint8_t *buf, size_t len, struct header *h)
{
	struct cursor c;
	struct record r;

	if (len < sizeof *h)
		return -EINVAL;
	memcpy(h, buf, sizeof *h);
	if (!header_good(h, len))
		return -EINVAL;
	c = first_region(h);
	for (uint32_t i = 0; i < h->regions; i++)
		if (next_region(buf, h, &c, &r))
			return -EINVAL;
	if (c.contents != len || crc32(buf + sizeof *h, len - sizeof *h) != h->sum)
		return -EINVAL;
	for (uint32_t i = 0; i < h->threads; i++) {
		const struct user_regs regs = regs_of(buf, i);

		if (regs.rip >= USER_END || regs.rsp >= USER_END || regs.fs_base >= USER_END)
			return -EINVAL;
	}
	return 0;
}

/* -ENOMEM: more pages than vs may have, or than are free. mm would find out only frame by frame. */
static int check_memory(struct vmspace *vs, uint64_t pages)
{
	struct vmspace_stats space;
	struct frame_stats frames;

	vmspace_get_stats(vs, &space);
	frame_get_stats(&frames);
	return (space.limit && space.frames + space.tables + pages > space.limit) || pages > frames.free ? -ENOMEM : 0;
}

/* Through the direct map, so that what the process may not write is filled as well. Nobody else has the space, whose
 * pages are 4 KiB each. */
static int map_region(struct vmspace *vs, const struct record *r, const uint8_t *contents)
{
	vaddr_t va = r->va;
	int err = vmspace_map_anon(vs, &va, r->len, (unsigned)r->prot);

	for (uint64_t at = 0; !err && at < r->len; at += PAGE_SIZE) {
		struct pt_entry e;

		err = vmspace_translate(vs, va + at, &e);
		if (!err)
			memcpy(phys_to_virt(e.pa), contents + at, PAGE_SIZE);
	}
	return err;
}

/* Everything into p, which is new and stopped: its threads begin when it is resumed. Errors as snapshot_restore; p is
 * then the caller's to get rid of. */
static int fill(struct process *p, const uint8_t *buf, const struct header *h)
{
	struct vmspace *const vs = process_vmspace(p);
	struct cursor c = first_region(h);
	int err = check_memory(vs, (h->length - contents_at(h)) / PAGE_SIZE);

	for (uint32_t i = 0; !err && i < h->regions; i++) {
		const uint8_t *const contents = buf + c.contents;
		struct record r;

		err = next_region(buf, h, &c, &r);
		if (!err)
			err = map_region(vs, &r, contents);
	}
	for (uint32_t i = 0; !err && i < h->threads; i++) {
		const struct user_regs regs = regs_of(buf, i);

		err = process_add_thread(p, &regs);
	}
	return err;
}

/* All that p had is back after this. A caller that is cancelled waits as long; its next wait ends by that instead. */
static void get_rid_of(struct process *p)
{
	bool cancelled = false;

	(void)process_kill(p, STATUS_KILLED);
	while (process_wait(p, TIMEOUT_NONE, NULL))
		cancelled = true;
	process_put(p);
	if (cancelled)
		thread_cancel(thread_current());
}

int snapshot_restore(const void *buf, size_t len, const struct process_attr *attr, struct process **out)
{
	struct process_attr with = *attr;
	struct process *p;
	struct header h;
	int err = check(buf, len, &h);

	if (err)
		return err;
	if (!with.limit_frames)
		with.limit_frames = h.limit_frames;
	err = process_create(&with, &p);
	if (err)
		return err;
	err = process_stop(p);
	if (!err)
		err = fill(p, buf, &h);
	if (err) {
		get_rid_of(p);
		return err;
	}
	*out = p;
	return 0;
}
