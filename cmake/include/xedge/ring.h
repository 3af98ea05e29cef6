/*
 * The writer of a shared-memory ring of detector lines: one header, nothing to link.
 *
 * The layout and the order of stores are those of docs/ring.md. C99 with the __atomic builtins of
 * gcc and clang, right on ARM as well as on x86-64; Linux; little-endian. One thread writes.
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

#define XEDGE_RING_HEADER_BYTES 4096
#define XEDGE_RING_WRITER_AT 256
#ifdef F_OFD_SETLK
#define XEDGE_RING_SETLK F_OFD_SETLK
#else
#define XEDGE_RING_SETLK 37 /* of Linux, which glibc shows only with _GNU_SOURCE */
#endif

/* The detector and its belt; serial is at most 32 bytes of UTF-8, and may be NULL. */
typedef struct {
    uint32_t elements;
    double pitch_mm, counts_per_mm, speed_m_s;
    const char *serial;
} xedge_ring_detector;

/* A ring that is open for writing; its members are its own. */
typedef struct {
    int fd;
    unsigned char *map;
    size_t size;
    uint32_t elements, capacity, stride;
    uint64_t written;
} xedge_ring_writer;

static inline uint32_t xedge_ring_crc(const unsigned char *data, size_t size) {
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

static inline int64_t xedge_ring_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Now, on the clock of the lines: CLOCK_MONOTONIC, nanoseconds. */
static inline int64_t xedge_ring_now(void) { return xedge_ring_clock(CLOCK_MONOTONIC); }

static inline void xedge_ring_store(xedge_ring_writer *ring, int word, uint64_t value) {
    uint64_t *at = (uint64_t *)(void *)(ring->map + XEDGE_RING_WRITER_AT) + word;
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

/* Say that the writer lives, while the detector sends nothing. */
static inline void xedge_ring_beat(xedge_ring_writer *ring) {
    xedge_ring_store(ring, 3, (uint64_t)xedge_ring_now());
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
static inline int xedge_ring_open(xedge_ring_writer *ring, const char *path,
                                  const xedge_ring_detector *detector, uint32_t capacity) {
    unsigned char head[256] = {0x89, 'X', 'R', 'I', 'N', 'G', '\n', 0x1A, 1, 0, 2, 0}, found[256];
    size_t serial = detector->serial ? strlen(detector->serial) : 0;
    if (detector->elements < 2 || detector->elements > 65536 || capacity < 64 || serial > 32 ||
        capacity > (1u << 20) || (capacity & (capacity - 1)))
        return EINVAL;
    memset(ring, 0, sizeof *ring);
    ring->elements = detector->elements;
    ring->capacity = capacity;
    ring->stride = (40 + 4 * detector->elements + 63) / 64 * 64;
    ring->size = XEDGE_RING_HEADER_BYTES + (size_t)capacity * ring->stride;
    memcpy(head + 12, &ring->elements, 4);
    memcpy(head + 16, &ring->capacity, 4);
    memcpy(head + 20, &ring->stride, 4);
    memcpy(head + 24, &detector->pitch_mm, 8);
    memcpy(head + 32, &detector->counts_per_mm, 8);
    memcpy(head + 40, &detector->speed_m_s, 8);
    if (serial) memcpy(head + 48, detector->serial, serial);
    uint32_t crc = xedge_ring_crc(head, 252);
    memcpy(head + 252, &crc, 4);

    if (access(path, F_OK) != 0) {
        int failed = xedge_ring_make(path, head, (off_t)ring->size);
        if (failed) return failed;
    }
    struct stat about;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = XEDGE_RING_WRITER_AT,
                         .l_len = 1};
    int failed = 0;
    ring->fd = open(path, O_RDWR | O_CLOEXEC);
    if (ring->fd < 0) return errno;
    if (fstat(ring->fd, &about) != 0 || pread(ring->fd, found, 256, 0) != 256 ||
        (size_t)about.st_size != ring->size || memcmp(head, found, 256) != 0)
        failed = EINVAL;
    else if (fcntl(ring->fd, XEDGE_RING_SETLK, &lock) != 0)
        failed = errno;
    else {
        void *map = mmap(NULL, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
        if (map == MAP_FAILED) failed = errno;
        ring->map = (unsigned char *)map;
    }
    if (failed) {
        close(ring->fd);
        return failed;
    }
    memcpy(&ring->written, ring->map + XEDGE_RING_WRITER_AT, 8); /* only a writer changes it */
    xedge_ring_store(ring, 1, (uint64_t)xedge_ring_clock(CLOCK_REALTIME));
    xedge_ring_store(ring, 2, (uint64_t)getpid());
    xedge_ring_beat(ring);
    xedge_ring_store(ring, 4, 1);
    return 0;
}

/*
 * Put one line into the ring, over the oldest one; never waits. `intact` is 0 for a line that the
 * detector says is damaged. `captured_ns` is when it was read out, on the clock of xedge_ring_now.
 */
static inline void xedge_ring_write(xedge_ring_writer *ring, int64_t counter, int64_t encoder,
                                    int64_t captured_ns, const uint16_t *low,
                                    const uint16_t *high, int intact) {
    uint64_t n = ring->written, slot = n % ring->capacity;
    unsigned char *line = ring->map + XEDGE_RING_HEADER_BYTES + slot * ring->stride;
    uint64_t *sequence = (uint64_t *)(void *)line;
    uint32_t flags = intact ? 1 : 0, counts = 2 * ring->elements;
    __atomic_store_n(sequence, 2 * n + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE); /* nobody sees a count before the mark */
    memcpy(line + 8, &counter, 8);
    memcpy(line + 16, &encoder, 8);
    memcpy(line + 24, &captured_ns, 8);
    memcpy(line + 32, &flags, 4);
    memset(line + 36, 0, 4);
    memcpy(line + 40, low, counts);
    memcpy(line + 40 + counts, high, counts);
    __atomic_store_n(sequence, 2 * n + 2, __ATOMIC_RELEASE);
    ring->written = n + 1;
    xedge_ring_store(ring, 0, n + 1);
    if (n % 64 == 0) xedge_ring_beat(ring);
}

/* Say that the belt has come to its end, and let go. Without it, a reader waits for a new writer. */
static inline void xedge_ring_close(xedge_ring_writer *ring) {
    xedge_ring_store(ring, 4, 2);
    munmap(ring->map, ring->size);
    close(ring->fd);
}

#endif
