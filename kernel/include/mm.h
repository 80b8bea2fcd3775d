/* Memory management: page frames, page tables, the kernel's half of the address space, TLBs, kernel objects, user
 * address spaces, and copying to and from them. */
#ifndef AUTON_MM_H
#define AUTON_MM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "errno.h"
#include "boot.h"

/* Unless a comment says otherwise a function returns 0 or a negative error code, changes nothing when it fails, may be
 * called on any processor with interrupts on or off, takes its own locks, and never sleeps. Not from NMI or machine
 * check handlers. Null pointers to results, caches or spaces are not checked where nothing is said of them. */

typedef uint64_t paddr_t;                       /* physical address, bytes */
typedef uint64_t vaddr_t;                       /* virtual address, bytes */

#define PAGE_SHIFT       12
#define PAGE_SIZE        4096ul
#define LARGE_PAGE_SIZE  0x200000ul             /* 2 MiB */
_Static_assert(PAGE_SIZE == 1ul << PAGE_SHIFT, "a page is what the shift says");
_Static_assert(LARGE_PAGE_SIZE == 512 * PAGE_SIZE, "a large page stands for a whole page table");

/* ---- memmap: the boot map made orderly. Pure: no state, no locks. ---- */

struct mm_range { paddr_t base; uint64_t len; };        /* bytes, page-aligned, len > 0 */

/* Writes to out[] the usable RAM of a raw map: ascending, disjoint, adjacent ranges joined, frame 0 left out. Usable
 * entries shrink to whole pages, all other types grow to whole pages, and where entries overlap the one that is not
 * usable wins. Entries of length 0 are skipped; one that runs past 2^52 is cut there. *n_out is the number written.
 * -EINVAL: a null pointer where the count is not 0, or an entry whose end wraps past 2^64.
 * -ENOSPC: more than max ranges result (contents of out[] are then unspecified). */
int memmap_normalise(const struct boot_mem *in, size_t n_in, struct mm_range *out, size_t max, size_t *n_out);

/* ---- frames: 4 KiB page frames. Managed is what they are handed out of: usable RAM from 1 MiB on, without the image,
 * the modules, and the allocator's own tables; below 4 GiB only until frames_open_high(). ---- */

#define FRAME_ZERO   1u                         /* contents zeroed; otherwise unspecified */
#define FRAME_LOW    2u                         /* wholly below 4 GiB */

/* Frames: managed; of these free; of these below 4 GiB. Exact while nobody allocates. */
struct frame_stats { uint64_t total, free, low_free; };

/* One frame, its physical address in *out; flags: any of FRAME_*. -ENOMEM; -EINVAL: unknown flag. */
int  frame_alloc(unsigned flags, paddr_t *out);

/* Gives a frame back. -EINVAL: unaligned, not managed, or already free. */
int  frame_free(paddr_t pa);

/* count frames in a row; the first is aligned to align frames (a power of two, 0 means 1); every byte lies below limit
 * (0: anywhere).
 * -EINVAL: count 0, align no power of two, unknown flag. -ENOMEM: no such run, however large count is. */
int  frame_alloc_contig(size_t count, size_t align, paddr_t limit, unsigned flags, paddr_t *out);

/* Gives count frames in a row back, all or nothing. -EINVAL: count 0, and as frame_free, for any frame of the run. */
int  frame_free_contig(paddr_t pa, size_t count);

/* RAM above 4 GiB is managed from now on. A second time: nothing. For kspace only. */
void frames_open_high(void);

/* Is the byte pa in a managed frame? */
bool frame_managed(paddr_t pa);

/* Fills *out. */
void frame_get_stats(struct frame_stats *out);

/* One word an owner may keep with an allocated frame; 0 after allocation. Owner synchronises. pa is any byte of the
 * frame; of a frame that is not allocated: panic. */
void     frame_set_tag(paddr_t pa, uint64_t tag);

/* That word; 0 for a frame that is not managed or not allocated. */
uint64_t frame_tag(paddr_t pa);

/* ---- paging: page tables by their root. The caller holds whatever lock protects the root, and flushes TLBs (see
 * tlb). Lengths are bytes. ---- */

#define VM_READ    0u                           /* present implies readable */
#define VM_WRITE   1u
#define VM_EXEC    2u
#define VM_USER    4u
#define VM_UNCACHED 8u                          /* PCD|PWT */
#define VM_GLOBAL  16u
#define VM_PROT_MASK 31u
_Static_assert(VM_PROT_MASK == (VM_READ | VM_WRITE | VM_EXEC | VM_USER | VM_UNCACHED | VM_GLOBAL),
	"the mask is the flags' union");

/* One leaf; size is PAGE_SIZE or LARGE_PAGE_SIZE. */
struct pt_entry { vaddr_t va; paddr_t pa; size_t size; unsigned prot; };

/* The kernel's own tables, below 4 GiB; defined in paging, 0 until kspace has made them. */
extern paddr_t kernel_root;

/* New tables: empty lower half, upper half copied from kernel_root, or from CR3 while that is 0. -ENOMEM. */
int pt_create(paddr_t *root);

/* Frees every table of the lower half and the root, no mapped frame. -EINVAL: kernel_root. */
int pt_destroy(paddr_t root);

/* Map [va, va+len) to [pa, pa+len). A stretch where va and pa are both 2 MiB aligned, at least 2 MiB remain and no page
 * table stands yet becomes a large page.
 * -EINVAL: va, pa or len unaligned, len 0, range wraps, crosses or enters non-canonical space, unknown flag, WRITE with
 *          EXEC, USER in the upper half, pa+len above 2^52.
 * -EBUSY: any page of the range is mapped.
 * -ENOMEM. */
int pt_map(paddr_t root, vaddr_t va, paddr_t pa, size_t len, unsigned prot);

/* Unmap [va, va+len). -EINVAL as pt_map; -ENOENT: a page of it is not mapped; -ENOMEM: no frame to split a large
 * page. */
int pt_unmap(paddr_t root, vaddr_t va, size_t len);

/* Give the pages of [va, va+len) another protection. Errors as pt_map and pt_unmap, never -EBUSY. */
int pt_protect(paddr_t root, vaddr_t va, size_t len, unsigned prot);

/* How many tables mapping [va, va+len) page by page would add; the range is valid. No errors. */
size_t pt_missing(paddr_t root, vaddr_t va, size_t len);

/* The leaf that holds va. -ENOENT; -EINVAL: non-canonical. */
int pt_translate(paddr_t root, vaddr_t va, struct pt_entry *out);

/* Calls fn for each leaf that meets [lo, hi], hi inclusive, ascending; stops at and returns fn's first value that is
 * not 0. */
int pt_walk(paddr_t root, vaddr_t lo, vaddr_t hi, int (*fn)(const struct pt_entry *, void *), void *arg);

/* ---- kspace, stacks, kstack, device: the kernel's own half ---- */

/* DIRECT_MAP_BASE (physical p is at DIRECT_MAP_BASE + p) and KERNEL_BASE come from boot.h. */
#define KSTACK_BASE      0xFFFFC00000000000ul   /* kernel stacks, one 32 KiB slot each */
#define DEVICE_MAP_BASE  0xFFFFD00000000000ul
#define KSTACK_SIZE      16384ul                /* bytes usable; 16 KiB unmapped beneath */
_Static_assert(KSTACK_SIZE % PAGE_SIZE == 0, "a stack is whole pages");

/* Where the direct map has the byte pa; not checked. No errors. Any context. */
static inline void *phys_to_virt(paddr_t pa)
{
	return (void *)(DIRECT_MAP_BASE + pa);
}

/* The physical address of p, which lies in the direct map; not checked. No errors. Any context. */
static inline paddr_t direct_to_phys(const void *p)
{
	return (vaddr_t)p - DIRECT_MAP_BASE;
}

/* Unmaps a page of the image, beneath a stack, for all processors. Errors as pt_unmap. */
int stack_guard(void *page);

/* A kernel stack of KSTACK_SIZE bytes; *top: one past the highest byte, 16-aligned. -ENOMEM. */
int kstack_alloc(void **top);

/* Gives a stack back, not the one in use; top as kstack_alloc gave it. -EINVAL: not a live stack. */
int kstack_free(void *top);

/* Maps len bytes of a device read-write, uncached; any alignment, *out + n is pa + n. Needs kernel_root.
 * -EINVAL: len 0, wraps, above what the processor's addresses reach (CPUID leaf 0x80000008, EAX 7:0 bits), touches a
 *          page of RAM.
 * -ENOMEM. */
int device_map(paddr_t pa, size_t len, void **out);

/* p, len as device_map gave and got them. -EINVAL: they are not. */
int device_unmap(void *p, size_t len);

/* ---- tlb ---- */

/* Bit i: processor i may hold translations of this root. Starts at 0; atomic. */
struct tlb_domain { uint64_t cpus; };

/* This processor may hold translations of d from now on. Before CR3 is loaded with the domain's root; interrupts
 * off. */
void tlb_enter(struct tlb_domain *d);

/* This processor holds none any more. After another CR3 has been loaded; interrupts off. */
void tlb_leave(struct tlb_domain *d);

/* After return no processor uses a translation of [va, va+len) of d (NULL: the kernel's half) that was removed or
 * narrowed before the call. len, in bytes, rounds up to pages, 0 is none; more than 32 pages may flush everything.
 * Interrupts may be off. Two processors may do it to each other at once; a processor that waits serves requests to
 * itself. */
void tlb_shootdown(struct tlb_domain *d, vaddr_t va, size_t len);

/* Serves requests to this processor; for who spins with interrupts off. Any context but NMI. */
void tlb_poll(void);

/* Shootdown interrupts sent since boot, all processors. */
uint64_t tlb_ipi_count(void);

/* ---- slab: kernel objects. The allocating calls return NULL on failure: the one exception to error codes. Sizes and
 * alignments are bytes. ---- */

/* Poison, red zones, double-free detection, owner's address for leak reports. */
#define SLAB_DEBUG 1u

#define SLAB_MIN_SIZE 16ul
#define SLAB_MAX_SIZE 4096ul
#define KMALLOC_MAX (1ul << 20)                 /* bytes */

/* What every byte of an object in a SLAB_DEBUG cache without constructor holds. */
#define POISON_FREE 0x6Bu                       /* free */
#define POISON_NEW  0xA5u                       /* fresh from slab_alloc */

struct slab_cache;
struct slab_stats { uint64_t live, slabs, frames, errors; };    /* errors: misuse detected so far */

/* size 1..4096 (rounded up to 16 at least), align a power of two 8..4096 (0: 16). ctor, if any, runs once for each
 * object when its slab is made; objects come back to the cache in constructed state. name is kept by reference.
 * -EINVAL (unknown flags too), -ENOMEM. */
int   slab_cache_create(const char *name, size_t size, size_t align, void (*ctor)(void *), unsigned flags,
	struct slab_cache **out);

/* -EBUSY: objects are live. What lies in any processor's magazine is not live. */
int   slab_cache_destroy(struct slab_cache *c);

/* An object of c. NULL: no memory. */
void *slab_alloc(struct slab_cache *c);

/* Gives an object back. -EINVAL: not an object of c (NULL is none); with SLAB_DEBUG also double free or a torn red
 * zone. */
int   slab_free(struct slab_cache *c, void *p);

/* Fills *out. */
void  slab_get_stats(struct slab_cache *c, struct slab_stats *out);

/* Gives back this processor's magazine and empty slabs, which stay until then; returns frames given back. */
size_t slab_shrink(struct slab_cache *c);

/* Calls fn for each live object of a SLAB_DEBUG cache with the return address of its allocation; returns how many. */
size_t slab_report_leaks(struct slab_cache *c, void (*fn)(void *obj, void *caller, void *arg), void *arg);

/* Whose slab p lies in; NULL: none. */
struct slab_cache *slab_cache_of(const void *p);

/* size bytes, 16-aligned; above 4096 page-aligned. NULL: size 0, above KMALLOC_MAX, no memory. */
void *kmalloc(size_t size);

/* As kmalloc, zeroed. */
void *kzalloc(size_t size);

/* NULL is fine and returns 0. -EINVAL: not from kmalloc. */
int   kfree(void *p);

/* Usable bytes behind p, at least what was asked for; 0: not from kmalloc. */
size_t kmalloc_size(const void *p);

/* ---- vmspace: user address spaces. Each has a lock of its own, and does its own shootdowns. Lengths are bytes,
 * limits and n are frames. ---- */

struct vmspace;
#define USER_MIN 0x0000000000010000ul           /* the first 64 KiB are never mapped */
#define USER_END 0x00007FFFFFFF0000ul           /* exclusive */
#define VM_ANY   0ul                            /* *va on entry: let mm choose */
_Static_assert(USER_MIN % PAGE_SIZE == 0 && USER_END % PAGE_SIZE == 0, "user space is whole pages");

struct vm_region { vaddr_t va; size_t len; unsigned prot; bool borrowed; };

/* Frames owned; page tables, the root too; the limit on their sum. */
struct vmspace_stats { size_t frames, tables, limit; };

/* An empty address space; limit_frames 0: no limit. -ENOMEM. */
int  vmspace_create(size_t limit_frames, struct vmspace **out);

/* Gives back every owned frame and table. -EBUSY: active on a processor. */
int  vmspace_destroy(struct vmspace *vs);

/* The physical address of its root. No errors. */
paddr_t vmspace_root(const struct vmspace *vs);

/* Load it on this processor; NULL: kernel only. Interrupts off. */
void vmspace_activate(struct vmspace *vs);

/* Maps len bytes of new frames, zeroed. For this and vmspace_map_frames: prot: any of WRITE, EXEC (not both); VM_USER
 * is implied. *va: VM_ANY or an address, page-aligned; on success where it went.
 * -EINVAL: unaligned, outside USER_MIN..USER_END, len 0, bad prot.
 * -EBUSY: overlaps a mapping.
 * -ENOMEM: no frames, over the limit, or no hole so long.
 * *va is then as it was. */
int  vmspace_map_anon(struct vmspace *vs, vaddr_t *va, size_t len, unsigned prot);

/* Maps n frames, in the order of frames[]; else as vmspace_map_anon. Owns the frames from now on unless borrowed; owned
 * ones count against the limit. */
int  vmspace_map_frames(struct vmspace *vs, vaddr_t *va, const paddr_t *frames, size_t n, unsigned prot, bool borrowed);

/* Unmaps n owned pages and hands their frames to the caller. -EINVAL, -ENOENT (as vmspace_unmap); -EPERM: one is
 * borrowed. */
int  vmspace_take_frames(struct vmspace *vs, vaddr_t va, size_t n, paddr_t *frames);

/* Unmaps [va, va+len) and frees owned frames. -EINVAL as vmspace_map_anon; -ENOENT: a page of it is not mapped. */
int  vmspace_unmap(struct vmspace *vs, vaddr_t va, size_t len);

/* Gives [va, va+len) another protection. Errors as vmspace_map_anon's -EINVAL and vmspace_unmap's. */
int  vmspace_protect(struct vmspace *vs, vaddr_t va, size_t len, unsigned prot);

/* As pt_translate; only what is user space's. */
int  vmspace_translate(struct vmspace *vs, vaddr_t va, struct pt_entry *out);

/* Calls fn for regions: ascending, disjoint, together all that is mapped; prot without VM_USER. What was mapped at once
 * may come in pieces, and neighbours of one kind as one. Stops at and returns fn's first value that is not 0; fn must
 * not call anything of vs. */
int  vmspace_for_each(struct vmspace *vs, int (*fn)(const struct vm_region *, void *), void *arg);

/* For uaccess: between the two nothing of vs is mapped, unmapped or protected by others; interrupts are off. Who waits
 * for it serves tlb_poll(). Returns what vmspace_unlock wants. */
uint64_t vmspace_lock(struct vmspace *vs);
void vmspace_unlock(struct vmspace *vs, uint64_t flags);        /* what vmspace_lock returned */

/* Fills *out. */
void vmspace_get_stats(struct vmspace *vs, struct vmspace_stats *out);

/* ---- uaccess: to and from user memory, through the direct map, so that a bad pointer cannot fault. vs need not be
 * active. Lengths are bytes. len 0: 0. ---- */

/* -EFAULT: any byte outside user space or not mapped. */
int copy_from_user(struct vmspace *vs, void *dst, vaddr_t src, size_t len);

/* -EFAULT as copy_from_user, and where not writable; nothing is written then. */
int copy_to_user(struct vmspace *vs, vaddr_t dst, const void *src, size_t len);

/* Copies up to the first NUL, which it writes too; *len without it.
 * -E2BIG: no NUL in the first max bytes.
 * -EFAULT: before either comes a byte that cannot be read.
 * Then *len is as it was. */
int strncpy_from_user(struct vmspace *vs, char *dst, vaddr_t src, size_t max, size_t *len);

#endif
