/* To and from user memory, beyond acceptance/mm/uaccess.c: copies from mapping to mapping of all kinds, each border
 * against a model, the first byte that is bad, what failing calls must leave, strings of every length around a
 * border, spaces that change or are written to meanwhile. See spec/mm.md, Interface, "uaccess", "SMAP", "What bad
 * input gets"; quoted is the page. Nobody else allocates while a test runs. */
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "string.h"

enum { SEED = 0x5eedacc, IF = 1 << 9 };
#define BASE 0x40000000ull
#define LONG 30000000000ull             /* ns: nothing here waits longer; the machine below may have others to serve */
#define COUNT(array) (sizeof(array) / sizeof *(array))

#define READ(insn) \
	({ uint64_t value_; __asm__ volatile(insn : "=r"(value_) : : "memory"); value_; })

/* SplitMix64 */
static uint64_t random_of(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void count(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

static bool interrupts_on(void)
{
	return READ("pushfq; pop %0") & IF;
}

/* ---- checks that do not return: what was taken has to go back first ---- */

static struct {
	unsigned line;                  /* of the first check that failed; 0 */
	uint64_t got, wanted;
} missed;

static void check_that(unsigned line, uint64_t got, uint64_t wanted)
{
	if (got == wanted || missed.line)
		return;
	missed.line = line;
	missed.got = got;
	missed.wanted = wanted;
}

/* By one processor at a time. */
#define CHECK(got_, wanted_) check_that(__LINE__, (uint64_t)(got_), (uint64_t)(wanted_))

static void checks_begin(void)
{
	memset(&missed, 0, sizeof missed);
}

/* The last act of a test. */
#define CHECKS_END() \
	do { \
		if (missed.line) \
			ktest_note("line", missed.line); \
		KASSERT_EQ(missed.got, missed.wanted); \
	} while (0)

/* ---- a space and a model of it: a character a page, from BASE on. w writable and anonymous; W frames, owned,
 * writable; r the same, to be read; x the same, executable; b a frame, borrowed, writable; c another, to be read; .
 * nothing. Frames that are given lie the wrong way round: who goes on behind the end of one finds the page before.
 * ---- */

enum { MOST = 12, SIZE = MOST * PAGE_SIZE, MARGIN = 64 };

static struct {
	struct vmspace *vs;
	char kinds[MOST];
	paddr_t lent[MOST];             /* 0: none */
	uint8_t bytes[SIZE];            /* what is mapped reads so */
} model;

static char kind_of(size_t offset)
{
	return offset < SIZE ? model.kinds[offset / PAGE_SIZE] : '.';
}

static bool can_read(size_t offset)
{
	return kind_of(offset) != '.';
}

static bool can_write(size_t offset)
{
	return kind_of(offset) == 'w' || kind_of(offset) == 'W' || kind_of(offset) == 'b';
}

/* By its frame; NULL: nothing is there. */
static uint8_t *page_at(struct vmspace *vs, vaddr_t va)
{
	struct pt_entry e;

	return vmspace_translate(vs, va, &e) ? NULL : phys_to_virt(e.pa);
}

/* Fills it with bytes that tell where they are, none of them 0. */
static bool model_build(const char *layout)
{
	paddr_t run;

	memset(&model, 0, sizeof model);
	memset(model.kinds, '.', sizeof model.kinds);
	if (frame_alloc_contig(MOST, 1, 0, 0, &run))
		return false;
	if (vmspace_create(0, &model.vs)) {
		frame_free_contig(run, MOST);
		return false;
	}
	for (size_t i = 0; i < SIZE; i++)
		model.bytes[i] = (uint8_t)(1 + (i * 7 + i / PAGE_SIZE * 31 + i / 251) % 255);
	for (unsigned i = 0; i < MOST; i++) {
		const char kind = i < strlen(layout) ? layout[i] : '.';
		paddr_t frame = run + (MOST - 1 - i) * PAGE_SIZE;
		vaddr_t va = BASE + i * PAGE_SIZE;

		model.kinds[i] = kind;
		if (kind == '.' || kind == 'w') {
			CHECK(frame_free(frame), 0);
			if (kind == 'w')
				CHECK(vmspace_map_anon(model.vs, &va, PAGE_SIZE, VM_WRITE), 0);
		} else {
			const bool borrowed = kind == 'b' || kind == 'c';

			if (borrowed)
				model.lent[i] = frame;
			CHECK(vmspace_map_frames(model.vs, &va, &frame, 1,
				kind == 'W' || kind == 'b' ? VM_WRITE : kind == 'x' ? VM_EXEC : VM_READ, borrowed), 0);
		}
		if (kind != '.' && page_at(model.vs, va))
			memcpy(page_at(model.vs, va), model.bytes + i * PAGE_SIZE, PAGE_SIZE);
	}
	return true;
}

/* Whether [from, to) reads as the model says, where it can be read. */
static bool is_as_model(size_t from, size_t to)
{
	for (size_t at = from, n; at < to && at < SIZE; at += n) {
		const uint8_t *const page = page_at(model.vs, BASE + at / PAGE_SIZE * PAGE_SIZE);
		const size_t left = PAGE_SIZE - at % PAGE_SIZE;

		n = to - at < left ? to - at : left;
		if ((page != NULL) != can_read(at) || (page && memcmp(page + at % PAGE_SIZE, model.bytes + at, n)))
			return false;
	}
	return true;
}

static void model_destroy(void)
{
	CHECK(is_as_model(0, SIZE), true);
	CHECK(vmspace_destroy(model.vs), 0);
	for (unsigned i = 0; i < MOST; i++)
		if (model.lent[i])
			CHECK(frame_free(model.lent[i]), 0);
}

static uint8_t kernel_side[MARGIN + SIZE + MARGIN];

/* Whether bytes [from, to) behind the margin are all so. */
static bool is_all(size_t from, size_t to, uint8_t value)
{
	for (size_t i = from; i < to; i++)
		if (kernel_side[MARGIN + i] != value)
			return false;
	return true;
}

/* One copy from BASE + offset on: all of it or -EFAULT and nothing; dst untouched before and behind. */
static void copy_in(size_t offset, size_t len)
{
	uint8_t *const dst = kernel_side + MARGIN;
	bool good = true;

	for (size_t i = 0; i < len; i = i + PAGE_SIZE < len || i == len - 1 ? i + PAGE_SIZE : len - 1)
		good &= can_read(offset + i);
	memset(kernel_side, 0xee, len + 2 * MARGIN);
	CHECK(copy_from_user(model.vs, dst, BASE + offset, len), good ? 0 : -EFAULT);
	if (good)
		CHECK(memcmp(dst, model.bytes + offset, len), 0);
	else
		CHECK(is_all(0, len, 0xee), true);
	for (unsigned i = 0; i < MARGIN; i++) {
		CHECK(kernel_side[i], 0xee);
		CHECK(dst[len + i], 0xee);
	}
}

/* And one to it. A margin of user memory on either side is looked at, too. */
static void copy_out(size_t offset, size_t len, uint8_t salt)
{
	uint8_t *const src = kernel_side + MARGIN;
	bool good = true;

	for (size_t i = 0; i < len; i = i + PAGE_SIZE < len || i == len - 1 ? i + PAGE_SIZE : len - 1)
		good &= can_write(offset + i);
	for (size_t i = 0; i < len; i++)
		src[i] = (uint8_t)(1 + (i * 13 + salt) % 255);
	CHECK(copy_to_user(model.vs, BASE + offset, src, len), good ? 0 : -EFAULT);
	if (good)
		memcpy(model.bytes + offset, src, len);
	CHECK(is_as_model(offset > MARGIN ? offset - MARGIN : 0, offset + len + MARGIN), true);
}

/* ---- borders ---- */

/* Each start and each length around the borders of mappings of all kinds, both ways: "-EFAULT: any byte outside user
 * space or not mapped"; "also where not writable; nothing is written then". */
KTEST(mm, check_uaccess_borders)
{
	checks_begin();
	KASSERT(model_build("wWrxbc.wb.Ww"));
	for (unsigned border = 0; border <= MOST; border++)
		for (unsigned before = 0; before <= 9; before++)
			for (unsigned len = 0; len <= 18; len++) {
				const size_t offset = border * PAGE_SIZE - before;

				if (border == 0 && before)
					continue;
				copy_in(offset, len);
				copy_out(offset, len, (uint8_t)(border + len));
			}
	model_destroy();
	CHECKS_END();
}

/* Over several mappings at once, whole pages between, frames not in a row. */
KTEST(mm, check_uaccess_kinds)
{
	static const unsigned edges[] = { 0, 1, 4095 };

	checks_begin();
	KASSERT(model_build("wWbxrcwWbw.w"));
	for (unsigned first = 0; first < MOST; first++)
		for (unsigned last = first; last < MOST && last < first + 5; last++) {
			const unsigned from = edges[(first + last) % 3], to = edges[(first * 2 + last) % 3] + 1;
			const size_t offset = first * PAGE_SIZE + from, end = last * PAGE_SIZE + to;

			if (end <= offset)
				continue;
			copy_in(offset, end - offset);
			copy_out(offset, end - offset, (uint8_t)(first * 5 + last));
		}
	model_destroy();
	CHECKS_END();
}

/* -EFAULT just from the first byte on that is bad: one less is fine. At holes, at what is read-only, at both ends of
 * user space. Wherever it is, nothing has been copied. */
KTEST(mm, check_uaccess_first_bad)
{
	static const struct { size_t start, bad, bad_to_write; } cases[] = {    /* in "wWr.xxbc" */
		{ 0, 3, 2 }, { 1, 3, 2 }, { 4095, 3, 2 }, { 4096, 3, 2 }, { 8191, 3, 2 }, { 6 * 4096, 8, 7 }, { 6 * 4096 + 77, 8, 7 },
		{ 7 * 4096 - 1, 8, 7 },
	};
	vaddr_t low = USER_MIN, high = USER_END - 2 * PAGE_SIZE;

	checks_begin();
	KASSERT(model_build("wWr.xxbc"));
	for (unsigned i = 0; i < COUNT(cases); i++) {
		const size_t read = cases[i].bad * PAGE_SIZE - cases[i].start;
		const size_t write = cases[i].bad_to_write * PAGE_SIZE - cases[i].start;

		copy_in(cases[i].start, read);
		copy_in(cases[i].start, read + 1);
		copy_out(cases[i].start, write, (uint8_t)i);
		copy_out(cases[i].start, write + 1, (uint8_t)(i + 100));
		CHECK(copy_from_user(model.vs, kernel_side, BASE + cases[i].start, read), 0);
		CHECK(copy_from_user(model.vs, kernel_side, BASE + cases[i].start, read + 1), -EFAULT);
		CHECK(copy_to_user(model.vs, BASE + cases[i].start, model.bytes + cases[i].start, write), 0);
		CHECK(copy_to_user(model.vs, BASE + cases[i].start, model.bytes + cases[i].start, write + 1), -EFAULT);
	}
	CHECK(vmspace_map_anon(model.vs, &low, 2 * PAGE_SIZE, VM_WRITE), 0);
	CHECK(vmspace_map_anon(model.vs, &high, 2 * PAGE_SIZE, VM_WRITE), 0);
	for (size_t n = 1; n < 2 * PAGE_SIZE; n += n < 9 ? 1 : 1021) {
		memset(kernel_side, 0x77, n + 1);
		CHECK(copy_to_user(model.vs, USER_MIN, kernel_side, n), 0);
		CHECK(copy_to_user(model.vs, USER_END - n, kernel_side, n), 0);
		memset(kernel_side, 0x66, n + 1);
		CHECK(copy_to_user(model.vs, USER_MIN - 1, kernel_side, n + 1), -EFAULT);
		CHECK(copy_to_user(model.vs, USER_END - n, kernel_side, n + 1), -EFAULT);
		memset(kernel_side, 0x55, n + 1);
		CHECK(copy_from_user(model.vs, kernel_side, USER_MIN - 1, n + 1), -EFAULT);
		CHECK(copy_from_user(model.vs, kernel_side, USER_END - n, n + 1), -EFAULT);
		CHECK(kernel_side[0], 0x55);
		CHECK(kernel_side[n], 0x55);
		CHECK(copy_from_user(model.vs, kernel_side, USER_MIN, n), 0);
		CHECK(kernel_side[0], 0x77);
		CHECK(kernel_side[n - 1], 0x77);
		CHECK(kernel_side[n], 0x55);
		memset(kernel_side, 0x55, n + 1);
		CHECK(copy_from_user(model.vs, kernel_side, USER_END - n, n), 0);
		CHECK(kernel_side[0], 0x77);
		CHECK(kernel_side[n - 1], 0x77);
		CHECK(kernel_side[n], 0x55);
	}
	model_destroy();
	CHECKS_END();
}

static const vaddr_t nowhere[] = { 0, 1, PAGE_SIZE, USER_MIN - 8, BASE - 8, BASE + 2 * PAGE_SIZE, BASE + 3 * PAGE_SIZE - 1,
	USER_END - 8, USER_END, (1ull << 47) - 8, 1ull << 47, 1ull << 63, DIRECT_MAP_BASE - 8, DIRECT_MAP_BASE, KSTACK_BASE,
	DEVICE_MAP_BASE, KERNEL_BASE, UINT64_MAX - 7, UINT64_MAX };

/* "User pointer into the kernel's half, the null page, a hole, read-only memory, or wrapping: -EFAULT", with lengths
 * that wrap, end in the middle of what is good, or at 0; "len 0: 0", wherever. What is the kernel's stays as it is
 * and nobody gets it. */
KTEST(mm, check_uaccess_nowhere)
{
	static uint8_t secret[64];
	static const size_t lengths[] = { 1, 8, 64, 4096, 1ul << 32, 1ul << 47, 1ul << 63, SIZE_MAX - PAGE_SIZE, SIZE_MAX };
	size_t length = 0x1234;

	checks_begin();
	KASSERT(model_build("ww.ww"));
	memset(secret, 0x5e, sizeof secret);
	memset(kernel_side, 0xee, 2 * PAGE_SIZE);
	for (unsigned i = 0; i < COUNT(nowhere) + 2; i++) {
		const vaddr_t va = i < COUNT(nowhere) ? nowhere[i] : i == COUNT(nowhere) ? (vaddr_t)secret :
			(vaddr_t)page_at(model.vs, BASE);       /* the page is the user's, its address here is not */

		for (unsigned k = 0; k < COUNT(lengths); k++) {
			CHECK(copy_from_user(model.vs, kernel_side, va, lengths[k]), -EFAULT);
			CHECK(copy_to_user(model.vs, va, kernel_side, lengths[k]), -EFAULT);
			CHECK(strncpy_from_user(model.vs, (char *)kernel_side, va, lengths[k], &length), -EFAULT);
		}
		/* up to a good byte, the last one of a page or more; around all there is */
		CHECK(copy_from_user(model.vs, kernel_side, va, BASE - va), -EFAULT);
		CHECK(copy_from_user(model.vs, kernel_side, va, BASE + 1 - va), -EFAULT);
		CHECK(copy_to_user(model.vs, va, kernel_side, BASE + PAGE_SIZE - va), -EFAULT);
		CHECK(copy_from_user(model.vs, kernel_side, va, -va ? -va : 1), -EFAULT);
		CHECK(copy_from_user(model.vs, kernel_side, va, 0), 0);
		CHECK(copy_to_user(model.vs, va, kernel_side, 0), 0);
		if (missed.line)
			ktest_note("case", i);
	}
	for (unsigned i = 0; i < 4; i++) {                      /* from what is good on, around */
		const vaddr_t va = BASE + i % 2 * 8 + i / 2 * 3 * PAGE_SIZE;

		CHECK(copy_from_user(model.vs, kernel_side, va, -va), -EFAULT);
		CHECK(copy_from_user(model.vs, kernel_side, va, USER_MIN - va), -EFAULT);
		CHECK(copy_from_user(model.vs, kernel_side, va, SIZE_MAX), -EFAULT);
		CHECK(copy_from_user(model.vs, kernel_side, va, SIZE_MAX - 7), -EFAULT);
		CHECK(copy_to_user(model.vs, va, kernel_side, -va), -EFAULT);
		CHECK(copy_to_user(model.vs, va, kernel_side, BASE - 1 - va), -EFAULT);
		CHECK(copy_to_user(model.vs, va, kernel_side, SIZE_MAX), -EFAULT);
		CHECK(copy_to_user(model.vs, va, kernel_side, USER_END - va), -EFAULT);
		CHECK(copy_to_user(model.vs, va, kernel_side, 0), 0);
	}
	for (size_t i = 0; i < 2 * PAGE_SIZE; i++)              /* "changes nothing when it fails" */
		CHECK(kernel_side[i], 0xee);
	for (unsigned i = 0; i < sizeof secret; i++)
		CHECK(secret[i], 0x5e);
	CHECK(length, 0x1234);
	model_destroy();
	CHECKS_END();
}

/* Random copies in a space that changes between them. */
KTEST(mm, check_uaccess_model)
{
	uint64_t state = SEED;
	unsigned good = 0, bad = 0;

	checks_begin();
	ktest_note("seed", SEED);
	KASSERT(model_build("wWbxrcww.wWw"));
	for (unsigned step = 0; step < 900 && !missed.line; step++) {
		const uint64_t r = random_of(&state);
		const unsigned page = (r >> 8) % MOST;
		const size_t len = r % 16 ? (r >> 24) % 70 : (r >> 24) % (5 * PAGE_SIZE / 2);
		size_t offset = (r >> 40) % SIZE;
		vaddr_t va = BASE + page * PAGE_SIZE;

		if (r >> 60 < 8)                                /* about a border */
			offset = (offset / PAGE_SIZE + 1) * PAGE_SIZE - (r >> 52) % 64;
		if (offset < MARGIN || offset + len + MARGIN > SIZE)
			continue;
		for (size_t i = 0; i < len; i++)
			if (!can_read(offset + i)) {
				bad++;
				break;
			} else if (i == len - 1)
				good++;
		copy_in(offset, len);
		copy_out(offset, len, (uint8_t)step);
		if (step % 4 || model.lent[page])
			continue;
		if (model.kinds[page] == '.') {
			CHECK(vmspace_map_anon(model.vs, &va, PAGE_SIZE, VM_WRITE), 0);
			memset(model.bytes + page * PAGE_SIZE, 0, PAGE_SIZE);
			model.kinds[page] = 'w';
		} else if (r >> 63) {
			const char kind = "wrx"[(r >> 58) % 3];

			CHECK(vmspace_protect(model.vs, va, PAGE_SIZE,
				kind == 'w' ? VM_WRITE : kind == 'r' ? VM_READ : VM_EXEC), 0);
			model.kinds[page] = kind;
		} else {
			CHECK(vmspace_unmap(model.vs, va, PAGE_SIZE), 0);
			model.kinds[page] = '.';
		}
	}
	CHECK(good > 100 && bad > 100, true);
	model_destroy();
	CHECKS_END();
}

/* ---- which space ---- */

/* "vs need not be active": with none active, with it, with another one that has another thing at the same address, or
 * nothing. It is the named one's memory each time. */
KTEST(mm, check_uaccess_other_space)
{
	enum { SPACES = 3, LENGTH = 5000 };
	static uint8_t copies[SPACES + 1][SPACES][LENGTH];
	struct vmspace *vs[SPACES];
	unsigned strange = 0;
	vaddr_t va;

	checks_begin();
	for (unsigned i = 0; i < SPACES; i++)
		KASSERT_EQ(vmspace_create(0, &vs[i]), 0);
	for (unsigned i = 0; i < SPACES - 1; i++) {             /* the last has nothing there */
		va = BASE;
		CHECK(vmspace_map_anon(vs[i], &va, 2 * PAGE_SIZE, VM_WRITE), 0);
	}
	for (unsigned active = 0; active <= SPACES; active++) {
		const uint64_t flags = READ("pushfq; pop %0");

		__asm__ volatile("cli" : : : "memory");
		vmspace_activate(active < SPACES ? vs[active] : NULL);
		for (unsigned i = 0; i < SPACES; i++) {
			const int wanted = i < SPACES - 1 ? 0 : -EFAULT;

			memset(kernel_side, (int)(16 * active + i), LENGTH);
			strange += copy_to_user(vs[i], BASE + 3, kernel_side, LENGTH) != wanted;
		}
		for (unsigned i = 0; i < SPACES; i++)
			strange += copy_from_user(vs[i], copies[active][i], BASE + 3, LENGTH) != (i < SPACES - 1 ? 0 : -EFAULT);
		vmspace_activate(NULL);
		if (flags & IF)
			__asm__ volatile("sti" : : : "memory");
	}
	CHECK(strange, 0);
	for (unsigned active = 0; active <= SPACES; active++)
		for (unsigned i = 0; i < SPACES - 1; i++)
			for (unsigned k = 0; k < LENGTH; k += LENGTH - 1) {
				CHECK(copies[active][i][k], 16 * active + i);
				CHECK(memcmp(copies[active][i], copies[active][i] + 1, LENGTH - 1), 0);
			}
	for (unsigned i = 0; i < SPACES; i++)
		CHECK(vmspace_destroy(vs[i]), 0);
	CHECKS_END();
}

/* ---- strings ---- */

/* What strncpy_from_user has to say of the model; *length only with 0. */
static int string_wanted(size_t offset, size_t max, size_t *length)
{
	for (size_t i = 0; i < max; i++) {
		if (!can_read(offset + i))
			return -EFAULT;
		if (!model.bytes[offset + i]) {
			*length = i;
			return 0;
		}
	}
	return -E2BIG;
}

static void copy_string(size_t offset, size_t max)
{
	char *const dst = (char *)kernel_side + MARGIN;
	size_t length = 0x7777, wanted = 0x7777, written;
	const int err = string_wanted(offset, max, &wanted);

	memset(kernel_side, 0xee, 3 * MARGIN);
	CHECK(strncpy_from_user(model.vs, dst, BASE + offset, max, &length), err);
	CHECK(length, wanted);                                  /* or "as it was" */
	written = err ? 0 : wanted + 1;
	if (written)
		CHECK(memcmp(dst, model.bytes + offset, written), 0);   /* its NUL, too */
	for (unsigned i = 0; i < MARGIN; i++)
		CHECK(kernel_side[i], 0xee);
	CHECK(is_all(written, 2 * MARGIN, 0xee), true);
}

/* Strings that begin and end around a border, which leads to another kind of memory, to nothing, or out of user
 * space; max is around what it takes. "Copies up to the first NUL"; "-E2BIG: no NUL in the first max bytes. -EFAULT:
 * before either comes a byte that cannot be read." */
KTEST(mm, check_uaccess_string_borders)
{
	checks_begin();
	KASSERT(model_build("wWxcb.rw"));
	for (unsigned border = 1; border <= 8; border++)
		for (unsigned before = 0; before <= 12; before += 1 + before / 3)
			for (unsigned nul = 0; nul <= 27; nul += 1 + nul % 3) {         /* 27: there is none */
				const size_t offset = border * PAGE_SIZE - before, at = offset + nul;
				uint8_t *const page = nul < 27 ? page_at(model.vs, BASE + at / PAGE_SIZE * PAGE_SIZE) : NULL;
				const uint8_t was = page ? model.bytes[at] : 0;

				if (page)
					page[at % PAGE_SIZE] = model.bytes[at] = 0;
				for (unsigned i = 0; i < 3; i++) {
					copy_string(offset, nul + i);           /* too few, just enough, one more */
					if (before + i)
						copy_string(offset, before + i - 1);
				}
				copy_string(offset, 0);
				copy_string(offset, 40);
				if (page)
					page[at % PAGE_SIZE] = model.bytes[at] = was;
			}
	model_destroy();
	CHECKS_END();
}

/* With max as large as can be; every length over two borders; at the last byte of user space; two NULs: the first
 * counts; none is looked for behind max, wherever that is. */
KTEST(mm, check_uaccess_string_long)
{
	static const size_t lengths[] = { 0, 1, 4094, 4095, 4096, 4097, 8190, 8191, 8192, 8193, 9000 };
	char *const dst = (char *)kernel_side;
	vaddr_t high = USER_END - PAGE_SIZE;
	size_t length = 1;
	uint8_t *top;

	checks_begin();
	KASSERT(model_build("wxbW."));
	for (unsigned i = 0; i < COUNT(lengths); i++)
		for (unsigned k = 0; k < 3; k++) {
			const size_t offset = k * 51, n = lengths[i], at = offset + n;
			uint8_t *const page = page_at(model.vs, BASE + at / PAGE_SIZE * PAGE_SIZE);
			const uint8_t was = model.bytes[at];

			if (!page) {
				CHECK(0, 1);
				break;
			}
			page[at % PAGE_SIZE] = model.bytes[at] = 0;
			memset(kernel_side, 0xee, n + 9);
			CHECK(strncpy_from_user(model.vs, dst, BASE + offset, n, &length), -E2BIG);
			CHECK(kernel_side[0], 0xee);
			CHECK(strncpy_from_user(model.vs, dst, BASE + offset, k ? n + 1 : SIZE_MAX, &length), 0);
			CHECK(length, n);
			CHECK(memcmp(dst, model.bytes + offset, n + 1), 0);
			CHECK(kernel_side[n + 1], 0xee);
			page[at % PAGE_SIZE] = model.bytes[at] = was;
		}
	length = 0x99;
	memset(kernel_side, 0xee, SIZE);
	CHECK(strncpy_from_user(model.vs, dst, BASE, SIZE_MAX, &length), -EFAULT);      /* it goes on into the hole */
	CHECK(strncpy_from_user(model.vs, dst, BASE, 4 * PAGE_SIZE + 1, &length), -EFAULT);
	CHECK(strncpy_from_user(model.vs, dst, BASE, 4 * PAGE_SIZE, &length), -E2BIG);
	CHECK(is_all(0, SIZE - MARGIN, 0xee), true);
	for (unsigned i = 0; i < COUNT(nowhere); i++)           /* no byte is asked for: none is bad */
		CHECK(strncpy_from_user(model.vs, dst, nowhere[i], 0, &length), -E2BIG);
	CHECK(vmspace_map_anon(model.vs, &high, PAGE_SIZE, VM_READ), 0);
	top = page_at(model.vs, high);
	if (top) {
		memset(top, 'y', PAGE_SIZE);
		CHECK(strncpy_from_user(model.vs, dst, USER_END - 5, 5, &length), -E2BIG);
		CHECK(strncpy_from_user(model.vs, dst, USER_END - 5, 6, &length), -EFAULT);
		CHECK(strncpy_from_user(model.vs, dst, USER_END - 5, SIZE_MAX, &length), -EFAULT);
		CHECK(length, 0x99);
		CHECK(kernel_side[0], 0xee);
		top[PAGE_SIZE - 1] = 0;
		top[PAGE_SIZE - 3] = 0;
		CHECK(strncpy_from_user(model.vs, dst, USER_END - 5, SIZE_MAX, &length), 0);
		CHECK(length, 2);
		CHECK(memcmp(dst, "yy\0", 3), 0);
		CHECK(kernel_side[3], 0xee);
		CHECK(strncpy_from_user(model.vs, dst, USER_END - 1, SIZE_MAX, &length), 0);
		CHECK(length, 0);
	} else
		CHECK(0, 1);
	model_destroy();
	CHECKS_END();
}

/* ---- interrupts ---- */

/* How often interrupts or the preempt count are not as they were. */
static unsigned copies_that_disturb(void)
{
	const bool on = interrupts_on();
	const uint32_t preempt = cpu_self()->preempt_count;
	unsigned disturbed = 0;
	size_t length;

#define STILL(call, answer) \
	do { \
		CHECK(call, answer); \
		disturbed += interrupts_on() != on || cpu_self()->preempt_count != preempt; \
	} while (0)
	STILL(copy_from_user(model.vs, kernel_side, BASE + 9, 5000), 0);
	STILL(copy_from_user(model.vs, kernel_side, BASE + 9, 5 * PAGE_SIZE), -EFAULT);
	STILL(copy_from_user(model.vs, kernel_side, BASE, 0), 0);
	STILL(copy_from_user(model.vs, kernel_side, KERNEL_BASE, 8), -EFAULT);
	STILL(copy_to_user(model.vs, BASE, model.bytes, 5000), 0);
	STILL(copy_to_user(model.vs, BASE, model.bytes, 0), 0);
	STILL(copy_to_user(model.vs, BASE, model.bytes, 2 * PAGE_SIZE + 1), -EFAULT);
	STILL(copy_to_user(model.vs, UINT64_MAX, model.bytes, 2), -EFAULT);
	STILL(strncpy_from_user(model.vs, (char *)kernel_side, BASE, 5000, &length), -E2BIG);
	STILL(strncpy_from_user(model.vs, (char *)kernel_side, BASE, SIZE_MAX, &length), -EFAULT);
	page_at(model.vs, BASE)[70] = 0;
	STILL(strncpy_from_user(model.vs, (char *)kernel_side, BASE, SIZE_MAX, &length), 0);
	page_at(model.vs, BASE)[70] = model.bytes[70];
#undef STILL
	return disturbed;
}

/* "May be called on any processor with interrupts on or off": as before, after. */
KTEST(mm, check_uaccess_interrupts)
{
	unsigned disturbed;
	uint64_t flags;

	checks_begin();
	KASSERT(interrupts_on());
	KASSERT(model_build("wWr"));
	disturbed = copies_that_disturb();
	flags = READ("pushfq; pop %0");
	__asm__ volatile("cli" : : : "memory");
	disturbed += copies_that_disturb();
	if (flags & IF)
		__asm__ volatile("sti" : : : "memory");
	CHECK(disturbed, 0);
	model_destroy();
	CHECKS_END();
}

/* ---- all processors: in cpu_on_each, interrupts off ---- */

enum { ROUNDS = 80, RACE_SIZE = 2 * PAGE_SIZE };

static struct {
	struct vmspace *vs;
	uint32_t copying, done, absent, wrong;
	paddr_t lent[2][2];             /* by state, by page */
	uint32_t seen[3];               /* either state, -EFAULT */
	uint8_t own[CPU_MAX][RACE_SIZE];
} race;

/* Until it is over, or too long; serves shootdowns, and leaves the lock to others for a while. */
static bool goes_on(uint64_t start)
{
	for (unsigned i = 0; i < 50; i++) {
		tlb_poll();
		cpu_pause();
	}
	if (__atomic_load_n(&race.done, __ATOMIC_SEQ_CST))
		return false;
	if (clock_ns() - start < LONG)
		return true;
	count(&race.absent);
	return false;
}

static bool all_are_copying(void)
{
	const uint64_t start = clock_ns();

	while (__atomic_load_n(&race.copying, __ATOMIC_SEQ_CST) < cpu_count() - 1) {
		if (clock_ns() - start >= LONG) {
			count(&race.absent);
			return false;
		}
		tlb_poll();
		cpu_pause();
	}
	return true;
}

/* All of one of the two states or nothing: 0, 1; 2: -EFAULT. */
static unsigned read_a_state(uint8_t *to)
{
	unsigned state;
	int err;

	memset(to, 0xee, RACE_SIZE);
	err = copy_from_user(race.vs, to, BASE, RACE_SIZE);
	if ((err && err != -EFAULT) || to[0] != (err ? 0xee : to[0] == 'A' ? 'A' : 'B') || memcmp(to, to + 1, RACE_SIZE - 1))
		count(&race.wrong);
	state = err ? 2 : to[0] == 'B';
	count(&race.seen[state]);
	return state;
}

static void read_or_change(void *arg)
{
	const unsigned me = cpu_self()->index;
	const uint64_t start = clock_ns();

	(void)arg;
	if (me % 2)
		vmspace_activate(race.vs);
	if (me) {
		bool first = true;

		do {
			(void)read_a_state(race.own[me]);
			if (first)
				count(&race.copying);
			first = false;
		} while (goes_on(start));
	} else {
		(void)all_are_copying();
		for (unsigned i = 0; i < ROUNDS; i++) {
			vaddr_t va = BASE;

			if (vmspace_map_frames(race.vs, &va, race.lent[i % 2], 2, i % 3 ? VM_READ : VM_EXEC, true))
				count(&race.wrong);
			/* only this processor changes it */
			if (i % 8 < 2 && read_a_state(race.own[0]) != i % 2)
				count(&race.wrong);
			tlb_poll();
			if (vmspace_unmap(race.vs, BASE, RACE_SIZE))
				count(&race.wrong);
			if (i % 8 < 2 && read_a_state(race.own[0]) != 2)
				count(&race.wrong);
		}
		count(&race.done);
	}
	vmspace_activate(NULL);
}

/* "With the space locked from the first check to the last byte": while one maps and unmaps, all that others copy is
 * of one state. */
KTEST(mm, check_uaccess_while_mapped)
{
	checks_begin();
	memset(&race, 0, sizeof race);
	KASSERT_EQ(vmspace_create(0, &race.vs), 0);
	for (unsigned i = 0; i < 4; i++) {
		KASSERT_EQ(frame_alloc(0, &race.lent[i / 2][i % 2]), 0);
		memset(phys_to_virt(race.lent[i / 2][i % 2]), 'A' + (int)i / 2, PAGE_SIZE);
	}
	CHECK(cpu_on_each(read_or_change, NULL), 0);
	CHECK(race.absent, 0);
	CHECK(race.wrong, 0);
	for (unsigned i = 0; i < 3; i++)
		CHECK(race.seen[i] > 0, true);
	CHECK(vmspace_destroy(race.vs), 0);
	for (unsigned i = 0; i < 4; i++)
		CHECK(frame_free(race.lent[i / 2][i % 2]), 0);
	CHECKS_END();
}

/* Two pages that one takes hold all of one copy: of a processor's letter, or as they were. The copy's error. */
static int write_a_state(uint8_t *from)
{
	const int err = copy_to_user(race.vs, BASE, from, RACE_SIZE);

	if (err && err != -EFAULT)
		count(&race.wrong);
	return err;
}

static void write_or_take(void *arg)
{
	const unsigned me = cpu_self()->index;
	const uint64_t start = clock_ns();

	(void)arg;
	if (me % 2)
		vmspace_activate(race.vs);
	memset(race.own[me], 'a' + (int)me, RACE_SIZE);
	if (me) {
		bool first = true;

		do {
			(void)write_a_state(race.own[me]);
			if (first)
				count(&race.copying);
			first = false;
		} while (goes_on(start));
	} else {
		(void)all_are_copying();
		for (unsigned i = 0; i < ROUNDS; i++) {
			const uint8_t *page[2];
			paddr_t frames[2];
			vaddr_t va = BASE;

			/* only this processor takes them and maps them again */
			if (i % 4 == 0 && write_a_state(race.own[0]) != 0)
				count(&race.wrong);
			tlb_poll();
			if (vmspace_take_frames(race.vs, BASE, 2, frames)) {
				count(&race.wrong);
				break;
			}
			if (write_a_state(race.own[0]) != -EFAULT)      /* comes too late */
				count(&race.wrong);
			for (unsigned k = 0; k < 2; k++) {
				page[k] = phys_to_virt(frames[k]);
				if (memcmp(page[k], page[k] + 1, PAGE_SIZE - 1))
					count(&race.wrong);
			}
			if (page[0][0] != page[1][0] || (page[0][0] && page[0][0] != 'z' &&
			    (page[0][0] < 'a' || page[0][0] >= 'a' + cpu_count())))
				count(&race.wrong);
			if (i % 4 == 0 && page[0][0] == 'z')
				count(&race.wrong);             /* ours was written then, or a later one */
			memset(phys_to_virt(frames[0]), 'z', PAGE_SIZE);
			memset(phys_to_virt(frames[1]), 'z', PAGE_SIZE);
			if (vmspace_map_frames(race.vs, &va, frames, 2, VM_WRITE, false))
				count(&race.wrong);
		}
		count(&race.done);
	}
	vmspace_activate(NULL);
}

/* The other way: what is taken away from under a copy has all of it or nothing, and nothing is written to it later. Nor
 * do two copies mix: "with the space locked from the first check to the last byte", which is by one at a time. */
KTEST(mm, check_uaccess_while_taken)
{
	vaddr_t va = BASE;

	checks_begin();
	memset(&race, 0, sizeof race);
	KASSERT_EQ(vmspace_create(0, &race.vs), 0);
	CHECK(vmspace_map_anon(race.vs, &va, RACE_SIZE, VM_WRITE), 0);
	CHECK(cpu_on_each(write_or_take, NULL), 0);
	CHECK(race.absent, 0);
	CHECK(race.wrong, 0);
	CHECK(vmspace_destroy(race.vs), 0);
	CHECKS_END();
}

/* A string that threads of the space write to meanwhile: processor 0 puts its NUL here and there. */
static void read_or_write_string(void *arg)
{
	enum { MAX = 40 };
	const unsigned me = cpu_self()->index;
	const uint64_t start = clock_ns();
	char *const text = phys_to_virt(race.lent[0][0]);

	(void)arg;
	if (me) {
		bool first = true;

		do {
			char *const to = (char *)race.own[me];
			size_t length = 77;
			int err;

			memset(to, '#', MAX + 8);
			err = strncpy_from_user(race.vs, to, BASE + 4, MAX, &length);
			if (err == 0) {                 /* its own NUL is where *len says, and there is none before */
				if (length >= MAX || to[length] || strlen(to) != length)
					count(&race.wrong);
			} else if (err != -E2BIG || length != 77 || to[0] != '#')
				count(&race.wrong);
			for (unsigned i = 0; i < 8; i++)
				if (to[MAX + i] != '#')
					count(&race.wrong);
			if (first)
				count(&race.copying);
			first = false;
		} while (goes_on(start));
	} else {
		uint64_t state = SEED + 9;

		(void)all_are_copying();
		for (unsigned i = 0; i < 100 * ROUNDS; i++) {
			volatile char *const at = text + 4 + random_of(&state) % (MAX + 6);

			*at = 0;
			tlb_poll();
			*at = (char)('a' + i % 26);
		}
		count(&race.done);
	}
}

/* "Copies up to the first NUL, which it writes too; *len without it", never more than max: also if another processor
 * changes the string between two looks at it. */
KTEST(mm, check_uaccess_string_changes)
{
	vaddr_t va = BASE;
	size_t length = 0;

	checks_begin();
	ktest_note("seed", SEED + 9);
	memset(&race, 0, sizeof race);
	KASSERT_EQ(vmspace_create(0, &race.vs), 0);
	KASSERT_EQ(frame_alloc(0, &race.lent[0][0]), 0);
	memset(phys_to_virt(race.lent[0][0]), 'q', PAGE_SIZE);
	CHECK(vmspace_map_frames(race.vs, &va, race.lent[0], 1, VM_WRITE, true), 0);
	CHECK(cpu_on_each(read_or_write_string, NULL), 0);
	CHECK(race.absent, 0);
	CHECK(race.wrong, 0);
	CHECK(strncpy_from_user(race.vs, (char *)kernel_side, BASE + 4, 40, &length), -E2BIG);
	((char *)phys_to_virt(race.lent[0][0]))[4 + 17] = 0;
	CHECK(strncpy_from_user(race.vs, (char *)kernel_side, BASE + 4, 40, &length), 0);
	CHECK(length, 17);
	CHECK(vmspace_destroy(race.vs), 0);
	CHECK(frame_free(race.lent[0][0]), 0);
	CHECKS_END();
}
