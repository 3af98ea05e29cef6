/*
 * A reader of recorded strip files (docs/strip-file.md) in one header, on xedge/ring.h.
 *
 * C99 or C++; nothing is linked, and nothing allocated: the file is mapped and checked as it is
 * read. A file under its own name is whole and never changes; do not cut one that is being read.
 *
 *     xedge_strip_file file;
 *     xedge_strip strip;
 *     int kind = xedge_strip_open(&file, "belt.xstrip");
 *     while (kind >= 0 && (kind = xedge_strip_next(&file, &strip)) > 0)
 *         for (uint32_t i = 0; kind == XEDGE_STRIP_LINES && i < strip.lines; i++)
 *             xedge_strip_line(&file, &strip, i, &encoder, low, high);
 *     if (kind < 0) puts(file.problem);
 *     xedge_strip_close(&file);
 */
#ifndef XEDGE_STRIP_H
#define XEDGE_STRIP_H

#include <xedge/ring.h>

/* What xedge_strip_next answers: the kind of a record, the end, or why there is no more. */
enum {
    XEDGE_STRIP_END = 0,
    XEDGE_STRIP_LINES = 1,
    XEDGE_STRIP_DARK = 2,
    XEDGE_STRIP_AIR = 3,
    XEDGE_STRIP_BROKEN = -1, /* damaged: what follows cannot be located, or must not be used */
    XEDGE_STRIP_CUT = -2     /* the end is missing; the records before are whole */
};

/* An open strip file. What is below `problem` is its own. */
typedef struct {
    uint32_t elements;
    double pitch_mm, counts_per_mm, speed_m_s;
    const char *metadata; /* JSON, `metadata_size` bytes without a NUL; its CRC was good */
    uint32_t metadata_size;
    const char *problem; /* what is wrong, in words; NULL while nothing is */
    const unsigned char *bytes;
    size_t size, at;
    uint32_t records;
    int64_t lines;
    int strips, last;
    void *map;
    xedge_ring_crc crc;
} xedge_strip_file;

/* A record: lines of the belt, or of a dark or an air run. */
typedef struct {
    int kind;
    int intact; /* 0: damaged; the lines are to be counted, and no count of theirs used */
    uint32_t lines;
    int64_t first_line, captured_ns; /* of the first line; of the last line */
    const unsigned char *payload;
} xedge_strip;

static inline int xedge_strip_fail(xedge_strip_file *file, int how, const char *problem) {
    file->problem = problem;
    return file->last = how;
}

/* Understand a strip file in memory, which must stay there; 0, or XEDGE_STRIP_BROKEN. */
static inline int xedge_strip_parse(xedge_strip_file *file, const void *data, size_t size) {
    const unsigned char *bytes = (const unsigned char *)data;
    double numbers[3];
    uint32_t sum;
    memset(file, 0, sizeof *file);
    xedge_ring_crc_make(&file->crc);
    file->bytes = bytes;
    file->size = size;
    if (size < 44 || memcmp(bytes, "\x89XSTRIP\n", 8) != 0)
        return xedge_strip_fail(file, XEDGE_STRIP_BROKEN, "this is no strip file");
    memcpy(&file->elements, bytes + 12, 4);
    memcpy(numbers, bytes + 16, sizeof numbers);
    memcpy(&file->metadata_size, bytes + 40, 4);
    if (file->metadata_size > 1u << 20)
        return xedge_strip_fail(file, XEDGE_STRIP_BROKEN, "the metadata is too long");
    if (size < 48 || file->metadata_size > size - 48)
        return xedge_strip_fail(file, XEDGE_STRIP_BROKEN, "the header is cut short");
    file->at = 44 + (size_t)file->metadata_size;
    memcpy(&sum, bytes + file->at, 4);
    if (sum != xedge_ring_crc_add(&file->crc, 0, bytes, file->at))
        return xedge_strip_fail(file, XEDGE_STRIP_BROKEN, "the header has a bad CRC");
    if (memcmp(bytes + 8, "\x01\0\x02", 4) != 0)
        return xedge_strip_fail(file, XEDGE_STRIP_BROKEN, "the file is of another version");
    for (int i = 0; i < 3; i++)
        if (!(numbers[i] > 0 && numbers[i] <= DBL_MAX) || file->elements < 2 ||
            file->elements > 65536)
            return xedge_strip_fail(file, XEDGE_STRIP_BROKEN, "the detector's numbers cannot be");
    file->pitch_mm = numbers[0];
    file->counts_per_mm = numbers[1];
    file->speed_m_s = numbers[2];
    file->metadata = (const char *)bytes + 44;
    file->at += 4;
    file->last = XEDGE_STRIP_LINES;
    return 0;
}

/* Open a strip file; 0, or XEDGE_STRIP_BROKEN. Close it either way. */
static inline int xedge_strip_open(xedge_strip_file *file, const char *path) {
    struct stat about;
    void *map = MAP_FAILED;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int known = fd >= 0 && fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0;
    if (known) map = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (fd >= 0) close(fd);
    if (map == MAP_FAILED) {
        memset(file, 0, sizeof *file);
        return xedge_strip_fail(file, XEDGE_STRIP_BROKEN,
                                known || fd < 0 ? strerror(errno) : "this is no strip file");
    }
    int failed = xedge_strip_parse(file, map, (size_t)about.st_size);
    file->map = map;
    return failed;
}

static inline int xedge_strip_end(xedge_strip_file *file, int64_t lines, uint64_t size) {
    static const unsigned char none[4] = {0, 0, 0, 0}; /* the CRC of nothing */
    size_t left = file->size - file->at;
    if (left < 4) return xedge_strip_fail(file, XEDGE_STRIP_CUT, "the end is cut short");
    if (size || memcmp(file->bytes + file->at, none, 4) != 0)
        return xedge_strip_fail(file, XEDGE_STRIP_BROKEN, "the end is damaged");
    if (lines != file->lines)
        return xedge_strip_fail(file, XEDGE_STRIP_BROKEN, "the end counts other lines");
    if (left > 4)
        return xedge_strip_fail(file, XEDGE_STRIP_BROKEN, "something stands behind the end");
    return file->last = XEDGE_STRIP_END;
}

/*
 * The next record. Returns its kind, XEDGE_STRIP_END behind the last one, XEDGE_STRIP_BROKEN or
 * XEDGE_STRIP_CUT with `problem`; these three again when it is called again.
 */
static inline int xedge_strip_next(xedge_strip_file *file, xedge_strip *strip) {
    const unsigned char *head = file->bytes + file->at;
    uint16_t kind, flags;
    uint32_t number, sum;
    uint64_t size;
    if (file->last <= XEDGE_STRIP_END) return file->last;
    if (file->size - file->at < 44)
        return xedge_strip_fail(file, XEDGE_STRIP_CUT, "the end is missing");
    memcpy(&kind, head + 4, 2);
    memcpy(&flags, head + 6, 2);
    memcpy(&number, head + 8, 4);
    memcpy(&strip->lines, head + 12, 4);
    memcpy(&strip->first_line, head + 16, 8);
    memcpy(&strip->captured_ns, head + 24, 8);
    memcpy(&size, head + 32, 8);
    memcpy(&sum, head + 40, 4);
    if (sum != xedge_ring_crc_add(&file->crc, 0, head, 40) || memcmp(head, "XREC", 4) != 0 ||
        number != file->records || (flags & ~1u))
        return xedge_strip_fail(file, XEDGE_STRIP_BROKEN, "the header of a record is damaged");
    file->at += 44;
    if (kind == 4) return xedge_strip_end(file, strip->first_line, size);
    if (kind < XEDGE_STRIP_LINES || kind > XEDGE_STRIP_AIR || strip->lines < 1 ||
        strip->lines > 65536 || size != (uint64_t)strip->lines * (8 + 4 * (uint64_t)file->elements))
        return xedge_strip_fail(file, XEDGE_STRIP_BROKEN, "a record cannot be");
    if (file->size - file->at < 4 || size > file->size - file->at - 4)
        return xedge_strip_fail(file, XEDGE_STRIP_CUT, "the last record is cut short");
    strip->payload = file->bytes + file->at;
    memcpy(&sum, strip->payload + size, 4);
    strip->kind = kind;
    strip->intact =
        (flags & 1) && sum == xedge_ring_crc_add(&file->crc, 0, strip->payload, (size_t)size);
    file->at += (size_t)size + 4;
    file->records++;
    if (kind == XEDGE_STRIP_LINES) {
        file->lines += strip->lines;
        file->strips = 1;
    } else if (file->strips)
        return xedge_strip_fail(file, XEDGE_STRIP_BROKEN, "a dark or air run behind the strips");
    else if (!strip->intact)
        return xedge_strip_fail(file, XEDGE_STRIP_BROKEN, "a dark or air run has a bad CRC");
    return file->last = kind;
}

/* Line `index` of a strip, below `lines`: its encoder and `elements` counts of each energy. */
static inline void xedge_strip_line(const xedge_strip_file *file, const xedge_strip *strip,
                                    uint32_t index, int64_t *encoder, uint16_t *low,
                                    uint16_t *high) {
    size_t counts = 2 * (size_t)file->elements, lines = strip->lines;
    const unsigned char *lows = strip->payload + 8 * lines;
    memcpy(encoder, strip->payload + 8 * (size_t)index, 8);
    memcpy(low, lows + index * counts, counts);
    memcpy(high, lows + (lines + index) * counts, counts);
}

/* Let go of a file that xedge_strip_open opened; safe to call twice. */
static inline void xedge_strip_close(xedge_strip_file *file) {
    if (file->map) munmap(file->map, file->size);
    file->map = NULL;
    file->last = XEDGE_STRIP_BROKEN;
    file->problem = "the file is closed";
}

#endif
