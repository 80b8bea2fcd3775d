#define _GNU_SOURCE
#include "supervisor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void output_open(struct output *output, int fd, size_t limit) {
    *output = (struct output){.fd = fd, .limit = limit, .bytes = malloc(limit + 1)};
    if (!output->bytes) fail("no memory");
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/// Puts bytes where they belong: the first half of the limit is filled once, the rest is a ring.
static void keep(struct output *output, const char *bytes, size_t count) {
    const size_t head = output->limit / 2, ring = output->limit - head;
    while (count) {
        size_t place = output->total < head ? output->total : ring ? head + (output->total - head) % ring : 0;
        size_t part = smaller(count, output->total < head ? head - place : ring ? output->limit - place : count);
        if (output->total < head || ring) memcpy(output->bytes + place, bytes, part);
        output->total += part, bytes += part, count -= part;
    }
}

bool output_take(struct output *output) {
    static char chunk[64 << 10];
    ssize_t got = read(output->fd, chunk, sizeof chunk);
    if (got > 0) keep(output, chunk, (size_t)got);
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

size_t output_kept(const struct output *output) { return smaller(output->total, output->limit); }

void output_send(struct output *output) {
    const size_t head = output->limit / 2, ring = output->limit - head;
    if (output->total <= output->limit) {
        send_all(output->bytes, output->total);
    } else {
        const size_t oldest = ring ? (output->total - head) % ring : 0;
        send_all(output->bytes, head);
        send_all(output->bytes + head + oldest, ring - oldest);
        send_all(output->bytes + head, oldest);
    }
    free(output->bytes);
}

void send_all(const void *bytes, size_t count) {
    for (const char *next = bytes; count;) {
        ssize_t sent = send(STDIN_FILENO, next, count, MSG_NOSIGNAL);
        if (sent < 0 && errno == EPIPE) exit(0);
        if (sent < 0 && errno != EINTR) fail("cannot answer");
        if (sent > 0) next += sent, count -= (size_t)sent;
    }
}
