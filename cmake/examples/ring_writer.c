/*
 * Write a made-up belt into a ring: ring_writer PATH LINES [LINES_A_SECOND]
 *
 * A vendor's own program puts the lines of its detector in place of `read_line`. Nothing is linked.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <xedge/ring.h>

enum { ELEMENTS = 832 };

/* Air, with a block of matter every 1000 lines. */
static void read_line(int64_t line, uint16_t *low, uint16_t *high) {
    for (int x = 0; x < ELEMENTS; x++) {
        int matter = line % 1000 > 400 && x > 200 && x < 600;
        low[x] = matter ? 12000 : 40000;
        high[x] = matter ? 20000 : 42000;
    }
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: ring_writer PATH LINES [LINES_A_SECOND]\n");
        return 2;
    }
    int64_t lines = atoll(argv[2]), rate = argc > 3 ? atoll(argv[3]) : 0;
    xedge_ring_detector detector = {ELEMENTS, 0.62, 1.0 / 0.62, 0.5, "example"};
    xedge_ring_writer ring;
    int failed = xedge_ring_open(&ring, argv[1], &detector, 16384);
    if (failed) {
        fprintf(stderr, "ring_writer: %s: %s\n", argv[1], strerror(failed));
        return 1;
    }
    uint16_t low[ELEMENTS], high[ELEMENTS];
    /* Counter and encoder go on where a writer before this one stopped, or died. */
    int64_t first = (int64_t)ring.written, begun = xedge_ring_now();
    for (int64_t n = 0; n < lines; n++) {
        /* When the detector has read the line out, however late this program comes to it. */
        int64_t captured = rate > 0 ? begun + n * 1000000000 / rate : xedge_ring_now();
        while (xedge_ring_now() < captured) {
            struct timespec moment = {0, 50000};
            nanosleep(&moment, NULL);
        }
        read_line(first + n, low, high);
        xedge_ring_write(&ring, first + n, first + n, captured, low, high, 1);
    }
    xedge_ring_close(&ring);
    return 0;
}
