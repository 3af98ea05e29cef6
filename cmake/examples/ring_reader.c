/*
 * Read a ring to its end: ring_reader PATH [SECONDS]
 *
 * Waits for the ring to be made, at most SECONDS (10) with nothing to read, and says at the end what
 * came, what was lost, and how late the lines were read. Nothing is linked.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <xedge/ring_reader.h>

/* How many lines were so many steps of 10 us late; the last place holds all that were later. */
enum { STEP_NS = 10000, STEPS = 100000 };
static uint64_t late[STEPS + 1], lines;

static double late_ms(double share) {
    uint64_t wanted = (uint64_t)(share * (double)lines), seen = 0;
    for (int step = 0; step < STEPS; step++)
        if ((seen += late[step]) > wanted) return (step + 1) * (STEP_NS / 1e6);
    return STEPS * (STEP_NS / 1e6);
}

int main(int argc, char **argv) {
    int64_t patience_ns = 10 * (int64_t)1000000000, most_ns = 0;
    uint64_t damaged = 0, jumps = 0, epoch = 0, writers = 0;
    int64_t heard, due = 0;
    int failed, got;
    xedge_ring_reader ring;
    xedge_ring_line line;
    if (argc < 2) return fprintf(stderr, "usage: ring_reader PATH [SECONDS]\n"), 2;
    if (argc > 2) patience_ns = atoll(argv[2]) * 1000000000;
    heard = xedge_ring_now();
    while ((failed = xedge_ring_reader_open(&ring, argv[1])) == ENOENT &&
           xedge_ring_now() - heard < patience_ns) {
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
    if (failed) {
        fprintf(stderr, "ring_reader: %s: %s\n", argv[1], strerror(failed));
        return 1;
    }
    uint16_t *counts = malloc(4 * (size_t)ring.detector.elements);
    if (!counts) return 1;
    heard = xedge_ring_now();
    for (;;) {
        got = xedge_ring_read(&ring, &line, counts, counts + ring.detector.elements, 100000);
        if (got == XEDGE_RING_ENDED || got == XEDGE_RING_GONE) break;
        int64_t now = xedge_ring_now();
        if (got == XEDGE_RING_NOTHING) {
            if (now - heard > patience_ns) break;
            continue;
        }
        heard = now;
        if (xedge_ring_other(&ring.ring).epoch != epoch) {
            epoch = xedge_ring_other(&ring.ring).epoch;
            writers++; /* it may have begun to count anew */
        } else if (line.counter != due)
            jumps++;
        due = line.counter + 1;
        if (!line.intact) damaged++;
        int64_t ns = now - line.captured_ns;
        if (ns > most_ns) most_ns = ns;
        late[ns < 0 ? 0 : ns / STEP_NS < STEPS ? ns / STEP_NS : STEPS]++;
        lines++;
    }
    printf("lines %llu lost %llu damaged %llu jumps %llu writers %llu "
           "late_ms p50 %.3f p99 %.3f max %.3f\n",
           (unsigned long long)lines, (unsigned long long)ring.lost, (unsigned long long)damaged,
           (unsigned long long)jumps, (unsigned long long)writers, late_ms(0.5), late_ms(0.99),
           (double)most_ns / 1e6);
    xedge_ring_reader_close(&ring);
    free(counts);
    return got == XEDGE_RING_ENDED ? 0 : 3;
}
