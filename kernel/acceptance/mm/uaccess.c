/* Acceptance of mm/uaccess.c: memory of ring 3 that the kernel reads and writes. See spec/mm.md. */
#include "memory.h"

#define BASE 0x400000ull

enum { PAGES = 4, ROOM = 3 * 4096, LONGEST = 8193 };

static uint8_t from[ROOM], to[ROOM], user[PAGES * 4096];

/* A space with PAGES pages at BASE, and a hole on either side. */
static struct vmspace *make(unsigned prot)
{
	struct vmspace *vs;
	vaddr_t va = BASE;

	if (vmspace_create(0, &vs))
		return NULL;
	if (vmspace_map_anon(vs, &va, PAGES * PAGE_SIZE, prot)) {
		vmspace_destroy(vs);
		return NULL;
	}
	return vs;
}

/* The byte of user space at that address, by its frame. */
static uint8_t *byte(struct vmspace *vs, vaddr_t va)
{
	struct pt_entry e;

	if (vmspace_translate(vs, va, &e))
		return NULL;
	return (uint8_t *)phys_to_virt(e.pa) + (va - e.va);
}

static void set_all(struct vmspace *vs, uint8_t value)
{
	for (unsigned i = 0; i < PAGES; i++)
		harness_memset(byte(vs, BASE + i * PAGE_SIZE), value, PAGE_SIZE);
}

/* How many bytes of user space are not as in user[]. */
static unsigned differ(struct vmspace *vs)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PAGES; i++)
		n += harness_memcmp(byte(vs, BASE + i * PAGE_SIZE), user + i * PAGE_SIZE, PAGE_SIZE) != 0;
	return n;
}

KTEST(mm, uaccess_copy)
{
	static const size_t lengths[] = { 0, 1, 2, 7, 8, 9, 100, 4095, 4096, 4097, 8191, 8192, LONGEST };
	static const uint64_t offsets[] = { 0, 1, 5, 2048, 4088, 4095, 4096 };
	struct vmspace *vs = make(VM_WRITE);
	uint64_t seed = harness_seed();

	KASSERT(vs != NULL);
	for (unsigned i = 0; i < ROOM; i++)
		from[i] = (uint8_t)harness_random(&seed);
	for (unsigned l = 0; l < sizeof lengths / sizeof *lengths; l++)
		for (unsigned o = 0; o < sizeof offsets / sizeof *offsets; o++) {
			const size_t n = lengths[l];
			const vaddr_t at = BASE + offsets[o];

			if (offsets[o] + n > sizeof user)
				continue;
			set_all(vs, 0x33);
			harness_memset(user, 0x33, sizeof user);
			harness_memcpy(user + offsets[o], from, n);
			KASSERT_EQ(copy_to_user(vs, at, from, n), 0);
			KASSERT_EQ(differ(vs), 0);
			harness_memset(to, 0x44, sizeof to);
			KASSERT_EQ(copy_from_user(vs, to, at, n), 0);
			KASSERT_EQ(harness_memcmp(to, from, n), 0);
			KASSERT_EQ(to[n], 0x44);
		}
	/* up to the last byte */
	KASSERT_EQ(copy_to_user(vs, BASE + PAGES * PAGE_SIZE - 3, "abc", 3), 0);
	KASSERT_EQ(*byte(vs, BASE + PAGES * PAGE_SIZE - 1), 'c');
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

KTEST(mm, uaccess_fault)
{
	struct vmspace *vs = make(VM_WRITE);
	const vaddr_t end = BASE + PAGES * PAGE_SIZE;
	struct {
		vaddr_t va;
		size_t len;
	} bad[] = {
		{ BASE - 1, 2 }, { BASE - PAGE_SIZE, 8 }, { BASE - 1, 1 },              /* a hole first, */
		{ end, 1 }, { end - 1, 2 }, { BASE, PAGES * PAGE_SIZE + 1 },            /* last, */
		{ BASE + PAGE_SIZE, 2 * PAGE_SIZE }, { BASE + 2 * PAGE_SIZE - 1, 3 },   /* in the middle */
		{ 0, 1 }, { 8, 8 }, { USER_MIN - 1, 2 }, { USER_END - 1, 2 }, { USER_END, 1 },
		{ 1ull << 47, 1 }, { 1ull << 63, 1 }, { DIRECT_MAP_BASE, 8 }, { 0, 8 }, { 0, 8 },
		{ UINT64_MAX, 1 }, { UINT64_MAX - 7, 16 }, { BASE, UINT64_MAX }, { BASE, UINT64_MAX - BASE + 1 }, { BASE, -BASE },
	};
	size_t length = 77;

	KASSERT(vs != NULL);
	bad[16].va = (vaddr_t)from;
	bad[17].va = harness_addr(__text_start);
	KASSERT_EQ(vmspace_unmap(vs, BASE + 2 * PAGE_SIZE, PAGE_SIZE), 0);
	for (unsigned i = 0; i < PAGES; i++)
		if (i != 2)
			harness_memset(byte(vs, BASE + i * PAGE_SIZE), 0x33, PAGE_SIZE);
	harness_memset(from, 0x55, sizeof from);
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		if (copy_from_user(vs, to, bad[i].va, bad[i].len) != -EFAULT)
			ktest_note("case", i);
		KASSERT_EQ(copy_from_user(vs, to, bad[i].va, bad[i].len), -EFAULT);
		KASSERT_EQ(copy_to_user(vs, bad[i].va, from, bad[i].len), -EFAULT);
	}
	for (unsigned i = 0; i < PAGES; i++)                    /* not even what could have been */
		for (unsigned k = 0; i != 2 && k < PAGE_SIZE; k++)
			KASSERT_EQ(byte(vs, BASE + i * PAGE_SIZE)[k], 0x33);
	KASSERT_EQ(from[0], 0x55);
	KASSERT_EQ(strncpy_from_user(vs, (char *)to, 0, 10, &length), -EFAULT);
	KASSERT_EQ(strncpy_from_user(vs, (char *)to, (vaddr_t)from, 10, &length), -EFAULT);
	KASSERT_EQ(strncpy_from_user(vs, (char *)to, UINT64_MAX, 10, &length), -EFAULT);
	KASSERT_EQ(strncpy_from_user(vs, (char *)to, USER_END, 10, &length), -EFAULT);
	KASSERT_EQ(length, 77);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

KTEST(mm, uaccess_readonly)
{
	struct vmspace *vs = make(VM_WRITE);

	KASSERT(vs != NULL);
	set_all(vs, 0x33);
	KASSERT_EQ(vmspace_protect(vs, BASE + PAGE_SIZE, PAGE_SIZE, VM_READ), 0);
	KASSERT_EQ(vmspace_protect(vs, BASE + 2 * PAGE_SIZE, PAGE_SIZE, VM_EXEC), 0);
	harness_memset(from, 0x55, sizeof from);
	harness_memset(user, 0x33, sizeof user);
	KASSERT_EQ(copy_to_user(vs, BASE + PAGE_SIZE, from, 1), -EFAULT);
	KASSERT_EQ(copy_to_user(vs, BASE + PAGE_SIZE - 8, from, 16), -EFAULT);
	KASSERT_EQ(copy_to_user(vs, BASE + 2 * PAGE_SIZE + 8, from, 16), -EFAULT);
	KASSERT_EQ(differ(vs), 0);
	KASSERT_EQ(copy_from_user(vs, to, BASE, ROOM), 0);      /* reading is fine, executable or not */
	KASSERT_EQ(to[ROOM - 1], 0x33);
	KASSERT_EQ(copy_to_user(vs, BASE + PAGE_SIZE - 8, from, 8), 0);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

KTEST(mm, uaccess_string)
{
	struct vmspace *vs = make(VM_WRITE);
	const vaddr_t end = BASE + PAGES * PAGE_SIZE;
	size_t length = 77;

	KASSERT(vs != NULL);
	set_all(vs, 'x');
	harness_memset(to, '#', sizeof to);
	*byte(vs, end - 1) = 0;
	KASSERT_EQ(strncpy_from_user(vs, (char *)to, end - 6, 100, &length), 0);        /* its NUL before a hole */
	KASSERT_EQ(length, 5);
	KASSERT_STREQ((char *)to, "xxxxx");
	KASSERT_EQ(to[6], '#');
	KASSERT_EQ(strncpy_from_user(vs, (char *)to, end - 1, 1, &length), 0);
	KASSERT_EQ(length, 0);
	KASSERT_EQ(strncpy_from_user(vs, (char *)to, end - 6, 6, &length), 0);          /* it just fits */
	KASSERT_EQ(length, 5);
	length = 77;
	KASSERT_EQ(strncpy_from_user(vs, (char *)to, end - 6, 5, &length), -E2BIG);
	KASSERT_EQ(strncpy_from_user(vs, (char *)to, BASE, 0, &length), -E2BIG);
	*byte(vs, end - 1) = 'x';
	KASSERT_EQ(strncpy_from_user(vs, (char *)to, end - 6, 100, &length), -EFAULT);  /* the hole comes before a NUL, */
	KASSERT_EQ(strncpy_from_user(vs, (char *)to, end - 6, 6, &length), -E2BIG);     /* and the end before the hole */
	KASSERT_EQ(length, 77);
	/* across a border, and not in active tables */
	harness_memset(byte(vs, BASE), 0, 1);
	*byte(vs, BASE + PAGE_SIZE + 10) = 0;
	KASSERT_EQ(strncpy_from_user(vs, (char *)to, BASE + PAGE_SIZE - 10, 100, &length), 0);
	KASSERT_EQ(length, 20);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

/* What is mapped for ring 3 need not be where the kernel can get at it: a device's page, and one that the kernel itself may not write. */
KTEST(mm, uaccess_borrowed)
{
	const paddr_t apic = harness_rdmsr(0x1b) & 0x000FFFFFFFFFF000, constants = harness_addr(__rodata_start) - KERNEL_VIRT_BASE;
	struct vmspace *vs;
	vaddr_t device = VM_ANY, constant = VM_ANY;
	size_t length = 77;

	KASSERT_EQ(vmspace_create(0, &vs), 0);
	KASSERT_EQ(vmspace_map_frames(vs, &device, &apic, 1, VM_WRITE, true), 0);
	KASSERT_EQ(vmspace_map_frames(vs, &constant, &constants, 1, VM_WRITE, true), 0);
	KASSERT_EQ(copy_from_user(vs, to, device + 0x30, 4), -EFAULT);
	KASSERT_EQ(copy_to_user(vs, device + 0x30, from, 4), -EFAULT);
	KASSERT_EQ(strncpy_from_user(vs, (char *)to, device + 0x30, 4, &length), -EFAULT);
	KASSERT_EQ(length, 77);
	KASSERT_EQ(copy_from_user(vs, to, constant, 64), 0);
	KASSERT_EQ(harness_memcmp(to, __rodata_start, 64), 0);
	KASSERT_EQ(copy_to_user(vs, constant, to, 64), -EFAULT);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

/* ---- beside others ---- */

KTEST(mm, beside_copies)
{
	enum { MINE = 6, ROUNDS = 60 };
	uint64_t random = harness_seed();
	struct vmspace *vs;
	uint8_t out[200], in[200];
	unsigned wrong = 0;

	KASSERT_EQ(vmspace_create(0, &vs), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		vaddr_t va = VM_ANY;

		if (vmspace_map_anon(vs, &va, MINE * PAGE_SIZE, VM_WRITE) != 0)
			continue;
		for (unsigned i = 0; i < 8; i++) {
			const size_t length = 1 + harness_random(&random) % sizeof out;
			const vaddr_t at = va + harness_random(&random) % (MINE * PAGE_SIZE - length);

			for (size_t n = 0; n < length; n++)
				out[n] = (uint8_t)harness_random(&random);
			wrong += copy_to_user(vs, at, out, length) != 0;
			wrong += copy_from_user(vs, in, at, length) != 0;
			wrong += harness_memcmp(in, out, length) != 0;
		}
		wrong += vmspace_unmap(vs, va, MINE * PAGE_SIZE) != 0;
		wrong += copy_from_user(vs, in, va, 1) != -EFAULT;
	}
	wrong += vmspace_destroy(vs) != 0;
	KASSERT_EQ(wrong, 0);
}
