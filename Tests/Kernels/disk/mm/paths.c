/* Whether the kernel came by the path that QEMU took, and was told what the spec says. */
#include "harness.h"

extern const char multiboot2_magic[], multiboot2_information[];

enum { TAG_END = 0, TAG_COMMAND_LINE = 1, TAG_MEMORY = 6, USABLE = 1 };

/* A word of .boot.data, which is out of reach of the code model's own addressing. */
static uint32_t low_word(const char *symbol)
{
	uintptr_t address = (uintptr_t)symbol;

	__asm__("" : "+r"(address));
	return *(const volatile uint32_t *)address;
}

/* What the battery-backed memory has from there on. */
static uint64_t cmos(uint8_t first, int bytes)
{
	uint64_t value = 0;
	uint8_t byte;

	for (int i = 0; i < bytes; i++) {
		__asm__ volatile("outb %b1, $0x70; inb $0x71, %b0" : "=a"(byte) : "0"((uint8_t)(first + i)));
		value |= (uint64_t)byte << 8 * i;
	}
	return value;
}

/* Bytes: what lies above the first 16 MiB, and above 4 GiB, is told in units of 64 KiB. */
static uint64_t ram(void)
{
	return (16ul << 20) + (cmos(0x34, 2) << 16) + (cmos(0x5b, 3) << 16);
}

struct tag {
	uint32_t type, size;
};

struct memory {
	uint64_t base, length;
	uint32_t type, reserved;
};

/* The tag of a type in the loader's information; NULL if there is none before its end. */
static const struct tag *find(uint32_t type)
{
	const uintptr_t start = low_word(multiboot2_information), end = start + *(const uint32_t *)start;

	for (uintptr_t at = start + 8; at < end; at += (((const struct tag *)at)->size + 7) & ~7ul) {
		const struct tag *tag = (const struct tag *)at;

		if (tag->type == type)
			return tag;
		if (tag->type == TAG_END)
			break;
	}
	return NULL;
}

/* A BIOS has its date at the end of the first MiB, with a stroke behind the month; what QEMU starts kernels by has none. */
static bool by_qemu(void)
{
	return (low_word((const char *)0xffff4) >> 24 & 0xff) != '/';
}

KTEST(paths, entry)
{
	KASSERT_EQ(low_word(multiboot2_magic), by_qemu() ? 0 : 0x36D76289);
}

KTEST(paths, command_line)
{
	const struct tag *tag;

	if (by_qemu())
		KSKIP("not Multiboot2");
	tag = find(TAG_COMMAND_LINE);
	KASSERT(tag != NULL);
	KASSERT_STREQ((const char *)(tag + 1), "console=com1 auton");
}

KTEST(paths, memory)
{
	const struct tag *tag;
	uint64_t usable = 0;

	if (by_qemu())
		KSKIP("not Multiboot2");
	tag = find(TAG_MEMORY);
	KASSERT(tag != NULL);
	KASSERT_EQ(((const uint32_t *)(tag + 1))[0], sizeof(struct memory));
	for (const struct memory *m = (const struct memory *)(tag + 2); (uintptr_t)m < (uintptr_t)tag + tag->size; m++)
		if (m->type == USABLE)
			usable += m->length;
	KASSERT(usable <= ram());
	KASSERT(usable + (4 << 20) >= ram());
	KASSERT(find(TAG_END) != NULL);
}
