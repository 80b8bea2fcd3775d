/* Each processor's local APIC, by its registers in memory, and vectors for devices. See spec/drivers.md, "apic,
 * ioapic". */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "apic.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mmio.h"
#include "panic.h"
#include "printf.h"
#include "spinlock.h"

#define MSR_APIC_BASE 0x1Bu
#define APIC_BASE_ENABLE (1u << 11)
#define APIC_BASE_ADDRESS 0x000FFFFFFFFFF000ul          /* bits 51:12 */
#define RFLAGS_IF (1u << 9)

enum { APIC_SIZE = 4096, APIC_ID_SHIFT = 24 };
enum { SVR_ENABLE = 0x100 };
enum { LVT_NMI = 0x400, LVT_MASKED = 0x10000 };
enum { ICR_PENDING = 1 << 12, ICR_ASSERT = 0x4000 };
enum { ICR_POLLS = 1000000 };           /* an interrupt that is not sent by then never will be */

/* The old PICs: commands at the port, data at the next one. */
enum { PIC_MASTER = 0x20, PIC_SLAVE = 0xa0, PIC_DATA = 1, PIC_LINES = 8 };
enum {
	ICW1_INIT = 0x11,               /* begin; ICW2 to ICW4 follow as data */
	ICW3_MASTER = 4, ICW3_SLAVE = 2,        /* the slave is at the master's line 2 */
	ICW4_8086 = 1,
	PIC_ALL = 0xff,
};
_Static_assert(VEC_PIC % PIC_LINES == 0, "a PIC's first vector is a multiple of 8");

/* Written once, before any APIC's registers are used. Each processor finds its own APIC there. */
static volatile uint32_t *registers;

/* Vectors that are given out, a bit each; only bits VEC_DEVICE to VEC_DEVICE_LAST are ever set. Under the lock. */
static uint64_t given_out[256 / 64];
static struct spinlock given_out_lock;

static uint64_t apic_base_read(void)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_APIC_BASE) : "memory");
	return (uint64_t)high << 32 | low;
}

static void apic_base_write(uint64_t value)
{
	__asm__ volatile("wrmsr"
			 : : "c"(MSR_APIC_BASE), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

/* ---- registers ---- */

uint32_t apic_read(unsigned reg)
{
	return registers[reg / sizeof *registers];
}

void apic_write(unsigned reg, uint32_t value)
{
	registers[reg / sizeof *registers] = value;
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

uint32_t apic_id(void)
{
	return apic_read(APIC_ID) >> APIC_ID_SHIFT;
}

/* ---- sending ---- */

static void icr_wait(void)
{
	for (unsigned i = 0; i < ICR_POLLS && apic_read(APIC_ICR) & ICR_PENDING; i++)
		cpu_pause();
}

/* Interrupts are off so that no handler on this processor sends between the ICR's halves, and so that the caller does
 * not move to another's ICR. The write of the low half sends. */
void apic_command(uint32_t apic_id, uint32_t icr)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	icr_wait();
	apic_write(APIC_ICR_HIGH, apic_id << APIC_ID_SHIFT);
	apic_write(APIC_ICR, icr);
	icr_wait();
	if (flags & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
}

void apic_send(uint32_t apic_id, uint8_t vector)
{
	apic_command(apic_id, ICR_ASSERT | vector);
}

/* ---- setting up ---- */

/* The write has the APIC show in ESR what it has noticed since the last one. */
static void handle_error(struct trap_frame *f)
{
	(void)f;
	apic_write(APIC_ESR, 0);
	kprintf("apic: error 0x%x\n", apic_read(APIC_ESR));
	apic_eoi();
}

/* The APIC does not have it in service: an acknowledgement would be another interrupt's. */
static void handle_spurious(struct trap_frame *f)
{
	(void)f;
}

/* Nothing of theirs is wanted; should one come all the same, it must not look like an exception. ICW1 clears the masks
 * that boot/gdt.c has set. */
static void pics_mask(void)
{
	outb(PIC_MASTER, ICW1_INIT);
	outb(PIC_SLAVE, ICW1_INIT);
	outb(PIC_MASTER + PIC_DATA, VEC_PIC);
	outb(PIC_SLAVE + PIC_DATA, VEC_PIC + PIC_LINES);
	outb(PIC_MASTER + PIC_DATA, ICW3_MASTER);
	outb(PIC_SLAVE + PIC_DATA, ICW3_SLAVE);
	outb(PIC_MASTER + PIC_DATA, ICW4_8086);
	outb(PIC_SLAVE + PIC_DATA, ICW4_8086);
	outb(PIC_MASTER + PIC_DATA, PIC_ALL);
	outb(PIC_SLAVE + PIC_DATA, PIC_ALL);
}

void apic_init_cpu(void)
{
	apic_base_write(apic_base_read() | APIC_BASE_ENABLE);
	/* As long as SVR disables the APIC its LVT entries stay masked, whatever is written to them (Intel's manual,
	 * "Local APIC State After It Has Been Software Disabled"; QEMU's TCG lets it pass). LINT1 and error are to be
	 * unmasked: so it is enabled beforehand, with the vector that it has. Interrupts are off. */
	apic_write(APIC_SVR, apic_read(APIC_SVR) | SVR_ENABLE);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_LVT_TIMER, LVT_MASKED | VEC_TIMER);
	apic_write(APIC_LVT_LINT0, LVT_MASKED);
	apic_write(APIC_LVT_LINT1, LVT_NMI);
	apic_write(APIC_LVT_ERROR, VEC_ERROR);
	apic_write(APIC_ESR, 0);
	apic_write(APIC_SVR, SVR_ENABLE | VEC_SPURIOUS);
}

void apic_init(void)
{
	static bool begun;

	if (begun)
		return;
	begun = true;
	/* Until the last line: between ICW1 and the masks the PICs are open. */
	__asm__ volatile("cli" : : : "memory");
	registers = mmio_map(apic_base_read() & APIC_BASE_ADDRESS, APIC_SIZE);
	if (!registers)
		panic("apic_init: no way to the registers at 0x%lx", apic_base_read() & APIC_BASE_ADDRESS);
	pics_mask();
	apic_init_cpu();
	if (trap_set_handler(VEC_ERROR, handle_error) || trap_set_handler(VEC_SPURIOUS, handle_spurious))
		panic("apic_init: the APIC's own vectors are taken");
	trap_set_eoi(apic_eoi);
	__asm__ volatile("sti" : : : "memory");
}
INIT(INIT_DEVICES, apic_init);

/* ---- vectors for devices ---- */

/* Who has set a handler without asking has the vector all the same. */
int irq_alloc_vector(void)
{
	const uint64_t flags = spin_lock_irqsave(&given_out_lock);
	int vector = -ENOSPC;

	for (unsigned v = VEC_DEVICE; v <= VEC_DEVICE_LAST; v++) {
		if (given_out[v / 64] >> v % 64 & 1 || trap_get_handler(v))
			continue;
		given_out[v / 64] |= 1ul << v % 64;
		vector = (int)v;
		break;
	}
	spin_unlock_irqrestore(&given_out_lock, flags);
	return vector;
}

void irq_free_vector(unsigned vector)
{
	uint64_t flags;

	if (vector < VEC_DEVICE || vector > VEC_DEVICE_LAST)
		return;
	flags = spin_lock_irqsave(&given_out_lock);
	given_out[vector / 64] &= ~(1ul << vector % 64);
	spin_unlock_irqrestore(&given_out_lock, flags);
}
