/* Acceptance of mm/device.c on the local APIC's registers. See spec/mm.md. */
#include "memory.h"

#define APIC (harness_rdmsr(0x1b) & 0x000FFFFFFFFFF000)

KTEST(mm, device_map)
{
	volatile uint32_t *version;
	struct pt_entry e;
	void *page, *inside, *across;

	KASSERT_EQ(device_map(APIC, PAGE_SIZE, &page), 0);
	KASSERT_EQ((vaddr_t)page % PAGE_SIZE, 0);
	KASSERT((vaddr_t)page >= DEVICE_MAP_BASE);
	KASSERT((vaddr_t)page < KERNEL_VIRT_BASE);
	version = (volatile uint32_t *)((char *)page + 0x30);
	KASSERT_EQ(*version & 0xff, 0x14);
	KASSERT_EQ(pt_translate(kernel_root, (vaddr_t)page, &e), 0);
	KASSERT_EQ(e.pa, APIC);
	KASSERT_EQ(e.prot & ~VM_GLOBAL, VM_WRITE | VM_UNCACHED);
	KASSERT_EQ(device_map(APIC + 0x30, 4, &inside), 0);
	KASSERT_EQ((vaddr_t)inside % PAGE_SIZE, 0x30);
	KASSERT_EQ(*(volatile uint32_t *)inside, *version);
	KASSERT_EQ(device_map(APIC - 4, 0x38, &across), 0);
	KASSERT_EQ((vaddr_t)across % PAGE_SIZE, PAGE_SIZE - 4);
	KASSERT_EQ(*(volatile uint32_t *)((char *)across + 0x34), *version);
	KASSERT_EQ(device_unmap(inside, 4), 0);
	KASSERT_EQ(*version & 0xff, 0x14);
	KASSERT_EQ(device_unmap(across, 0x38), 0);
	KASSERT_EQ(device_unmap(page, PAGE_SIZE), 0);
}

KTEST(mm, device_unmap)
{
	uint64_t before;
	void *p, *q;

	KASSERT_EQ(device_map(APIC, 3 * PAGE_SIZE, &p), 0);
	KASSERT_EQ(fault_of(memory_read, (vaddr_t)p + 0x30), NO_FAULT);
	KASSERT_EQ(device_unmap((char *)p + PAGE_SIZE, PAGE_SIZE), -EINVAL);
	KASSERT_EQ(device_unmap(p, PAGE_SIZE), -EINVAL);
	KASSERT_EQ(device_unmap(p, 0), -EINVAL);
	KASSERT_EQ(device_unmap(NULL, PAGE_SIZE), -EINVAL);
	KASSERT_EQ(device_unmap((void *)KERNEL_VIRT_BASE, PAGE_SIZE), -EINVAL);
	KASSERT_EQ(fault_of(memory_read, (vaddr_t)p + 2 * PAGE_SIZE), NO_FAULT);
	KASSERT_EQ(device_unmap(p, 3 * PAGE_SIZE), 0);
	for (unsigned i = 0; i < 3; i++)
		KASSERT_EQ(fault_of(memory_read, (vaddr_t)p + i * PAGE_SIZE), 0);
	KASSERT_EQ(device_unmap(p, 3 * PAGE_SIZE), -EINVAL);
	/* both of the pages that a piece of each of them needs */
	KASSERT_EQ(device_map(APIC + 0x800, PAGE_SIZE, &q), 0);
	KASSERT_EQ(fault_of(memory_read, (vaddr_t)q), NO_FAULT);
	KASSERT_EQ(fault_of(memory_read, (vaddr_t)q + PAGE_SIZE - 1), NO_FAULT);
	KASSERT_EQ(device_unmap(q, PAGE_SIZE), 0);
	KASSERT_EQ(fault_of(memory_read, (vaddr_t)q), 0);
	KASSERT_EQ(fault_of(memory_read, (vaddr_t)q + PAGE_SIZE - 1), 0);
	/* again and again */
	before = free_frames();
	for (unsigned i = 0; i < 1000; i++) {
		KASSERT_EQ(device_map(APIC + i % 16, 4 + i % 2 * PAGE_SIZE, &q), 0);
		KASSERT_EQ(device_unmap(q, 4 + i % 2 * PAGE_SIZE), 0);
	}
	KASSERT(free_frames() + 16 >= before);          /* but for a table now and then */
}

KTEST(mm, device_refuses)
{
	uint32_t a = 0x80000008, b, c = 0, d;
	void *p = (void *)77;
	paddr_t frame;

	KASSERT_EQ(frame_alloc(0, &frame), 0);
	KASSERT_EQ(device_map(frame, PAGE_SIZE, &p), -EINVAL);
	KASSERT_EQ(device_map(frame + 8, 4, &p), -EINVAL);
	KASSERT_EQ(frame_free(frame), 0);
	KASSERT_EQ(device_map(frame, 4, &p), -EINVAL);
	KASSERT_EQ(device_map(harness_addr(__kernel_phys_start), 4, &p), -EINVAL);
	KASSERT_EQ(device_map(APIC, 0, &p), -EINVAL);
	KASSERT_EQ(device_map(UINT64_MAX - 4095, 4096, &p), -EINVAL);
	KASSERT_EQ(device_map(UINT64_MAX - 4095, 8192, &p), -EINVAL);
	KASSERT_EQ(device_map(APIC, UINT64_MAX, &p), -EINVAL);
	KASSERT_EQ(device_map(1ull << 52, 4, &p), -EINVAL);
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	KASSERT_EQ(device_map(1ull << (a & 0xff), 4, &p), -EINVAL);     /* more than an address of this processor's has */
	KASSERT_EQ(device_map((1ull << (a & 0xff)) - 4, 8, &p), -EINVAL);
	KASSERT_EQ((vaddr_t)p, 77);
}

/* Until there is no room for another; then all go, every other one first. */
KTEST(mm, device_full)
{
	enum { MOST = 300 };
	static void *at[MOST];
	unsigned n = 0, wrong = 0;
	void *p;
	int err = 0;

	while (n < MOST && (err = device_map(APIC, 4, &at[n])) == 0)
		n++;
	for (unsigned i = 0; i < n; i += 2)
		wrong += device_unmap(at[i], 4) != 0;
	for (unsigned i = 1; i < n; i += 2)
		wrong += device_unmap(at[i], 4) != 0;
	KASSERT_EQ(err, -ENOMEM);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(device_map(APIC, 4, &p), 0);
	KASSERT_EQ(device_unmap(p, 4), 0);
}

/* What does not fit is not mapped beyond the area's end either. It would be in large pages, so that memory for tables is not what is missing. */
KTEST(mm, device_too_long)
{
	const size_t some = 32 * LARGE_PAGE_SIZE, all = 1ul << 39;
	const paddr_t at = 1ul << 34;           /* of no RAM; never touched */
	uint64_t before;
	void *p, *q;
	int err;

	KASSERT_EQ(device_map(at, some, &q), 0);        /* where the last gap begins */
	KASSERT_EQ(device_unmap(q, some), 0);
	before = free_frames();
	p = NULL;
	err = device_map(at + (vaddr_t)q % LARGE_PAGE_SIZE, all + LARGE_PAGE_SIZE, &p);
	if (err == 0)
		device_unmap(p, all + LARGE_PAGE_SIZE);
	KASSERT_EQ(err, -ENOMEM);
	KASSERT(p == NULL);
	KASSERT(free_frames() + 16 >= before);
	KASSERT_EQ(device_map(at, some, &p), 0);
	KASSERT_EQ(device_unmap(p, some), 0);
}
