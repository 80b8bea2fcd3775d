/* Memory and strings. No function has state or errors; all may be called in any context, on any number of processors at
 * once. Sizes are in bytes, any alignment works, and no byte outside what was given is read or written. NULL, and
 * overlap where C forbids it, are undefined, as in C; not checked. */
#pragma once
#include <stddef.h>

/* C's functions, to the letter; bytes compare as unsigned. n = 0 touches nothing. */

/* Copies n bytes; returns to. They must not overlap. */
void *memcpy(void *restrict to, const void *restrict from, size_t n);

/* Copies n bytes; returns to. They may overlap. */
void *memmove(void *to, const void *from, size_t n);

/* Sets n bytes to the low 8 bits of byte; returns to. */
void *memset(void *to, int byte, size_t n);

/* Compares n bytes: <0, 0, >0; goes on after NULs. */
int memcmp(const void *a, const void *b, size_t n);

/* The first of n bytes that equals the low 8 bits of byte; NULL if there is none. */
void *memchr(const void *s, int byte, size_t n);

/* The number of bytes before the NUL. */
size_t strlen(const char *s);

/* Likewise, but max if there is no NUL among the first max bytes; reads max bytes at the most. */
size_t strnlen(const char *s, size_t max);

/* Compares up to the first difference or the NUL: <0, 0, >0. */
int strcmp(const char *a, const char *b);

/* Likewise, n bytes at the most. */
int strncmp(const char *a, const char *b, size_t n);

/* The first c, as a char, in s; NULL if there is none. Finds the ending NUL, too. */
char *strchr(const char *s, int c);

/* The last one, likewise. */
char *strrchr(const char *s, int c);

/* Copies as much of from as fits into size bytes and ends it with a NUL; writes nothing after that, and nothing at all
 * if size is 0. The length of from: the copy was cut if that is not less than size. */
size_t strlcpy(char *to, const char *from, size_t size);
