/*
 * The reader of a ring of detector lines, on xedge/ring.h, which says for what it is made.
 *
 *     xedge_ring_reader ring;
 *     int failed = xedge_ring_reader_open(&ring, "/dev/shm/lane1");
 *     ...
 *     while ((got = xedge_ring_read(&ring, &line, low, high, 1000)) <= XEDGE_RING_LINE)
 *         if (got == XEDGE_RING_LINE) ...
 *     xedge_ring_reader_close(&ring);
 */
#ifndef XEDGE_RING_READER_H
#define XEDGE_RING_READER_H

#include <xedge/ring.h>

#if defined(__SANITIZE_THREAD__) && !defined(__clang__) && __GNUC__ >= 11
#pragma GCC diagnostic push /* ThreadSanitizer knows no fences; what they order is atomic here */
#pragma GCC diagnostic ignored "-Wtsan"
#define XEDGE_RING_POP_DIAGNOSTIC
#endif

/* What xedge_ring_read answers, see there. */
enum { XEDGE_RING_NOTHING, XEDGE_RING_LINE, XEDGE_RING_ENDED, XEDGE_RING_GONE };

/* What a line says of itself. */
typedef struct {
    uint64_t number;     /* of the line in the ring, from 0; one that is lost leaves a gap */
    int64_t counter;     /* of the detector: skips lines that never came */
    int64_t encoder;
    int64_t captured_ns; /* on the clock of xedge_ring_now */
    int intact;          /* 0: damaged, by the detector's word or by its CRC; use no count of it */
} xedge_ring_line;

/* A ring that is open for reading; it stays where it is, for detector.serial points into it. */
typedef struct {
    xedge_ring_map ring;
    xedge_ring_detector detector;
    uint64_t lost; /* lines that this reader found overwritten */
    uint64_t next; /* this and what follows is its own */
    int seen_open;
    char serial[33];
    xedge_ring_crc crc;
} xedge_ring_reader;

/* As xedge_ring_put puts them. */
static inline void xedge_ring_get(void *own, const unsigned char *shared, size_t size) {
    unsigned char *to = (unsigned char *)own;
    while (size) {
        size_t step = 2;
        if (size >= 8 && ((uintptr_t)shared & 7) == 0) {
            uint64_t piece = __atomic_load_n((const uint64_t *)(const void *)shared,
                                             __ATOMIC_RELAXED);
            memcpy(to, &piece, step = 8);
        } else {
            uint16_t piece = __atomic_load_n((const uint16_t *)(const void *)shared,
                                             __ATOMIC_RELAXED);
            memcpy(to, &piece, step);
        }
        shared += step, to += step, size -= step;
    }
}

/* The detector that a ring says it is of, and the ring's sizes; 0 or EINVAL. */
static inline int xedge_ring_understand(xedge_ring_reader *reader, const unsigned char *head) {
    xedge_ring_detector *detector = &reader->detector;
    uint32_t capacity, stride, sum;
    memcpy(&detector->elements, head + 12, 4);
    memcpy(&capacity, head + 16, 4);
    memcpy(&stride, head + 20, 4);
    memcpy(&detector->pitch_mm, head + 24, 8);
    memcpy(&detector->counts_per_mm, head + 32, 8);
    memcpy(&detector->speed_m_s, head + 40, 8);
    memcpy(reader->serial, head + 48, 32);
    memcpy(&sum, head + 252, 4);
    detector->serial = reader->serial;
    if (memcmp(head, XEDGE_RING_BEGIN, 12) != 0 || sum != xedge_ring_head_crc(head) ||
        xedge_ring_measure(&reader->ring, detector, capacity) || stride != reader->ring.stride)
        return EINVAL;
    return 0;
}

/*
 * Open a ring for reading, where the last reader of it stopped; `reader->detector` says whose lines
 * they are. Returns 0, or an errno: ENOENT when no writer has made it yet, EINVAL when it is no
 * ring, damaged or of another version, EAGAIN or EACCES when it has a reader.
 */
static inline int xedge_ring_reader_open(xedge_ring_reader *reader, const char *path) {
    unsigned char head[256];
    xedge_ring_map *ring = &reader->ring;
    memset(reader, 0, sizeof *reader);
    ring->fd = open(path, O_RDWR | O_CLOEXEC);
    if (ring->fd < 0) return errno;
    int failed = pread(ring->fd, head, 256, 0) == 256 ? xedge_ring_understand(reader, head)
                                                      : EINVAL;
    if (!failed) failed = xedge_ring_join(ring, XEDGE_RING_READER_AT, head);
    if (failed) {
        close(ring->fd);
        return failed;
    }
    uint64_t written = xedge_ring_load(ring, XEDGE_RING_WRITER_AT, XEDGE_RING_COUNT);
    reader->next = xedge_ring_load(ring, XEDGE_RING_READER_AT, XEDGE_RING_COUNT);
    if (reader->next > written) reader->next = written;
    /* A ring that was closed before this reader came waits for its next writer. */
    reader->seen_open = reader->next < written;
    xedge_ring_crc_make(&reader->crc);
    xedge_ring_say_open(ring);
    return 0;
}

static inline void xedge_ring_lose(xedge_ring_reader *reader, uint64_t lines) {
    xedge_ring_map *ring = &reader->ring;
    reader->next += lines;
    reader->lost += lines;
    xedge_ring_store(ring, XEDGE_RING_LOST,
                     xedge_ring_load(ring, XEDGE_RING_READER_AT, XEDGE_RING_LOST) + lines);
    xedge_ring_store(ring, XEDGE_RING_COUNT, reader->next);
}

/* Copy the next line; 0 when it was overwritten meanwhile, and what was copied is to be forgotten. */
static inline int xedge_ring_copy(xedge_ring_reader *reader, xedge_ring_line *line, uint16_t *low,
                                  uint16_t *high) {
    const xedge_ring_map *ring = &reader->ring;
    uint64_t n = reader->next;
    const unsigned char *at =
        ring->bytes + XEDGE_RING_HEADER_BYTES + n % ring->capacity * ring->stride;
    const uint64_t *sequence = (const uint64_t *)(const void *)at;
    size_t counts = 2 * (size_t)ring->elements;
    unsigned char head[32];
    uint32_t flags, wanted, sum;
    if (__atomic_load_n(sequence, __ATOMIC_ACQUIRE) != 2 * n + 2) return 0;
    xedge_ring_get(head, at + 8, sizeof head);
    xedge_ring_get(low, at + XEDGE_RING_LINE_HEAD, counts);
    xedge_ring_get(high, at + XEDGE_RING_LINE_HEAD + counts, counts);
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* the mark is looked at again behind the counts */
    if (__atomic_load_n(sequence, __ATOMIC_RELAXED) != 2 * n + 2) return 0;
    line->number = n;
    memcpy(&line->counter, head, 8);
    memcpy(&line->encoder, head + 8, 8);
    memcpy(&line->captured_ns, head + 16, 8);
    memcpy(&flags, head + 24, 4);
    memcpy(&wanted, head + 28, 4);
    line->intact = (flags & XEDGE_RING_INTACT) != 0;
    if (flags & XEDGE_RING_HAS_CRC) {
        sum = xedge_ring_crc_add(&reader->crc, 0, head, 28);
        sum = xedge_ring_crc_add(&reader->crc, sum, low, counts);
        sum = xedge_ring_crc_add(&reader->crc, sum, high, counts);
        if (sum != wanted) line->intact = 0;
    }
    return 1;
}

/*
 * The next line, into a struct and two arrays of `detector.elements` counts; waits for it for at
 * most `wait_us` microseconds, looking every 0.1 ms. Returns XEDGE_RING_LINE; XEDGE_RING_NOTHING
 * when none came, the writer being slow or dead; XEDGE_RING_ENDED when the writer has closed the
 * ring and everything was read; XEDGE_RING_GONE when none came and the ring's file was removed, so
 * that no other writer will come. Lines that were overwritten are in `lost`; they never come.
 */
static inline int xedge_ring_read(xedge_ring_reader *reader, xedge_ring_line *line, uint16_t *low,
                                  uint16_t *high, uint32_t wait_us) {
    xedge_ring_map *ring = &reader->ring;
    int64_t until = wait_us ? xedge_ring_now() + (int64_t)wait_us * 1000 : 0;
    for (;;) {
        /* The state before the count: what a closed ring counts is all that there will be. */
        uint64_t state = xedge_ring_load(ring, XEDGE_RING_WRITER_AT, XEDGE_RING_STATE);
        uint64_t written = xedge_ring_load(ring, XEDGE_RING_WRITER_AT, XEDGE_RING_COUNT);
        if (state == XEDGE_RING_OPEN) reader->seen_open = 1;
        if (written > reader->next && written - reader->next >= ring->capacity)
            /* The oldest lines are being overwritten as they would be read. */
            xedge_ring_lose(reader, written - reader->next - ring->capacity / 2);
        while (written > reader->next) {
            if (xedge_ring_copy(reader, line, low, high)) {
                reader->next++;
                reader->seen_open = 1; /* by a writer that was there between two looks */
                xedge_ring_store(ring, XEDGE_RING_COUNT, reader->next);
                if (reader->next % 64 == 0)
                    xedge_ring_store(ring, XEDGE_RING_BEAT, (uint64_t)xedge_ring_now());
                return XEDGE_RING_LINE;
            }
            xedge_ring_lose(reader, 1);
        }
        if (state == XEDGE_RING_CLOSED && reader->seen_open) return XEDGE_RING_ENDED;
        int64_t now = xedge_ring_now();
        xedge_ring_store(ring, XEDGE_RING_BEAT, (uint64_t)now);
        if (now >= until) {
            struct stat about;
            int gone = fstat(ring->fd, &about) == 0 && about.st_nlink == 0;
            return gone ? XEDGE_RING_GONE : XEDGE_RING_NOTHING;
        }
        struct timespec moment = {0, 100000};
        nanosleep(&moment, NULL);
    }
}

/* Let go of the ring; the next reader goes on from here. */
static inline void xedge_ring_reader_close(xedge_ring_reader *reader) {
    xedge_ring_leave(&reader->ring);
}

#ifdef XEDGE_RING_POP_DIAGNOSTIC
#undef XEDGE_RING_POP_DIAGNOSTIC
#pragma GCC diagnostic pop
#endif

#endif
