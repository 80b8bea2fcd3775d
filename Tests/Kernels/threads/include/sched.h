/* As much of threads as the harness needs to run suites beside one another. */
#ifndef SCHED_H
#define SCHED_H

#include <stdint.h>

enum sched_class { CLASS_KERNEL, CLASS_INTERACTIVE, CLASS_NORMAL };
struct thread;
struct thread_attr {
	const char *name;
	enum sched_class cls;
	uint64_t affinity;
};
#define TIMEOUT_NONE UINT64_MAX

int thread_create(const struct thread_attr *attr, void (*fn)(void *), void *arg, struct thread **out);
int thread_join(struct thread *t, uint64_t timeout_ns, int *code);
struct thread *thread_current(void);
int thread_set_class(struct thread *t, enum sched_class cls);
int thread_park(uint64_t timeout_ns);
void thread_set_agent(struct thread *t, uint32_t agent);
uint32_t thread_agent(const struct thread *t);

/* The next one's. */
void turn(void);

#endif
