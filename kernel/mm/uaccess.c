/* To and from user memory. See spec/mm.md, "uaccess" and "SMAP".
 *
 * Nothing is read or written by its user address: each page is looked up in the space's tables and reached through the
 * direct map, so what a user passes can be refused but cannot fault. The space is locked from the first check to the
 * last byte: what has been found there stays there. Its contents do not, as threads of the space may be running on other
 * processors. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "errno.h"
#include "mm.h"
#include "string.h"

#define DIRECT_MAP_SIZE (KSTACK_BASE - DIRECT_MAP_BASE)

/* len > 0. */
static bool in_user_space(vaddr_t va, size_t len)
{
	return va >= USER_MIN && va < USER_END && len <= USER_END - va;
}

/* How many bytes of [va, va+len) lie in va's page. */
static size_t in_page(vaddr_t va, size_t len)
{
	const size_t left = PAGE_SIZE - va % PAGE_SIZE;

	return len < left ? len : left;
}

/* Where the kernel has va and the rest of its page. NULL: it is not the user's to read or, with VM_WRITE, to write. Nor
 * is, here, a borrowed frame that the direct map does not have or must not write: a device's, the kernel's text. The
 * space is locked; of the kernel's tables the direct map's part does not change any more. */
static char *reach(struct vmspace *vs, vaddr_t va, unsigned prot)
{
	struct pt_entry user, kernel;
	paddr_t pa;

	if (!in_user_space(va, 1) || pt_translate(vmspace_root(vs), va, &user) || ~user.prot & (prot | VM_USER))
		return NULL;
	pa = user.pa + (va - user.va);
	if (pa >= DIRECT_MAP_SIZE || pt_translate(kernel_root, DIRECT_MAP_BASE + pa, &kernel) || ~kernel.prot & prot)
		return NULL;
	return phys_to_virt(pa);
}

/* 0, or -EFAULT: not all of [va, va+len) can be read or, with VM_WRITE, written. The bounds come first, as len may be
 * anything; the walk ends at the first hole. The space is locked. */
static int check(struct vmspace *vs, vaddr_t va, size_t len, unsigned prot)
{
	if (len && !in_user_space(va, len))
		return -EFAULT;
	for (size_t n; len; va += n, len -= n) {
		if (!reach(vs, va, prot))
			return -EFAULT;
		n = in_page(va, len);
	}
	return 0;
}

/* Copies what has been checked. The space has been locked since before that. */
static void fetch(struct vmspace *vs, char *dst, vaddr_t src, size_t len)
{
	for (size_t n; len; dst += n, src += n, len -= n) {
		n = in_page(src, len);
		memcpy(dst, reach(vs, src, VM_READ), n);
	}
}

/* Likewise. */
static void store(struct vmspace *vs, vaddr_t dst, const char *src, size_t len)
{
	for (size_t n; len; dst += n, src += n, len -= n) {
		n = in_page(dst, len);
		memcpy(reach(vs, dst, VM_WRITE), src, n);
	}
}

int copy_from_user(struct vmspace *vs, void *dst, vaddr_t src, size_t len)
{
	const uint64_t flags = vmspace_lock(vs);
	const int err = check(vs, src, len, VM_READ);

	if (!err)
		fetch(vs, dst, src, len);
	vmspace_unlock(vs, flags);
	return err;
}

int copy_to_user(struct vmspace *vs, vaddr_t dst, const void *src, size_t len)
{
	const uint64_t flags = vmspace_lock(vs);
	const int err = check(vs, dst, len, VM_WRITE);

	if (!err)
		store(vs, dst, src, len);
	vmspace_unlock(vs, flags);
	return err;
}

/* *length: the number of bytes before the first NUL. Looks at no page behind that, nor behind the first max bytes.
 * Errors as strncpy_from_user. The space is locked. */
static int find_nul(struct vmspace *vs, vaddr_t va, size_t max, size_t *length)
{
	for (size_t at = 0, n; at < max; at += n) {
		const char *const part = reach(vs, va + at, VM_READ);
		size_t before;

		if (!part)
			return -EFAULT;
		n = in_page(va + at, max - at);
		before = strnlen(part, n);
		if (before < n) {
			*length = at + before;
			return 0;
		}
	}
	return -E2BIG;
}

/* The string is measured first, so that dst is as it was on failure. As it may change before it is copied, the NUL
 * behind it is ours, and what counts is the first NUL of the copy. */
int strncpy_from_user(struct vmspace *vs, char *dst, vaddr_t src, size_t max, size_t *len)
{
	const uint64_t flags = vmspace_lock(vs);
	size_t length;
	const int err = find_nul(vs, src, max, &length);

	if (!err)
		fetch(vs, dst, src, length);
	vmspace_unlock(vs, flags);
	if (err)
		return err;
	dst[length] = '\0';
	*len = strlen(dst);
	return 0;
}
