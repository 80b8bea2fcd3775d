/* Registration of init functions, tests, benchmarks and figures; assertions; the way out.
 *
 *     INIT(INIT_MM, frames_init);                  // called by init_run(), lower levels first
 *
 *     KTEST(mm, frame_is_aligned)                  // booted test "mm.frame_is_aligned"
 *     {
 *         uint64_t frame = frame_alloc();
 *         KASSERT(frame != 0);
 *         KASSERT_EQ(frame % 4096, 0);
 *     }
 *
 *     KBENCH(mm, frame_alloc_free)                 // n iterations; set-up before the loop is not counted
 *     {
 *         for (uint64_t i = 0; i < n; i++)
 *             frame_free(frame_alloc());
 *     }
 *
 *     KFIGURE(mm, bytes_used)                      // what the booted kernel has or takes, told before the first test
 *     {
 *         return frames_used() * 4096;
 *     }
 *
 * There is no central list: the linker collects what the macros define. Results leave through the second
 * serial port and QEMU's debug-exit device, both of which belong to the harness alone.
 */
#ifndef AUTON_HARNESS_H
#define AUTON_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HARNESS_PASS  = 0x10,           /* QEMU exits with 33 */
	HARNESS_FAIL  = 0x11,           /* 35 */
	HARNESS_PANIC = 0x12,           /* 37 */
};

/* Calls every INIT function, level 0 first, each once. The order within a level is not specified. */
void init_run(void);

/* Runs the tests and leaves through debug-exit if this boot is a test boot; otherwise returns. */
void harness_run(void);

/* Leaves through debug-exit; halts for good where there is no such device. */
_Noreturn void harness_exit(uint8_t code);

/* The last act of a kernel's panic: reports `# panic: why` and `# trace ADDRESS…`, the calls that led here by the chain
 * of saved RBPs, and leaves with HARNESS_PANIC. Needs nothing but a stack, so it may be called at any time. */
_Noreturn void harness_panic(const char *why);

/* ---- registration ---- */

/* Levels of INIT; see spec/architecture.md. What is written as LEVEL + n has the levels between for itself. */
enum init_level {
	INIT_EARLY    = 0,      /* descriptor tables, exceptions: needs nothing but boot_info() and the console */
	INIT_MM       = 1,      /* 1 frames, 2 kernel address space, 3 slabs */
	INIT_DEVICES  = 4,      /* ACPI tables, interrupt controllers, clock */
	INIT_SMP      = 5,      /* the other processors */
	INIT_SCHED    = 6,      /* 6 threads, 7 system calls */
	INIT_SERVICES = 8,
	INIT_LATE     = 9,
};

struct init {
	void (*fn)(void);
	int level;
	const char *name;
};

struct ktest {
	const char *suite, *name;
	void (*run)(void);
};

struct kbench {
	const char *suite, *name;
	void (*run)(uint64_t n);
};

struct kfigure {
	const char *suite, *name;
	uint64_t (*get)(void);
};

struct kpanic {
	const char *suite, *name;
	void (*run)(void);
};

#define HARNESS_ENTRY(sect) __attribute__((section(sect), used))

#define INIT(at, fn) \
	_Static_assert((at) >= 0 && (at) <= 9, "init levels are 0 to 9"); \
	static const struct init init_info_##fn = { fn, at, #fn }; \
	static const struct init *const init_entry_##fn HARNESS_ENTRY(".auton.inits") = &init_info_##fn

/* Two tests of one suite and name define one symbol twice and do not link. */
#define KTEST(suite, name) \
	void ktest_##suite##__##name(void); \
	static const struct ktest ktest_info_##suite##__##name = { #suite, #name, ktest_##suite##__##name }; \
	static const struct ktest *ktest_entry_##suite##__##name HARNESS_ENTRY(".auton.ktests") \
		= &ktest_info_##suite##__##name; \
	void ktest_##suite##__##name(void)

#define KBENCH(suite, name) \
	void kbench_##suite##__##name(uint64_t n); \
	static const struct kbench kbench_info_##suite##__##name = { #suite, #name, kbench_##suite##__##name }; \
	static const struct kbench *kbench_entry_##suite##__##name HARNESS_ENTRY(".auton.kbenches") \
		= &kbench_info_##suite##__##name; \
	void kbench_##suite##__##name(uint64_t n)

#define KFIGURE(suite, name) \
	uint64_t kfigure_##suite##__##name(void); \
	static const struct kfigure kfigure_info_##suite##__##name = { #suite, #name, kfigure_##suite##__##name }; \
	static const struct kfigure *const kfigure_entry_##suite##__##name HARNESS_ENTRY(".auton.kfigures") \
		= &kfigure_info_##suite##__##name; \
	uint64_t kfigure_##suite##__##name(void)

/* What ends in a panic, in a boot of its own that asks for it by `opt/auton/panic`: suite.name. What the console says then
 * is in acceptance/SUITE/NAME.panic. */
#define KPANIC(suite, name) \
	void kpanic_##suite##__##name(void); \
	static const struct kpanic kpanic_info_##suite##__##name = { #suite, #name, kpanic_##suite##__##name }; \
	static const struct kpanic *const kpanic_entry_##suite##__##name HARNESS_ENTRY(".auton.kpanics") \
		= &kpanic_info_##suite##__##name; \
	void kpanic_##suite##__##name(void)

/* ---- assertions: on failure they report, fail the running test and return from the function ---- */

#define KASSERT(cond) \
	do { \
		if (!(cond)) { \
			ktest_fail(__FILE__, __LINE__, "KASSERT(" #cond ")"); \
			return; \
		} \
	} while (0)

/* Compares integers or pointers as 64-bit values (sign-extended from their own type). */
#define KASSERT_EQ(a, b) \
	do { \
		const uint64_t ktest_a_ = (uint64_t)(a), ktest_b_ = (uint64_t)(b); \
		if (ktest_a_ != ktest_b_) { \
			ktest_fail_eq(__FILE__, __LINE__, "KASSERT_EQ(" #a ", " #b ")", \
				      ktest_a_, KTEST_SIGNED(a), ktest_b_, KTEST_SIGNED(b)); \
			return; \
		} \
	} while (0)

#define KASSERT_STREQ(a, b) \
	do { \
		const char *ktest_a_ = (a), *ktest_b_ = (b); \
		if (!ktest_streq(ktest_a_, ktest_b_)) { \
			ktest_fail_str(__FILE__, __LINE__, "KASSERT_STREQ(" #a ", " #b ")", \
				       ktest_a_, ktest_b_); \
			return; \
		} \
	} while (0)

/* Ends the running test as skipped. A suite whose tests are all skipped does not pass. */
#define KSKIP(reason) \
	do { \
		ktest_skip(reason); \
		return; \
	} while (0)

#define KTEST_SIGNED(x) \
	_Generic((x), signed char: true, short: true, int: true, long: true, long long: true, default: false)

void ktest_fail(const char *file, int line, const char *expr);
void ktest_fail_eq(const char *file, int line, const char *expr, uint64_t a, bool a_signed, uint64_t b, bool b_signed);
void ktest_fail_str(const char *file, int line, const char *expr, const char *a, const char *b);
void ktest_skip(const char *reason);

/* The diagnostic `# what value`, for example the seed of a randomised test. */
void ktest_note(const char *what, uint64_t value);

bool ktest_streq(const char *a, const char *b);

#endif
