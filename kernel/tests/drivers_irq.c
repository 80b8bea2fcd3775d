/* Further tests of drivers/apic.c, drivers/ioapic.c and drivers/clock.c: vectors, interrupts to every processor, and its
 * time. See spec/drivers.md, part 2.
 *
 * We may be stopped at any time, between two instructions or for seconds: what must not be early is looked at every time;
 * what must come has time, and what must not be late several chances. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "acpi.h"
#include "apic.h"
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mmio.h"
#include "spinlock.h"
#include "string.h"

#define US 1000ull
#define MS 1000000ull

enum { IF = 1 << 9, FREE = 0xe0, FREES = 16, SEED = 0x1a9c, LOOKS = 100000, TRIES = 30 };

/* Waits until it is so, and whether it is. Not only time is counted: if we are stopped there is none to look. Where QEMU
 * counts instructions, `pause` lets other processors in, which takes as long as a thousand instructions. */
#define COMES(condition) \
	({ \
		const uint64_t begin_ = clock_ns(); \
		for (unsigned looks_ = 0; !(condition) && (looks_ < LOOKS || clock_ns() - begin_ < 2000 * MS); looks_++) \
			if (looks_ % 16 == 0) \
				cpu_pause(); \
		(condition); \
	})

/* xorshift32 */
static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static uint64_t flags_read(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags) : : "memory");
	return flags;
}

static uint64_t interrupts_off(void)
{
	const uint64_t flags = flags_read();

	__asm__ volatile("cli" : : : "memory");
	return flags;
}

static void interrupts_restore(uint64_t flags)
{
	if (flags & IF)
		__asm__ volatile("sti" : : : "memory");
}

static void linger(uint64_t ns)
{
	const uint64_t begin = clock_ns();

	while (clock_ns() - begin < ns)
		;
}

static void nothing(void *arg)
{
	(void)arg;
}

/* ---- vectors ---- */

/* A set of vectors, and how many times something was given out that may not be. */
struct vectors {
	bool has[256];
	unsigned count, wrong;
};

static void add(struct vectors *set, int vector)
{
	if (vector < VEC_DEVICE || vector > VEC_DEVICE_LAST || set->has[vector]) {
		set->wrong++;
		return;
	}
	set->has[vector] = true;
	set->count++;
}

/* Takes all that there are. More than there can be are not asked for. */
static void take_all(struct vectors *set)
{
	memset(set, 0, sizeof *set);
	while (set->count + set->wrong < 256) {
		const int vector = irq_alloc_vector();

		if (vector < 0)
			break;
		add(set, vector);
	}
}

static void give_back(const struct vectors *set)
{
	for (unsigned vector = 0; vector < 256; vector++)
		if (set->has[vector])
			irq_free_vector(vector);
}

/* What there is to be had: the same vectors as in the other set? */
static bool is_supply(const struct vectors *set)
{
	static struct vectors now;

	take_all(&now);
	give_back(&now);
	return memcmp(&now, set, sizeof now) == 0;
}

static struct vectors supply, taken;

static void find_supply(void)
{
	take_all(&supply);
	give_back(&supply);
}

/* Of each of them: the one that is given back is the one that comes next, and no other then. */
KTEST(drivers, check_irq_vector_comes_again)
{
	unsigned other = 0, more = 0;
	bool same;

	find_supply();
	take_all(&taken);
	for (unsigned vector = VEC_DEVICE; vector <= VEC_DEVICE_LAST; vector++) {
		if (!taken.has[vector])
			continue;
		irq_free_vector(vector);
		other += irq_alloc_vector() != (int)vector;
		more += irq_alloc_vector() != -ENOSPC;
	}
	give_back(&taken);
	same = is_supply(&supply);
	KASSERT(supply.count > 100);
	KASSERT_EQ(supply.wrong, 0);
	KASSERT_EQ(other, 0);
	KASSERT_EQ(more, 0);
	KASSERT(same);
}

/* It is there once all the same, and who got it afterwards does not lose it. */
KTEST(drivers, check_irq_vector_free_twice)
{
	int first, second, third, fourth;
	bool same;

	find_supply();
	first = irq_alloc_vector();
	second = irq_alloc_vector();
	irq_free_vector((unsigned)first);
	irq_free_vector((unsigned)first);
	third = irq_alloc_vector();
	fourth = irq_alloc_vector();
	take_all(&taken);
	give_back(&taken);
	irq_free_vector((unsigned)second);
	irq_free_vector((unsigned)third);
	irq_free_vector((unsigned)third);
	irq_free_vector((unsigned)fourth);
	irq_free_vector((unsigned)fourth);
	irq_free_vector((unsigned)second);
	same = is_supply(&supply);
	KASSERT(first >= VEC_DEVICE);
	KASSERT(second >= VEC_DEVICE);
	KASSERT(third >= VEC_DEVICE);
	KASSERT(fourth >= VEC_DEVICE);
	KASSERT(second != first);
	KASSERT(third != second);
	KASSERT(fourth != second);
	KASSERT(fourth != third);
	KASSERT_EQ(taken.wrong, 0);
	KASSERT_EQ(taken.count, supply.count - 3);
	KASSERT(!taken.has[second]);
	KASSERT(!taken.has[third]);
	KASSERT(!taken.has[fourth]);
	KASSERT(same);
}

/* All are taken; no number that is not one of them makes one free, whatever its lowest byte is. */
KTEST(drivers, check_irq_vector_free_foreign)
{
	static const unsigned shifted[] = { 0x100, 0x200, 0x8000, 0x10000, 0x80000000, 0xffffff00 };
	unsigned came = 0;
	bool same;

	find_supply();
	take_all(&taken);
	for (unsigned vector = 0; vector < 256; vector++) {
		if (vector < VEC_DEVICE || vector > VEC_DEVICE_LAST)
			irq_free_vector(vector);
		for (unsigned i = 0; i < sizeof shifted / sizeof *shifted; i++)
			irq_free_vector(shifted[i] | vector);
		came += irq_alloc_vector() != -ENOSPC;
	}
	give_back(&taken);
	same = is_supply(&supply);
	KASSERT_EQ(came, 0);
	KASSERT(same);
}

static void acknowledge(struct trap_frame *f)
{
	(void)f;
	apic_eoi();
}

/* Who has set a handler has the vector, asked for or not; afterwards it is there again. */
KTEST(drivers, check_irq_vector_in_use)
{
	unsigned refused = 0, given = 0, lost = 0, wrong = 0;
	bool same;

	find_supply();
	for (unsigned vector = VEC_DEVICE; vector <= VEC_DEVICE_LAST; vector += 13) {
		if (!supply.has[vector])
			continue;
		refused += trap_set_handler(vector, acknowledge) != 0;
		take_all(&taken);
		give_back(&taken);
		trap_clear_handler(vector);
		given += taken.has[vector];
		lost += taken.count != supply.count - 1;
		wrong += taken.wrong;
	}
	same = is_supply(&supply);
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(given, 0);
	KASSERT_EQ(lost, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT(same);
}

/* Taken and given back in any order: never one that somebody has, and one as long as there is one. */
KTEST(drivers, check_irq_vector_any_order)
{
	enum { STEPS = 3000 };
	uint32_t random = SEED;
	unsigned none = 0, full = 0;
	bool same;

	ktest_note("seed", SEED);
	find_supply();
	memset(&taken, 0, sizeof taken);
	for (unsigned step = 0; step < STEPS; step++) {
		const unsigned tide = step / 500 % 2 ? 1 : 4;           /* now more come, now more go */
		const unsigned vector = VEC_DEVICE + next(&random) % (VEC_DEVICE_LAST - VEC_DEVICE + 1);

		if (next(&random) % 5 < tide) {
			const int given = irq_alloc_vector();

			if (given >= 0)
				add(&taken, given);
			else
				none += given != -ENOSPC || taken.count != supply.count;
			full += given < 0;
		} else if (taken.has[vector]) {
			irq_free_vector(vector);
			taken.has[vector] = false;
			taken.count--;
		}
	}
	give_back(&taken);
	same = is_supply(&supply);
	KASSERT_EQ(taken.wrong, 0);
	KASSERT_EQ(none, 0);
	KASSERT(full > 0);
	KASSERT(same);
}

enum { EACH = 8 };
static int got[CPU_MAX][EACH];

static void take_some(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < EACH; i++)
		got[cpu_self()->index][i] = irq_alloc_vector();
}

static void give_some(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < EACH; i++)
		if (got[cpu_self()->index][i] >= 0)
			irq_free_vector((unsigned)got[cpu_self()->index][i]);
}

/* By all processors at the same time: each its own. */
KTEST(drivers, check_irq_vector_all_processors)
{
	unsigned wrong = 0, failed = 0;
	bool same;

	find_supply();
	for (unsigned round = 0; round < 20; round++) {
		failed += cpu_on_each(take_some, NULL) != 0;
		memset(&taken, 0, sizeof taken);
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
			for (unsigned i = 0; i < EACH; i++)
				add(&taken, got[cpu][i]);
		wrong += taken.wrong + (taken.count != EACH * cpu_count());
		failed += cpu_on_each(give_some, NULL) != 0;
	}
	same = is_supply(&supply);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT(same);
}

/* ---- the IOAPIC, with the interval timer ---- */

enum { PIT_0 = 0x40, PIT_CONTROL = 0x43, PIT_HZ = 1193182, HZ = 5000, TICKS = 6 };
enum { LATE = 2 };      /* that many may still arrive where they went before: one being handled, one waiting */
enum { MASKED = 1 << 16, VOLATILE = 1 << 12 | 1 << 14, MODES = 0xaf00, ENTRIES_MOST = 240 };

static volatile uint32_t *ioapic;
static uint32_t gsi_base, entry_count;

static uint32_t ioapic_read(unsigned reg)
{
	const uint64_t flags = interrupts_off();
	uint32_t value;

	ioapic[0] = reg;
	value = ioapic[4];
	interrupts_restore(flags);
	return value;
}

static bool ioapic_begin(void)
{
	uint64_t at;

	if (acpi_ioapic(&at, &gsi_base) != 0)
		return false;
	ioapic = mmio_map(at, 0x14);
	if (!ioapic)
		return false;
	entry_count = (ioapic_read(1) >> 16 & 0xff) + 1;
	return entry_count <= ENTRIES_MOST;
}

static uint32_t entry_low(unsigned isa_irq)
{
	uint32_t gsi;
	uint16_t flags;

	acpi_irq(isa_irq, &gsi, &flags);
	return ioapic_read(0x10 + 2 * (gsi - gsi_base));
}

static uint32_t entry_high(unsigned isa_irq)
{
	uint32_t gsi;
	uint16_t flags;

	acpi_irq(isa_irq, &gsi, &flags);
	return ioapic_read(0x11 + 2 * (gsi - gsi_base));
}

/* Both halves of all entries, without what the hardware changes. */
static uint32_t entries_before[2 * ENTRIES_MOST], entries_after[2 * ENTRIES_MOST];

static void read_entries(uint32_t *entries)
{
	for (unsigned i = 0; i < entry_count; i++) {
		entries[2 * i] = ioapic_read(0x10 + 2 * i) & ~(uint32_t)VOLATILE;
		entries[2 * i + 1] = ioapic_read(0x11 + 2 * i);
	}
}

static unsigned entries_changed(void)
{
	unsigned n = 0;

	read_entries(entries_after);
	for (unsigned i = 0; i < 2 * entry_count; i++)
		n += entries_after[i] != entries_before[i];
	return n;
}

/* How many came to which of two vectors, on which processor. */
static int vectors[2];
static uint32_t ticks[2][CPU_MAX];

static void tick(struct trap_frame *f)
{
	__atomic_fetch_add(&ticks[f->vector == (uint64_t)vectors[1]][cpu_self()->index], 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

static uint32_t ticks_at(unsigned which, unsigned cpu)
{
	return __atomic_load_n(&ticks[which][cpu], __ATOMIC_SEQ_CST);
}

static uint32_t ticks_elsewhere(unsigned which, unsigned cpu)
{
	uint32_t n = 0;

	for (unsigned w = 0; w < 2; w++)
		for (unsigned c = 0; c < CPU_MAX; c++)
			n += w == which && c == cpu ? 0 : ticks_at(w, c);
	return n;
}

/* Two vectors, and the timer ticks: for nobody until it is connected. */
static bool pit_begin(void)
{
	bool ready = ioapic_begin();

	memset(ticks, 0, sizeof ticks);
	for (unsigned which = 0; which < 2; which++) {
		vectors[which] = irq_alloc_vector();
		ready = ready && vectors[which] >= 0 && trap_set_handler((unsigned)vectors[which], tick) == 0;
	}
	outb(PIT_CONTROL, 0x34);                /* channel 0, both bytes, mode 2 */
	outb(PIT_0, PIT_HZ / HZ & 0xff);
	outb(PIT_0, PIT_HZ / HZ >> 8);
	return ready;
}

/* Masked and stopped, and what was on its way has arrived. */
static void pit_end(void)
{
	irq_disconnect(0);
	outb(PIT_CONTROL, 0x30);                /* mode 0: it waits for a count */
	for (unsigned i = 0; i < 2; i++) {
		linger(200 * US);
		cpu_on_each(nothing, NULL);
	}
	for (unsigned which = 0; which < 2; which++)
		if (vectors[which] >= 0) {
			trap_clear_handler((unsigned)vectors[which]);
			irq_free_vector((unsigned)vectors[which]);
		}
}

/* To each processor: there and nowhere else. */
KTEST(drivers, check_irq_connect_each_processor)
{
	unsigned refused = 0, wrong = 0, absent = 0, strayed = 0, unmasked = 0, done = 0;
	bool ready = pit_begin();

	for (unsigned cpu = 0; ready && cpu < cpu_count() && !absent; cpu++, done++) {
		const uint32_t here = ticks_at(0, cpu), elsewhere = ticks_elsewhere(0, cpu);

		refused += irq_connect(0, (uint8_t)vectors[0], cpu) != 0;
		wrong += (entry_low(0) & (MASKED | MODES | 0xff)) != (uint32_t)vectors[0];
		wrong += entry_high(0) >> 24 != cpu_get(cpu)->apic_id;
		absent += !COMES(ticks_at(0, cpu) - here >= TICKS);
		irq_disconnect(0);
		unmasked += !(entry_low(0) & MASKED);
		strayed += ticks_elsewhere(0, cpu) - elsewhere > LATE;
	}
	pit_end();
	KASSERT(ready);
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(unmasked, 0);
	KASSERT_EQ(strayed, 0);
	KASSERT_EQ(done, cpu_count());
}

/* Connected again without a disconnect in between, to another vector, another processor, both or neither. */
KTEST(drivers, check_irq_connect_moves)
{
	enum { ROUNDS = 12 };
	uint32_t random = SEED;
	unsigned refused = 0, wrong = 0, absent = 0, strayed = 0;
	bool ready = pit_begin();

	ktest_note("seed", SEED);
	for (unsigned round = 0; ready && round < ROUNDS && !absent; round++) {
		const unsigned which = round < 4 ? round % 2 : next(&random) >> 8 & 1;
		const unsigned cpu = round < 4 ? 0 : (next(&random) >> 8) % cpu_count();
		uint32_t here, elsewhere;

		refused += irq_connect(0, (uint8_t)vectors[which], cpu) != 0;
		here = ticks_at(which, cpu);
		elsewhere = ticks_elsewhere(which, cpu);
		wrong += (entry_low(0) & (MASKED | MODES | 0xff)) != (uint32_t)vectors[which];
		wrong += entry_high(0) >> 24 != cpu_get(cpu)->apic_id;
		absent += !COMES(ticks_at(which, cpu) - here >= TICKS + LATE);
		strayed += ticks_elsewhere(which, cpu) - elsewhere > LATE;
	}
	pit_end();
	KASSERT(ready);
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(strayed, 0);
}

/* Twice, and connected afterwards as if once. */
KTEST(drivers, check_irq_disconnect_twice)
{
	unsigned masked = 0, absent = 0, more = 0, changed = 0, refused = 0;
	bool ready = pit_begin();

	for (unsigned round = 0; ready && round < 3 && !absent; round++) {
		const unsigned self = cpu_self()->index;
		uint32_t before = ticks_at(0, self);

		refused += irq_connect(0, (uint8_t)vectors[0], self) != 0;
		absent += !COMES(ticks_at(0, self) - before >= TICKS);
		irq_disconnect(0);
		masked += entry_low(0) >> 16 & 1;
		read_entries(entries_before);
		irq_disconnect(0);
		changed += entries_changed();
		linger(MS);
		before = ticks_at(0, self) + ticks_elsewhere(0, self);
		linger(MS);                     /* five ticks' time */
		more += ticks_at(0, self) + ticks_elsewhere(0, self) - before;
	}
	pit_end();
	KASSERT(ready);
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(masked, 3);
	KASSERT_EQ(changed, 0);
	KASSERT_EQ(more, 0);
}

/* While the timer ticks: what is refused, and what there is nothing to disconnect of, changes no half of any entry, and it
 * ticks on. */
KTEST(drivers, check_irq_refused)
{
	static const unsigned beyond[] = { 16, 17, 23, 24, 255, 256, 0x10000, 0x80000000, 0xffffff00, 0xffffffff };
	const unsigned n = sizeof beyond / sizeof *beyond, self = cpu_self()->index;
	unsigned accepted = 0, changed = 0, others = 0;
	bool ready = pit_begin(), came = false, went_on = false;

	if (ready && irq_connect(0, (uint8_t)vectors[0], self) == 0) {
		uint32_t before;
		const uint8_t good = (uint8_t)vectors[1];

		came = COMES(ticks_at(0, self) >= TICKS);
		read_entries(entries_before);
		for (unsigned i = 0; i < n; i++) {
			accepted += irq_connect(beyond[i], good, 0) != -EINVAL;
			irq_disconnect(beyond[i]);
		}
		for (unsigned vector = 0; vector < 256; vector++)
			if (vector < VEC_DEVICE || vector > VEC_DEVICE_LAST)
				accepted += irq_connect(0, (uint8_t)vector, 0) != -EINVAL;
		for (unsigned cpu = cpu_count(); cpu <= 256 + CPU_MAX; cpu++)
			accepted += irq_connect(0, good, cpu) != -EINVAL;
		accepted += irq_connect(0, good, 0x80000000) != -EINVAL;
		accepted += irq_connect(0, good, UINT32_MAX) != -EINVAL;
		accepted += irq_connect(16, 0, UINT32_MAX) != -EINVAL;
		changed = entries_changed();
		for (unsigned isa_irq = 0; isa_irq < 16; isa_irq++)
			if (entry_low(isa_irq) & MASKED)
				irq_disconnect(isa_irq);
		others = entries_changed();
		before = ticks_at(0, self);
		went_on = COMES(ticks_at(0, self) - before >= TICKS);
	}
	pit_end();
	KASSERT(ready);
	KASSERT(came);
	KASSERT_EQ(accepted, 0);
	KASSERT_EQ(changed, 0);
	KASSERT_EQ(others, 0);
	KASSERT(went_on);
}

/* ---- interrupts that a processor sends itself ---- */

enum { DEVICES = 8, MANY = FREES + DEVICES };

static uint8_t many[MANY];
static uint32_t came[256][CPU_MAX], came_early[CPU_MAX];

static uint32_t came_at(unsigned vector, unsigned cpu)
{
	return __atomic_load_n(&came[vector][cpu], __ATOMIC_SEQ_CST);
}

static void count(struct trap_frame *f)
{
	__atomic_fetch_add(&came[f->vector][cpu_self()->index], 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

/* The free vectors and some of the devices', counted; false if they cannot be had. */
static bool count_begin(void)
{
	bool ready = true;

	memset(came, 0, sizeof came);
	for (unsigned i = 0; i < MANY; i++) {
		const int vector = i < FREES ? FREE + (int)i : irq_alloc_vector();

		many[i] = vector < 0 ? 0 : (uint8_t)vector;
		ready = ready && vector >= 0 && trap_set_handler((unsigned)vector, count) == 0;
	}
	return ready;
}

static void count_end(void)
{
	for (unsigned i = 0; i < 2; i++) {
		linger(200 * US);
		cpu_on_each(nothing, NULL);
	}
	for (unsigned i = 0; i < MANY; i++) {
		if (trap_get_handler(many[i]) == count)
			trap_clear_handler(many[i]);
		if (many[i] && many[i] < FREE)
			irq_free_vector(many[i]);
	}
}

/* Interrupts are off, so they all wait at once. */
static void send_many(void *arg)
{
	const unsigned cpu = cpu_self()->index;

	(void)arg;
	for (unsigned i = 0; i < MANY; i++)
		apic_send(apic_id(), many[i]);
	linger(50 * US);
	for (unsigned i = 0; i < MANY; i++)
		came_early[cpu] += came_at(many[i], cpu);
}

static unsigned how_many_came(unsigned cpu, uint32_t wanted)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MANY; i++)
		n += came_at(many[i], cpu) == wanted;
	return n;
}

/* All of them, each once, on the processor that sent them; in whatever order they were sent. */
KTEST(drivers, check_irq_self_many)
{
	enum { ROUNDS = 4 };
	uint32_t random = SEED;
	unsigned failed = 0, absent = 0, twice = 0, elsewhere = 0, early = 0;
	bool ready = count_begin();

	ktest_note("seed", SEED);
	for (unsigned round = 0; ready && round < ROUNDS && !absent; round++)
		for (unsigned cpu = 0; cpu < cpu_count() && !absent; cpu++) {
			for (unsigned i = MANY - 1; i > 0; i--) {
				const unsigned k = next(&random) % (i + 1);
				const uint8_t swapped = many[i];

				many[i] = many[k];
				many[k] = swapped;
			}
			memset(came, 0, sizeof came);
			came_early[cpu] = 0;
			failed += cpu_call(cpu, send_many, NULL) != 0;
			absent += !COMES(how_many_came(cpu, 0) == 0);
			linger(100 * US);
			early += came_early[cpu];
			twice += how_many_came(cpu, 1) != MANY;
			for (unsigned other = 0; other < cpu_count(); other++)
				elsewhere += other != cpu && how_many_came(other, 0) != MANY;
		}
	count_end();
	KASSERT(ready);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(early, 0);
	KASSERT_EQ(twice, 0);
	KASSERT_EQ(elsewhere, 0);
}

static uint32_t held;
static struct spinlock stay;            /* who holds it stays on this processor, interrupts on */

/* The first is left unacknowledged. */
static void hold(struct trap_frame *f)
{
	(void)f;
	if (__atomic_fetch_add(&held, 1, __ATOMIC_SEQ_CST) > 0)
		apic_eoi();
}

/* Its handler has returned, but it is not acknowledged: what is not more urgent waits, itself too, what is comes. */
KTEST(drivers, check_irq_acknowledged_late)
{
	unsigned absent = 0, early = 0, urgent_absent = 0, late_absent = 0, wrong = 0;
	int lower, upper;
	bool ready = count_begin();

	lower = irq_alloc_vector();
	upper = irq_alloc_vector();
	if (lower > upper) {
		const int swapped = lower;

		lower = upper;
		upper = swapped;
	}
	ready = ready && lower >= 0;
	ready = ready && trap_set_handler((unsigned)lower, count) == 0;
	ready = ready && trap_set_handler((unsigned)upper, hold) == 0;
	for (unsigned round = 0; ready && round < 10 && !absent && !late_absent; round++) {
		unsigned cpu;

		spin_lock(&stay);
		cpu = cpu_self()->index;
		memset(came, 0, sizeof came);
		__atomic_store_n(&held, 0, __ATOMIC_SEQ_CST);
		apic_send(apic_id(), (uint8_t)upper);
		absent += !COMES(__atomic_load_n(&held, __ATOMIC_SEQ_CST) > 0);
		if (!absent) {
			apic_send(apic_id(), (uint8_t)lower);
			apic_send(apic_id(), (uint8_t)upper);
			apic_send(apic_id(), FREE + 3);
			urgent_absent += !COMES(came_at(FREE + 3, cpu) > 0);
			linger(100 * US);
			early += came_at((unsigned)lower, cpu) + __atomic_load_n(&held, __ATOMIC_SEQ_CST) - 1;
			apic_eoi();
			late_absent += !COMES(came_at((unsigned)lower, cpu) > 0 && __atomic_load_n(&held, __ATOMIC_SEQ_CST) > 1);
			linger(100 * US);
			wrong += came_at((unsigned)lower, cpu) != 1;
			wrong += __atomic_load_n(&held, __ATOMIC_SEQ_CST) != 2;
			wrong += came_at(FREE + 3, cpu) != 1;
		}
		spin_unlock(&stay);
	}
	if (lower >= 0) {
		trap_clear_handler((unsigned)lower);
		irq_free_vector((unsigned)lower);
	}
	if (upper >= 0) {
		trap_clear_handler((unsigned)upper);
		irq_free_vector((unsigned)upper);
	}
	count_end();
	KASSERT(ready);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(urgent_absent, 0);
	KASSERT_EQ(early, 0);
	KASSERT_EQ(late_absent, 0);
	KASSERT_EQ(wrong, 0);
}

static uint32_t more_to_come, handled, within, nested;

/* Sends itself again before it has acknowledged. */
static void send_again(struct trap_frame *f)
{
	nested += within;
	within = 1;
	if (more_to_come) {
		more_to_come--;
		apic_send(apic_id(), (uint8_t)f->vector);
	}
	linger(5 * US);
	within = 0;
	__atomic_fetch_add(&handled, 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

/* What comes while the same is being handled comes afterwards. */
KTEST(drivers, check_irq_again_while_handled)
{
	enum { AGAIN = 40 };
	const int set = trap_set_handler(FREE + 5, send_again);
	bool all;

	more_to_come = AGAIN;
	handled = within = nested = 0;
	if (set == 0)
		apic_send(apic_id(), FREE + 5);
	all = COMES(__atomic_load_n(&handled, __ATOMIC_SEQ_CST) > AGAIN);
	linger(200 * US);
	if (set == 0)
		trap_clear_handler(FREE + 5);
	KASSERT_EQ(set, 0);
	KASSERT(all);
	KASSERT_EQ(handled, AGAIN + 1);
	KASSERT_EQ(nested, 0);
}

/* Sending leaves interrupts on or off, as they were. */
KTEST(drivers, check_irq_send_keeps_flags)
{
	const int set = trap_set_handler(FREE + 6, acknowledge);
	uint64_t flags, off[3], on[3];

	flags = interrupts_off();
	apic_send(apic_id(), FREE + 6);
	off[0] = flags_read();
	apic_command(apic_id(), 0x4000 | (FREE + 6));
	off[1] = flags_read();
	cpu_send(cpu_self()->index, FREE + 6);
	off[2] = flags_read();
	__asm__ volatile("sti" : : : "memory");
	apic_send(apic_id(), FREE + 6);
	on[0] = flags_read();
	apic_command(apic_id(), 0x4000 | (FREE + 6));
	on[1] = flags_read();
	cpu_send(cpu_self()->index, FREE + 6);
	on[2] = flags_read();
	linger(100 * US);
	if (set == 0)
		trap_clear_handler(FREE + 6);
	KASSERT_EQ(set, 0);
	KASSERT_EQ(flags & IF, IF);
	for (unsigned i = 0; i < 3; i++) {
		KASSERT_EQ(off[i] & IF, 0);
		KASSERT_EQ(on[i] & IF, IF);
	}
}

/* What goes to an ID that no processor has reaches nobody, and the next one goes out all the same. */
KTEST(drivers, check_irq_send_nobody)
{
	unsigned reached = 0, absent = 0, ids = 0;
	bool ready = count_begin();

	for (uint32_t id = 254; ready && id > 0 && ids < 20 && !absent; id--) {
		const unsigned self = cpu_self()->index, vector = FREE + id % FREES;
		bool is_somebody = false;

		for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
			is_somebody = is_somebody || cpu_get(cpu)->apic_id == id;
		if (is_somebody)
			continue;
		ids++;
		memset(came, 0, sizeof came);
		apic_send(id, (uint8_t)vector);
		apic_send(apic_id(), FREE + (vector + 1) % FREES);
		absent += !COMES(came_at(FREE + (vector + 1) % FREES, self) > 0);
		linger(20 * US);
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
			reached += came_at(vector, cpu);
	}
	count_end();
	KASSERT(ready);
	KASSERT_EQ(ids, 20);
	KASSERT_EQ(reached, 0);
	KASSERT_EQ(absent, 0);
}

/* ---- clock ---- */

enum { TINY = 8 };
static uint32_t delay_short, delay_flags;
static uint64_t delay_best[TINY + 1];   /* what came on top at least; the last one's is that of longer ones */

/* Delays of some lengths, not shorter than said; interrupts as they are. */
static void delay_some(void *arg)
{
	uint32_t random = SEED;
	const uint64_t flags = flags_read() & IF;

	(void)arg;
	for (unsigned i = 0; i < 300; i++) {
		const uint64_t ns = i < 240 ? i % TINY : TINY + next(&random) % 5000, begin = clock_ns();
		uint64_t *const best = &delay_best[ns < TINY ? ns : TINY];
		uint64_t took;

		clock_delay_ns(ns);
		took = clock_ns() - begin;
		delay_short += took < ns;
		delay_flags += (flags_read() & IF) != flags;
		if (took >= ns && took - ns < *best)
			*best = took - ns;
	}
}

/* Of 0 and 1 ns and a little more, on each processor: nothing wraps, and it comes back soon. */
KTEST(drivers, check_clock_delay_tiny)
{
	unsigned failed = 0, late = 0;

	delay_short = delay_flags = 0;
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		for (unsigned i = 0; i <= TINY; i++)
			delay_best[i] = UINT64_MAX;
		failed += cpu_call(cpu, delay_some, NULL) != 0;
		for (unsigned i = 0; i <= TINY; i++)
			late += delay_best[i] > 100 * US;
	}
	delay_some(NULL);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(late, 0);
	KASSERT_EQ(delay_short, 0);
	KASSERT_EQ(delay_flags, 0);
}

static void tell_time(void *arg)
{
	*(uint64_t *)arg = clock_ns();
}

/* One after the other: each begins where the one before was, to 10 us. */
KTEST(drivers, check_clock_processors)
{
	unsigned failed = 0, behind = 0, ahead = 0;

	for (unsigned round = 0; round < 50; round++)
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
			static uint64_t there;
			const uint64_t before = clock_ns();
			uint64_t after;

			failed += cpu_call(cpu, tell_time, &there) != 0;
			after = clock_ns();
			behind += there + 10 * US < before;
			ahead += there > after + 10 * US;
		}
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(behind, 0);
	KASSERT_EQ(ahead, 0);
}

static uint64_t latest;
static uint32_t backwards, behind_others;

static void read_clock(void *arg)
{
	uint64_t last = 0;

	(void)arg;
	for (unsigned i = 0; i < 5000; i++) {
		uint64_t told = __atomic_load_n(&latest, __ATOMIC_SEQ_CST);
		const uint64_t now = clock_ns();

		if (now < last)
			__atomic_fetch_add(&backwards, 1, __ATOMIC_SEQ_CST);
		if (now + 10 * US < told)
			__atomic_fetch_add(&behind_others, 1, __ATOMIC_SEQ_CST);
		last = now;
		while (told < now && !__atomic_compare_exchange_n(&latest, &told, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
	}
}

/* All at the same time: never backwards on any of them, nor 10 us behind what another one has said. */
KTEST(drivers, check_clock_all_at_once)
{
	int failed;

	latest = clock_ns();
	backwards = behind_others = 0;
	failed = cpu_on_each(read_clock, NULL);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(backwards, 0);
	KASSERT_EQ(behind_others, 0);
	KASSERT(clock_ns() + 10 * US >= latest);
}

/* ---- one-shots ---- */

static trap_handler owner;
static uint32_t fired[CPU_MAX];
static uint64_t fired_at[CPU_MAX], due_at[CPU_MAX], asked_at[CPU_MAX];
static uint32_t fire_again, fired_early;

static void fire(struct trap_frame *f)
{
	const unsigned cpu = cpu_self()->index;
	const uint64_t now = clock_ns();

	(void)f;
	fired_at[cpu] = now;
	if (now < due_at[cpu])
		__atomic_fetch_add(&fired_early, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&fired[cpu], 1, __ATOMIC_SEQ_CST);
	if (fire_again) {
		fire_again--;
		due_at[cpu] = clock_ns() + 50 * US;
		clock_oneshot(due_at[cpu]);
	}
	apic_eoi();
}

static uint32_t fired_on(unsigned cpu)
{
	return __atomic_load_n(&fired[cpu], __ATOMIC_SEQ_CST);
}

static uint32_t fired_in_all(void)
{
	uint32_t n = 0;

	for (unsigned cpu = 0; cpu < CPU_MAX; cpu++)
		n += fired_on(cpu);
	return n;
}

static void forget_fired(void)
{
	fire_again = 0;
	fired_early = 0;
	memset(due_at, 0, sizeof due_at);
	for (unsigned cpu = 0; cpu < CPU_MAX; cpu++)
		__atomic_store_n(&fired[cpu], 0, __ATOMIC_SEQ_CST);
}

static void ask_never(void *arg)
{
	(void)arg;
	clock_oneshot(UINT64_MAX);
}

static void ask_at_once(void *arg)
{
	(void)arg;
	clock_oneshot(0);
}

/* On the processor that runs it, for what is in due_at. */
static void ask(void *arg)
{
	(void)arg;
	clock_oneshot(due_at[cpu_self()->index]);
}

/* Takes the timer from whoever has it, and all that was asked for is forgotten; false if it cannot be had. */
static bool timer_begin(void)
{
	const uint64_t flags = interrupts_off();
	int set;

	owner = trap_get_handler(VEC_TIMER);
	trap_clear_handler(VEC_TIMER);
	set = trap_set_handler(VEC_TIMER, fire);
	interrupts_restore(flags);
	for (unsigned i = 0; i < 2; i++) {
		cpu_on_each(ask_never, NULL);
		linger(200 * US);
	}
	forget_fired();
	return set == 0;
}

/* Gives it back, with an interrupt on each processor in place of those that were lost. */
static void timer_end(void)
{
	uint64_t flags;

	for (unsigned i = 0; i < 2; i++) {
		cpu_on_each(ask_never, NULL);
		linger(200 * US);
	}
	flags = interrupts_off();
	trap_clear_handler(VEC_TIMER);
	if (owner)
		trap_set_handler(VEC_TIMER, owner);
	interrupts_restore(flags);
	if (owner)
		cpu_on_each(ask_at_once, NULL);
}

/* On each processor in turn: it comes there alone, once, not early; of several at least one within a millisecond. */
KTEST(drivers, check_clock_oneshot_each_processor)
{
	uint32_t random = SEED;
	unsigned failed = 0, absent = 0, early = 0, elsewhere = 0, twice = 0, late = 0;
	bool ready = timer_begin();

	ktest_note("seed", SEED);
	for (unsigned cpu = 0; ready && cpu < cpu_count() && !absent; cpu++) {
		uint64_t best = UINT64_MAX;

		for (unsigned i = 0; i < TRIES && (i < 5 || best > MS) && !absent; i++) {
			forget_fired();
			due_at[cpu] = clock_ns() + next(&random) % (300 * US);
			failed += cpu_call(cpu, ask, NULL) != 0;
			absent += !COMES(fired_on(cpu) > 0);
			linger(100 * US);
			early += fired_early;
			twice += fired_on(cpu) > 1;
			elsewhere += fired_in_all() != fired_on(cpu);
			if (!absent && fired_at[cpu] - due_at[cpu] < best)
				best = fired_at[cpu] - due_at[cpu];
		}
		late += best > MS;
	}
	timer_end();
	KASSERT(ready);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(early, 0);
	KASSERT_EQ(twice, 0);
	KASSERT_EQ(elsewhere, 0);
	KASSERT_EQ(late, 0);
}

static bool all_fired(void)
{
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
		if (!fired_on(cpu))
			return false;
	return true;
}

/* Each its own, for different times, all running at once. */
KTEST(drivers, check_clock_oneshot_all_at_once)
{
	uint32_t random = SEED;
	unsigned failed = 0, absent = 0, early = 0, wrong = 0;
	bool ready = timer_begin();

	ktest_note("seed", SEED);
	for (unsigned round = 0; ready && round < 10 && !absent; round++) {
		const uint64_t now = clock_ns();

		forget_fired();
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
			due_at[cpu] = now + 200 * US + next(&random) % (500 * US);
		failed += cpu_on_each(ask, NULL) != 0;
		absent += !COMES(all_fired());
		linger(100 * US);
		early += fired_early;
		wrong += fired_in_all() != cpu_count();
	}
	timer_end();
	KASSERT(ready);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(early, 0);
	KASSERT_EQ(wrong, 0);
}

/* For a time from now, which is taken back; how long it stood, in asked_at. */
static void ask_and_forget(void *arg)
{
	const uint64_t begin = clock_ns();

	clock_oneshot(begin + *(const uint64_t *)arg);
	clock_oneshot(UINT64_MAX);
	asked_at[cpu_self()->index] = clock_ns() - begin;
}

/* Never is never on every processor, whether nothing was asked for or something was that is taken back in time; that may
 * be too late if we are stopped. */
KTEST(drivers, check_clock_oneshot_never_each)
{
	static uint64_t in_time = 2 * MS;
	unsigned unasked, forgotten = 0, failed = 0, rounds = 0;
	bool ready = timer_begin();

	for (unsigned i = 0; i < 2; i++) {
		failed += cpu_on_each(ask_never, NULL) != 0;
		linger(3 * MS);
	}
	unasked = fired_in_all();
	for (unsigned i = 0; ready && i < TRIES && rounds < 4; i++) {
		bool was_in_time = true;

		forget_fired();
		failed += cpu_on_each(ask_and_forget, &in_time) != 0;
		linger(2 * in_time);
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
			if (asked_at[cpu] < in_time / 2)
				forgotten += fired_on(cpu);
			else
				was_in_time = false;
		}
		rounds += was_in_time;
	}
	timer_end();
	KASSERT(ready);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(unasked, 0);
	KASSERT_EQ(forgotten, 0);
	KASSERT(rounds > 0);
}

/* So far from now; but not as far as never. */
static void ask_far(void *arg)
{
	const unsigned cpu = cpu_self()->index;
	const uint64_t now = clock_ns(), distance = *(const uint64_t *)arg;

	asked_at[cpu] = now;
	clock_oneshot(distance < UINT64_MAX - now ? now + distance : UINT64_MAX - 1);
}

/* Further away than the counter reaches it may come early, but that is hundreds of milliseconds from now: nothing wraps. */
KTEST(drivers, check_clock_oneshot_far_away)
{
	static uint64_t distances[] = {
		2000 * MS, (1ull << 32) + 50 * US, (1ull << 33) + 50 * US, (1ull << 40) + 50 * US, (1ull << 52) + 50 * US,
		1ull << 62, 1ull << 63, UINT64_MAX / 1000 * 999, UINT64_MAX,
	};
	unsigned failed = 0, early = 0;
	bool ready = timer_begin();

	for (unsigned i = 0; ready && i < sizeof distances / sizeof *distances; i++) {
		forget_fired();
		failed += cpu_on_each(ask_far, &distances[i]) != 0;
		linger(MS);
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
			early += fired_on(cpu) > 0 && fired_at[cpu] - asked_at[cpu] < 100 * MS;
	}
	timer_end();
	KASSERT(ready);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(early, 0);
}

enum { DOUBLINGS = 44 };
static uint32_t counts[DOUBLINGS];

/* What the APIC's timer counts down from, for times of 1 ms, 2 ms, 4 ms and so on from now. */
static void ask_doubling(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < DOUBLINGS; i++) {
		clock_oneshot(clock_ns() + (MS << i));
		counts[i] = apic_read(APIC_TIMER_INITIAL);
	}
	clock_oneshot(UINT64_MAX);
}

/* Twice as far is never sooner, be it further than the counter reaches; unless we were stopped meanwhile. */
KTEST(drivers, check_clock_oneshot_reach)
{
	unsigned failed = 0, sooner = 0, stopped = 0;
	bool ready = timer_begin();

	for (unsigned cpu = 0; ready && cpu < cpu_count(); cpu++) {
		unsigned falls = 1;

		for (unsigned try = 0; try < TRIES && falls; try++) {
			failed += cpu_call(cpu, ask_doubling, NULL) != 0;
			falls = counts[0] == 0;
			for (unsigned i = 1; i < DOUBLINGS; i++)
				falls += counts[i] < counts[i - 1];
		}
		sooner += falls;
		failed += cpu_call(cpu, ask_never, NULL) != 0;
		stopped += apic_read(APIC_TIMER_INITIAL) == 0;
	}
	timer_end();
	KASSERT(ready);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(sooner, 0);
	KASSERT_EQ(stopped, cpu_count());
}

/* With interrupts off it waits, and comes once they are on. */
KTEST(drivers, check_clock_oneshot_interrupts_off)
{
	unsigned early = 0, absent = 0, twice = 0;
	bool ready = timer_begin();

	for (unsigned i = 0; ready && i < 10 && !absent; i++) {
		const uint64_t flags = interrupts_off();
		const unsigned cpu = cpu_self()->index;

		forget_fired();
		clock_oneshot(i % 2 ? clock_ns() + 100 * US : 0);
		linger(300 * US);
		early += fired_on(cpu);
		interrupts_restore(flags);
		absent += !COMES(fired_on(cpu) > 0);
		linger(100 * US);
		twice += fired_in_all() != 1;
	}
	timer_end();
	KASSERT(ready);
	KASSERT_EQ(early, 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(twice, 0);
}

/* Its handler asks for the next one, as whoever wants many does. */
KTEST(drivers, check_clock_oneshot_by_handler)
{
	enum { AGAIN = 20 };
	unsigned failed = 0, absent = 0, wrong = 0, early = 0;
	bool ready = timer_begin();

	for (unsigned cpu = 0; ready && cpu < cpu_count() && !absent; cpu++) {
		forget_fired();
		fire_again = AGAIN;
		failed += cpu_call(cpu, ask_at_once, NULL) != 0;
		absent += !COMES(fired_on(cpu) > AGAIN);
		linger(200 * US);
		wrong += fired_on(cpu) != AGAIN + 1 || fired_in_all() != AGAIN + 1;
		early += fired_early;
	}
	timer_end();
	KASSERT(ready);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(early, 0);
}
