/* What the harness's own files and the acceptance tests share. Kernel code has no business here. */
#ifndef AUTON_HARNESS_INTERNAL_H
#define AUTON_HARNESS_INTERNAL_H

#include "harness.h"

/* ---- symbols of kernel.ld; only their addresses mean anything ---- */

#define KERNEL_VIRT_BASE 0xFFFFFFFF80000000ull

extern const char __kernel_phys_start[], __kernel_phys_end[], __boot_start[], __boot_end[];
extern const char __text_start[], __text_end[], __rodata_start[], __rodata_end[];
extern const char __data_start[], __data_end[], __bss_start[], __bss_end[], __kernel_end[];

/* The address of a linker symbol, hidden from the optimiser, which would reason about array bounds. */
static inline uintptr_t harness_addr(const void *symbol)
{
	uintptr_t value = (uintptr_t)symbol;
	__asm__("" : "+r"(value));
	return value;
}

/* ---- bss canary: bytes of bss that the image file fills with HARNESS_DIRTY ---- */

#define HARNESS_DIRTY 0xA5
#define HARNESS_CANARY 64
extern volatile uint8_t harness_bss_head[HARNESS_CANARY], harness_bss_tail[HARNESS_CANARY];

/* ---- what init_run() did: harness/self.c registers one probe a level ---- */

extern volatile unsigned harness_init_count;
extern volatile uint8_t harness_init_seen[32];  /* levels in the order of their calls */

/* The time stamp counter's ticks that each level took, and what it was when harness_run() began. */
extern volatile uint64_t harness_level_ticks[10], harness_ready_ticks;

/* ---- ports ---- */

static inline void harness_outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void harness_outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t harness_inb(uint16_t port)
{
	uint8_t value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

/* ---- reading the processor ---- */

/* The value that one instruction leaves, as in HARNESS_READ("mov %%cr2, %0"). */
#define HARNESS_READ(insn) \
	({ uint64_t value_; __asm__ volatile(insn : "=r"(value_) : : "memory"); value_; })

static inline uint64_t harness_rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return (uint64_t)high << 32 | low;
}

static inline void harness_wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

/* Of the time stamp counter; one tick is one instruction where QEMU counts those (-icount shift=0). */
static inline uint64_t harness_ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static inline uint64_t harness_flags(void)
{
	return HARNESS_READ("pushfq; pop %0");
}

/* Interrupts off; returns RFLAGS for harness_restore, which switches them on if they were. */
static inline uint64_t harness_cli(void)
{
	const uint64_t flags = harness_flags();

	__asm__ volatile("cli" : : : "memory");
	return flags;
}

static inline void harness_restore(uint64_t flags)
{
	if (flags & 1 << 9)
		__asm__ volatile("sti" : : : "memory");
}

struct harness_table {                          /* what sgdt and sidt store */
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static inline struct harness_table harness_gdt(void)
{
	struct harness_table r;

	__asm__ volatile("sgdt %0" : "=m"(r));
	return r;
}

static inline struct harness_table harness_idt(void)
{
	struct harness_table r;

	__asm__ volatile("sidt %0" : "=m"(r));
	return r;
}

/* ---- random values: another seed in each boot but where instructions are counted, and told ---- */

static inline uint64_t harness_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static inline uint64_t harness_seed(void)
{
	const uint64_t seed = harness_ticks() & 0xffffffff;

	ktest_note("seed", seed);
	return seed;
}

/* ---- what runs: one test or benchmark, or several tests beside one another ---- */

struct running {
	enum { TEST_RUNNING, TEST_FAILED, TEST_SKIPPED } state;
	const char *skip_reason;
	/* What is reported of it is kept there until it ends; NULL: it goes out at once. */
	char *text;
	size_t size, length;
};

/* Whoever runs on this processor now. */
struct running *harness_running(void);

/* beside.c's: who it is of those that run beside one another; NULL: they have not begun. */
struct running *harness_running_beside(void);

/* Tells the result of one that has ended, and counts it. */
void harness_result(const struct ktest *test, struct running *running);

/* beside.c's, which there is where the kernel has threads. is_chosen: whether a test is to run. */
void harness_beside(const struct ktest *const *tests, size_t total, bool (*is_chosen)(const struct ktest *test), uint64_t seed);

/* ---- COM2 ---- */

extern uint8_t report_bytes[256];                /* each is written to where such a byte is sent */
void report_char(char c);
void report_text(const char *text);             /* anything that is not printable ASCII becomes '?' */
void report_raw(const char *text);              /* our own literals */
void report_unsigned(uint64_t value);
void report_value(uint64_t value, bool is_signed);
void report_name(const char *suite, const char *name);
void report_run(const char *suite, const char *name);   /* the line that says which test runs */
void report_end(void);                          /* ends the line and waits until the UART has sent it */
void report_fresh_line(void);                   /* ends the line if one is begun */

/* ---- order.c ---- */

/* Forgets what anybody wrote there before. */
void order_begin(void);

/* Compares two things by their suites and names as the boot asks for: below 0 if a comes first, above 0 if b does.
 * given: how they come where nothing is asked for. */
int order_compare(const char *suite_a, const char *a, const char *suite_b, const char *b, int given);

/* ---- fw_cfg ---- */

enum {
	FW_CFG_SIGNATURE    = 0x00,
	FW_CFG_RAM_SIZE     = 0x03,             /* u64 */
	FW_CFG_PROCESSORS   = 0x05,             /* u16 */
	FW_CFG_KERNEL_SIZE  = 0x08,             /* u32, 0 unless QEMU was given -kernel */
	FW_CFG_INITRD_SIZE  = 0x0b,             /* u32 */
	FW_CFG_CMDLINE_SIZE = 0x14,             /* u32, with the NUL */
	FW_CFG_CMDLINE_DATA = 0x15,
	FW_CFG_FILE_DIR     = 0x19,
};

bool fw_cfg_present(void);

/* A little-endian item of `bytes` bytes. */
uint64_t fw_cfg_number(uint16_t key, unsigned bytes);

void fw_cfg_bytes(uint16_t key, char *buffer, size_t size);

/* Reads a file item as a string without trailing white space; its length, FW_CFG_ABSENT, or FW_CFG_TOO_LONG. */
enum { FW_CFG_ABSENT = -1, FW_CFG_TOO_LONG = -2 };
int fw_cfg_string(const char *name, char *buffer, size_t size);

/* Whether time passes with instructions, so that every boot goes the same way. */
static inline bool harness_counting(void)
{
	static int is = -1;
	char word[8];

	if (is < 0)
		is = fw_cfg_string("opt/auton/count", word, sizeof word) != FW_CFG_ABSENT;
	return is;
}

/* ---- strings ---- */

/* Of decimal digits. */
static inline uint64_t harness_number(const char *digits)
{
	uint64_t number = 0;

	for (; *digits; digits++)
		number = number * 10 + (uint8_t)(*digits - '0');
	return number;
}

static inline size_t harness_strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static inline int harness_strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (uint8_t)*a - (uint8_t)*b;
}

/* The harness's own versions, whose weak aliases serve a kernel that has no lib/ yet. */
void *harness_memcpy(void *restrict to, const void *restrict from, size_t n);
void *harness_memmove(void *to, const void *from, size_t n);
void *harness_memset(void *to, int byte, size_t n);
int harness_memcmp(const void *a, const void *b, size_t n);

#endif
