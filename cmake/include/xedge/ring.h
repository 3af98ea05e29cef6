/*
 * A shared-memory ring of detector lines: its layout and its writer in one header, nothing to link.
 * The reader is in xedge/ring_reader.h, on this one.
 *
 * The layout and the order of stores are those of docs/ring.md. C99 or C++ with the __atomic
 * builtins of gcc and clang, right on ARM as well as on x86-64; Linux; little-endian. One thread
 * writes, one thread reads, of one process or of two.
 *
 *     xedge_ring_writer ring;
 *     xedge_ring_detector detector = {832, 0.62, 1.0 / 0.62, 0.5, "D-7"};
 *     int failed = xedge_ring_open(&ring, "/dev/shm/lane1", &detector, 16384);
 *     ...
 *     xedge_ring_write(&ring, counter, encoder, xedge_ring_now(), low, high, 1);
 *     ...
 *     xedge_ring_close(&ring);
 */
#ifndef XEDGE_RING_H
#define XEDGE_RING_H

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if !defined(__GNUC__) || !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "xedge/ring.h needs gcc or clang and a little-endian processor"
#endif
#if defined(__SANITIZE_THREAD__) && !defined(__clang__) && __GNUC__ >= 11
#pragma GCC diagnostic push /* ThreadSanitizer knows no fences; what they order is atomic here */
#pragma GCC diagnostic ignored "-Wtsan"
#define XEDGE_RING_POP_DIAGNOSTIC
#endif

#define XEDGE_RING_HEADER_BYTES 4096
#define XEDGE_RING_LINE_HEAD 40
#define XEDGE_RING_BEGIN "\x89XRING\n\x1A\x01\0\x02" /* magic, version 1, 2 energies: 12 bytes */
#define XEDGE_RING_WRITER_AT 256
#define XEDGE_RING_READER_AT 384
#ifdef F_OFD_SETLK
#define XEDGE_RING_SETLK F_OFD_SETLK
#else
#define XEDGE_RING_SETLK 37 /* of Linux, which glibc shows only with _GNU_SOURCE */
#endif

/* Words of a side's block; the last is the reader's alone. */
enum { XEDGE_RING_COUNT, XEDGE_RING_EPOCH, XEDGE_RING_PID, XEDGE_RING_BEAT, XEDGE_RING_STATE,
       XEDGE_RING_LOST };
/* States of a side: it was never there, it is there or died, it left in good order. */
enum { XEDGE_RING_NEVER, XEDGE_RING_OPEN, XEDGE_RING_CLOSED };
/* Flags of a line. */
enum { XEDGE_RING_INTACT = 1, XEDGE_RING_HAS_CRC = 2 };

/* The detector and its belt; serial is at most 32 bytes of UTF-8, and may be NULL for a writer. */
typedef struct {
    uint32_t elements;
    double pitch_mm, counts_per_mm, speed_m_s;
    const char *serial;
} xedge_ring_detector;

/* What a side says of itself; another epoch is another process, which may begin to count anew. */
typedef struct {
    uint64_t epoch, pid;
    int64_t beat_ns;
    int state;
} xedge_ring_peer;

/* A ring in memory, as one of its sides holds it. */
typedef struct {
    int fd;
    uint32_t side, elements, capacity, stride;
    size_t size;
    unsigned char *bytes;
} xedge_ring_map;

/* The CRC-32 of zlib and PNG, eight bytes a step. */
typedef struct {
    uint32_t of[8][256];
} xedge_ring_crc;

/* A ring that is open for writing; its members are its own. */
typedef struct {
    xedge_ring_map ring;
    uint64_t written;
} xedge_ring_writer;

static inline void xedge_ring_crc_make(xedge_ring_crc *crc) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t sum = byte;
        for (int bit = 0; bit < 8; bit++) sum = (sum >> 1) ^ (0xEDB88320u & (0u - (sum & 1u)));
        crc->of[0][byte] = sum;
    }
    for (int step = 1; step < 8; step++)
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t sum = crc->of[step - 1][byte];
            crc->of[step][byte] = (sum >> 8) ^ crc->of[0][sum & 0xFF];
        }
}

/* The CRC of what had the CRC `sum`, 0 for nothing, and of what follows it. */
static inline uint32_t xedge_ring_crc_add(const xedge_ring_crc *crc, uint32_t sum,
                                          const void *data, size_t size) {
    const unsigned char *at = (const unsigned char *)data;
    sum = ~sum;
    for (; size >= 8; at += 8, size -= 8) {
        uint32_t a, b;
        memcpy(&a, at, 4);
        memcpy(&b, at + 4, 4);
        a ^= sum;
        sum = crc->of[7][a & 0xFF] ^ crc->of[6][a >> 8 & 0xFF] ^ crc->of[5][a >> 16 & 0xFF] ^
              crc->of[4][a >> 24] ^ crc->of[3][b & 0xFF] ^ crc->of[2][b >> 8 & 0xFF] ^
              crc->of[1][b >> 16 & 0xFF] ^ crc->of[0][b >> 24];
    }
    for (; size; at++, size--) sum = (sum >> 8) ^ crc->of[0][(sum ^ *at) & 0xFF];
    return ~sum;
}

static inline int64_t xedge_ring_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Now, on the clock of the lines: CLOCK_MONOTONIC, nanoseconds. */
static inline int64_t xedge_ring_now(void) { return xedge_ring_clock(CLOCK_MONOTONIC); }

static inline uint64_t *xedge_ring_word(const xedge_ring_map *ring, uint32_t side, int word) {
    return (uint64_t *)(void *)(ring->bytes + side) + word;
}

static inline void xedge_ring_store(xedge_ring_map *ring, int word, uint64_t value) {
    __atomic_store_n(xedge_ring_word(ring, ring->side, word), value, __ATOMIC_RELEASE);
}

static inline uint64_t xedge_ring_load(const xedge_ring_map *ring, uint32_t side, int word) {
    return __atomic_load_n(xedge_ring_word(ring, side, word), __ATOMIC_ACQUIRE);
}

/* What the other side says of itself now: of `&reader.ring` the writer, of `&writer.ring` the
 * reader. */
static inline xedge_ring_peer xedge_ring_other(const xedge_ring_map *ring) {
    uint32_t side = XEDGE_RING_WRITER_AT + XEDGE_RING_READER_AT - ring->side;
    xedge_ring_peer peer;
    peer.state = (int)xedge_ring_load(ring, side, XEDGE_RING_STATE);
    peer.epoch = xedge_ring_load(ring, side, XEDGE_RING_EPOCH);
    peer.pid = xedge_ring_load(ring, side, XEDGE_RING_PID);
    peer.beat_ns = (int64_t)xedge_ring_load(ring, side, XEDGE_RING_BEAT);
    return peer;
}

/* Lines are copied in atomic pieces, the same on both sides: a reader may look while they change.
 * Sizes and places in the ring are even. */
static inline void xedge_ring_put(unsigned char *shared, const void *own, size_t size) {
    const unsigned char *from = (const unsigned char *)own;
    while (size) {
        size_t step = 2;
        if (size >= 8 && ((uintptr_t)shared & 7) == 0) {
            uint64_t piece;
            memcpy(&piece, from, step = 8);
            __atomic_store_n((uint64_t *)(void *)shared, piece, __ATOMIC_RELAXED);
        } else {
            uint16_t piece;
            memcpy(&piece, from, step);
            __atomic_store_n((uint16_t *)(void *)shared, piece, __ATOMIC_RELAXED);
        }
        shared += step, from += step, size -= step;
    }
}

static inline uint32_t xedge_ring_head_crc(const unsigned char *head) {
    xedge_ring_crc crc;
    xedge_ring_crc_make(&crc);
    return xedge_ring_crc_add(&crc, 0, head, 252);
}

/* The first 256 bytes of a ring; `ring` knows its elements, capacity and stride. */
static inline void xedge_ring_head(unsigned char *head, const xedge_ring_map *ring,
                                   const xedge_ring_detector *detector) {
    memset(head, 0, 256);
    memcpy(head, XEDGE_RING_BEGIN, 12);
    memcpy(head + 12, &ring->elements, 4);
    memcpy(head + 16, &ring->capacity, 4);
    memcpy(head + 20, &ring->stride, 4);
    memcpy(head + 24, &detector->pitch_mm, 8);
    memcpy(head + 32, &detector->counts_per_mm, 8);
    memcpy(head + 40, &detector->speed_m_s, 8);
    if (detector->serial) memcpy(head + 48, detector->serial, strlen(detector->serial));
    uint32_t sum = xedge_ring_head_crc(head);
    memcpy(head + 252, &sum, 4);
}

/* The sizes of a ring; 0, or EINVAL when they cannot be. */
static inline int xedge_ring_measure(xedge_ring_map *ring, const xedge_ring_detector *detector,
                                     uint32_t capacity) {
    const double numbers[3] = {detector->pitch_mm, detector->counts_per_mm, detector->speed_m_s};
    for (int i = 0; i < 3; i++)
        if (!(numbers[i] > 0 && numbers[i] <= DBL_MAX)) return EINVAL;
    if (detector->elements < 2 || detector->elements > 65536 || capacity < 64 ||
        capacity > (1u << 20) || (capacity & (capacity - 1)) ||
        (detector->serial && strlen(detector->serial) > 32))
        return EINVAL;
    ring->elements = detector->elements;
    ring->capacity = capacity;
    ring->stride = (XEDGE_RING_LINE_HEAD + 4 * detector->elements + 63) / 64 * 64;
    ring->size = XEDGE_RING_HEADER_BYTES + (size_t)capacity * ring->stride;
    return 0;
}

/* Be one side of the ring whose file is open as `ring->fd`, and whose first bytes are `head`. */
static inline int xedge_ring_join(xedge_ring_map *ring, uint32_t side, const unsigned char *head) {
    unsigned char found[256];
    struct stat about;
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = (off_t)side;
    lock.l_len = 1;
    if (fstat(ring->fd, &about) != 0 || pread(ring->fd, found, 256, 0) != 256 ||
        (size_t)about.st_size != ring->size || memcmp(head, found, 256) != 0)
        return EINVAL;
    if (fcntl(ring->fd, XEDGE_RING_SETLK, &lock) != 0) return errno;
    void *map = mmap(NULL, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
    if (map == MAP_FAILED) return errno;
    ring->bytes = (unsigned char *)map;
    ring->side = side;
    return 0;
}

static inline void xedge_ring_say_open(xedge_ring_map *ring) {
    xedge_ring_store(ring, XEDGE_RING_EPOCH, (uint64_t)xedge_ring_clock(CLOCK_REALTIME));
    xedge_ring_store(ring, XEDGE_RING_PID, (uint64_t)getpid());
    xedge_ring_store(ring, XEDGE_RING_BEAT, (uint64_t)xedge_ring_now());
    xedge_ring_store(ring, XEDGE_RING_STATE, XEDGE_RING_OPEN);
}

static inline void xedge_ring_leave(xedge_ring_map *ring) {
    xedge_ring_store(ring, XEDGE_RING_STATE, XEDGE_RING_CLOSED);
    munmap(ring->bytes, ring->size);
    close(ring->fd);
}

static inline int xedge_ring_make(const char *path, const unsigned char *head, off_t size) {
    char made[4096];
    int length = snprintf(made, sizeof made, "%s.%ld.new", path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof made) return ENAMETOOLONG;
    int fd = open(made, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0660);
    if (fd < 0) return errno;
    int failed = posix_fallocate(fd, 0, size); /* a full /dev/shm says so now */
    if (!failed && pwrite(fd, head, 256, 0) != 256) failed = EIO;
    if (!failed && link(made, path) != 0 && errno != EEXIST) failed = errno;
    unlink(made);
    close(fd);
    return failed;
}

/*
 * Open a ring for writing, and make it when it is not there. A ring of this detector that is there
 * is written on. Returns 0, or an errno: EINVAL when the numbers cannot be or the ring is another
 * detector's, EAGAIN or EACCES when it has a writer.
 */
static inline int xedge_ring_open(xedge_ring_writer *writer, const char *path,
                                  const xedge_ring_detector *detector, uint32_t capacity) {
    unsigned char head[256];
    xedge_ring_map *ring = &writer->ring;
    memset(writer, 0, sizeof *writer);
    int failed = xedge_ring_measure(ring, detector, capacity);
    if (failed) return failed;
    xedge_ring_head(head, ring, detector);
    if (access(path, F_OK) != 0) {
        failed = xedge_ring_make(path, head, (off_t)ring->size);
        if (failed) return failed;
    }
    ring->fd = open(path, O_RDWR | O_CLOEXEC);
    if (ring->fd < 0) return errno;
    failed = xedge_ring_join(ring, XEDGE_RING_WRITER_AT, head);
    if (failed) {
        close(ring->fd);
        return failed;
    }
    writer->written = xedge_ring_load(ring, XEDGE_RING_WRITER_AT, XEDGE_RING_COUNT);
    xedge_ring_say_open(ring);
    return 0;
}

/* Say that the writer lives, while the detector sends nothing. */
static inline void xedge_ring_beat(xedge_ring_writer *writer) {
    xedge_ring_store(&writer->ring, XEDGE_RING_BEAT, (uint64_t)xedge_ring_now());
}

/*
 * Put one line into the ring, over the oldest one; never waits. `intact` is 0 for a line that the
 * detector says is damaged. `captured_ns` is when it was read out, on the clock of xedge_ring_now.
 */
static inline void xedge_ring_write(xedge_ring_writer *writer, int64_t counter, int64_t encoder,
                                    int64_t captured_ns, const uint16_t *low,
                                    const uint16_t *high, int intact) {
    xedge_ring_map *ring = &writer->ring;
    uint64_t n = writer->written;
    unsigned char *line = ring->bytes + XEDGE_RING_HEADER_BYTES + n % ring->capacity * ring->stride;
    uint64_t *sequence = (uint64_t *)(void *)line;
    size_t counts = 2 * (size_t)ring->elements;
    /* flags, and a CRC that is not set */
    int64_t head[4] = {counter, encoder, captured_ns, intact ? XEDGE_RING_INTACT : 0};
    __atomic_store_n(sequence, 2 * n + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE); /* nobody sees a count before the mark */
    xedge_ring_put(line + 8, head, sizeof head);
    xedge_ring_put(line + XEDGE_RING_LINE_HEAD, low, counts);
    xedge_ring_put(line + XEDGE_RING_LINE_HEAD + counts, high, counts);
    __atomic_store_n(sequence, 2 * n + 2, __ATOMIC_RELEASE);
    writer->written = n + 1;
    xedge_ring_store(ring, XEDGE_RING_COUNT, n + 1);
    if (n % 64 == 0) xedge_ring_beat(writer);
}

/* Say that the belt has come to its end, and let go. Without it, a reader waits for a new writer. */
static inline void xedge_ring_close(xedge_ring_writer *writer) { xedge_ring_leave(&writer->ring); }

#ifdef XEDGE_RING_POP_DIAGNOSTIC
#undef XEDGE_RING_POP_DIAGNOSTIC
#pragma GCC diagnostic pop
#endif

#endif
