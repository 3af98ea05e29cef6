/*
 * The ring in C on both sides: threads, processes that are killed, damage, and what is refused.
 *
 * Every count of a line is the line's counter, so that a torn one shows.
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <xedge/ring_reader.h>

#include "check.h"

enum { ELEMENTS = 51, CAPACITY = 64 }; /* high counts begin where no 8 bytes begin */

static const xedge_ring_detector DETECTOR = {ELEMENTS, 0.62, 1.5, 0.2, "D-7"};
static char path[256];

static void anew(const char *folder) {
    snprintf(path, sizeof path, "%s/ring-%ld", folder, (long)getpid());
    unlink(path);
}

static void put(xedge_ring_writer *writer, int64_t counter) {
    uint16_t counts[ELEMENTS];
    for (int i = 0; i < ELEMENTS; i++) counts[i] = (uint16_t)counter;
    xedge_ring_write(writer, counter, 2 * counter, xedge_ring_now(), counts, counts, 1);
}

static int get(xedge_ring_reader *reader, xedge_ring_line *line, uint32_t wait_us) {
    uint16_t low[ELEMENTS], high[ELEMENTS];
    int got = xedge_ring_read(reader, line, low, high, wait_us);
    if (got == XEDGE_RING_LINE) {
        CHECK(line->intact && line->encoder == 2 * line->counter);
        for (int i = 0; i < ELEMENTS; i++)
            CHECK(low[i] == (uint16_t)line->counter && high[i] == low[i]);
    }
    return got;
}

/* Lines from `first` on until the process is killed. */
static pid_t start_writer(int64_t first) {
    pid_t pid = fork();
    if (pid) return pid;
    xedge_ring_writer writer;
    if (xedge_ring_open(&writer, path, &DETECTOR, CAPACITY)) _exit(1);
    for (int64_t line = first;; line++) {
        struct timespec moment = {0, 20000};
        put(&writer, line);
        if (line % 5 == 0) nanosleep(&moment, NULL);
    }
}

static void end(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void a_writer_is_killed_and_another_goes_on(const char *folder) {
    xedge_ring_writer writer;
    xedge_ring_reader reader;
    xedge_ring_line line;
    uint64_t epoch = 0, epochs = 0, taken = 0, due = 0;
    int64_t counter = -1;
    anew(folder);
    CHECK(xedge_ring_reader_open(&reader, path) == ENOENT);
    CHECK(xedge_ring_open(&writer, path, &DETECTOR, CAPACITY) == 0);
    CHECK(xedge_ring_reader_open(&reader, path) == 0);
    xedge_ring_close(&writer);
    for (int64_t round = 0; round < 20; round++) {
        pid_t pid = start_writer(round * 1000000);
        for (int lines = 0; lines < 50; lines++) {
            if (get(&reader, &line, 10000000) != XEDGE_RING_LINE) {
                CHECK(!"a writer that started again is not heard");
                break;
            }
            CHECK(line.number >= due && line.counter > counter);
            due = line.number + 1;
            counter = line.counter;
            taken++;
        }
        epochs += xedge_ring_other(&reader.ring).epoch != epoch;
        epoch = xedge_ring_other(&reader.ring).epoch;
        CHECK(xedge_ring_other(&reader.ring).pid == (uint64_t)pid);
        end(pid);
        CHECK(xedge_ring_other(&reader.ring).state == XEDGE_RING_OPEN); /* it could not say so */
    }
    CHECK(epochs == 20);
    /* What the last one wrote before it died, and what a last one closes in good order. */
    while (get(&reader, &line, 0) == XEDGE_RING_LINE) due = line.number + 1, taken++;
    CHECK(xedge_ring_open(&writer, path, &DETECTOR, CAPACITY) == 0);
    CHECK(writer.written == due + (reader.next - due));
    put(&writer, 30000000);
    xedge_ring_close(&writer);
    CHECK(get(&reader, &line, 0) == XEDGE_RING_LINE && line.counter == 30000000);
    CHECK(get(&reader, &line, 1000000) == XEDGE_RING_ENDED);
    CHECK(taken + 1 + reader.lost == line.number + 1); /* every line came or was counted */
    xedge_ring_reader_close(&reader);
}

static void a_reader_is_killed_and_another_goes_on(const char *folder) {
    xedge_ring_writer writer;
    xedge_ring_reader reader;
    xedge_ring_line line;
    int64_t written = 0, taken = 0;
    uint64_t next;
    anew(folder);
    CHECK(xedge_ring_open(&writer, path, &DETECTOR, CAPACITY) == 0);
    for (int round = 0; round < 10; round++) {
        pid_t pid = fork();
        if (!pid) {
            if (xedge_ring_reader_open(&reader, path)) _exit(1);
            for (;;) get(&reader, &line, 1000000);
        }
        while (xedge_ring_other(&writer.ring).pid != (uint64_t)pid) sched_yield();
        do {
            put(&writer, written++);
            next = xedge_ring_load(&writer.ring, XEDGE_RING_READER_AT, XEDGE_RING_COUNT);
        } while (written < 40 * (round + 1) || next == 0);
        CHECK(xedge_ring_reader_open(&reader, path) == EAGAIN); /* it has a reader */
        end(pid);
    }
    next = xedge_ring_load(&writer.ring, XEDGE_RING_READER_AT, XEDGE_RING_COUNT);
    CHECK(xedge_ring_reader_open(&reader, path) == 0 && reader.next == next);
    xedge_ring_close(&writer);
    while (get(&reader, &line, 1000000) == XEDGE_RING_LINE) taken++;
    CHECK(next + (uint64_t)taken + reader.lost == (uint64_t)written);
    xedge_ring_reader_close(&reader);
}

/* A fault that no handler takes, on the second page of a line: a writer dies within it. */
static void a_writer_dies_in_the_middle_of_a_line(const char *folder) {
    enum { WIDE = 2000 };
    static uint16_t counts[WIDE], low[WIDE], high[WIDE];
    xedge_ring_detector detector = DETECTOR;
    xedge_ring_writer writer;
    xedge_ring_reader reader;
    xedge_ring_line line;
    pid_t pid;
    int how;
    anew(folder);
    detector.elements = WIDE;
    for (int i = 0; i < WIDE; i++) counts[i] = 7;
    CHECK(xedge_ring_open(&writer, path, &detector, CAPACITY) == 0);
    CHECK(xedge_ring_reader_open(&reader, path) == 0);
    xedge_ring_close(&writer);
    for (uint64_t n = 0; n < 2 * CAPACITY; n += CAPACITY) { /* on nothing, and on an older line */
        pid = fork();
        if (!pid) {
            signal(SIGSEGV, SIG_DFL);
            if (xedge_ring_open(&writer, path, &detector, CAPACITY)) _exit(1);
            mprotect(writer.ring.bytes + 8192, 4096, PROT_READ);
            xedge_ring_write(&writer, 1, 1, 0, counts, counts, 1);
            _exit(2);
        }
        waitpid(pid, &how, 0);
        CHECK(WIFSIGNALED(how) && WTERMSIG(how) == SIGSEGV);
        uint64_t *mark = (uint64_t *)(void *)(reader.ring.bytes + XEDGE_RING_HEADER_BYTES);
        CHECK(__atomic_load_n(mark, __ATOMIC_ACQUIRE) == 2 * n + 1);
        CHECK(xedge_ring_read(&reader, &line, low, high, 0) == XEDGE_RING_NOTHING);
        CHECK(xedge_ring_open(&writer, path, &detector, CAPACITY) == 0);
        for (int i = 0; i < CAPACITY; i++) {
            xedge_ring_write(&writer, i, 1, 0, counts, counts, 1);
            CHECK(xedge_ring_read(&reader, &line, low, high, 0) == XEDGE_RING_LINE);
            CHECK(line.number == n + (uint64_t)i && !memcmp(low, counts, sizeof low));
        }
        xedge_ring_close(&writer);
        CHECK(xedge_ring_read(&reader, &line, low, high, 0) == XEDGE_RING_ENDED);
    }
    xedge_ring_reader_close(&reader);
}

static void *write_fast(void *writer) {
    for (int64_t line = 0; line < 200000; line++) put((xedge_ring_writer *)writer, line);
    xedge_ring_close((xedge_ring_writer *)writer);
    return NULL;
}

/* The writer overtakes the reader again and again: no torn line comes, and all are accounted for. */
static void two_threads(const char *folder) {
    xedge_ring_writer writer;
    xedge_ring_reader reader;
    xedge_ring_line line;
    pthread_t thread;
    uint64_t taken = 0;
    anew(folder);
    CHECK(xedge_ring_open(&writer, path, &DETECTOR, CAPACITY) == 0);
    CHECK(xedge_ring_reader_open(&reader, path) == 0);
    CHECK(pthread_create(&thread, NULL, write_fast, &writer) == 0);
    while (get(&reader, &line, 10000000) == XEDGE_RING_LINE) taken++;
    pthread_join(thread, NULL);
    CHECK(taken > 0 && taken + reader.lost == 200000);
    xedge_ring_reader_close(&reader);
}

/* A reader that always stands at the oldest line, which is the next to be overwritten. */
static void at_the_edge(const char *folder) {
    xedge_ring_writer writer;
    xedge_ring_reader reader;
    xedge_ring_line line;
    pthread_t thread;
    uint64_t written, taken = 0;
    anew(folder);
    CHECK(xedge_ring_open(&writer, path, &DETECTOR, CAPACITY) == 0);
    CHECK(xedge_ring_reader_open(&reader, path) == 0);
    for (int64_t n = 0; n < CAPACITY; n++) put(&writer, n - CAPACITY);
    CHECK(pthread_create(&thread, NULL, write_fast, &writer) == 0);
    do {
        written = xedge_ring_load(&reader.ring, XEDGE_RING_WRITER_AT, XEDGE_RING_COUNT);
        reader.next = written - (CAPACITY - 1);
        taken += get(&reader, &line, 0) == XEDGE_RING_LINE;
    } while (written < 200000 + CAPACITY);
    pthread_join(thread, NULL);
    CHECK(taken > 0); /* how often it met the writer is chance; what came was whole */
    xedge_ring_reader_close(&reader);
}

static void write_at(off_t place, const void *bytes, size_t size) {
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && pwrite(fd, bytes, size, place) == (ssize_t)size);
    close(fd);
}

static void damage(const char *folder) {
    xedge_ring_writer writer;
    xedge_ring_reader reader;
    xedge_ring_line line;
    uint64_t begun = 2 * (CAPACITY + 1) + 1;
    uint16_t counts[ELEMENTS] = {0};
    const off_t at = XEDGE_RING_HEADER_BYTES;
    anew(folder);
    CHECK(xedge_ring_open(&writer, path, &DETECTOR, CAPACITY) == 0);
    CHECK(xedge_ring_reader_open(&reader, path) == 0);
    CHECK(strcmp(reader.detector.serial, "D-7") == 0 && reader.detector.elements == ELEMENTS);
    CHECK(get(&reader, &line, 0) == XEDGE_RING_NOTHING);
    for (int64_t n = 0; n < 3; n++) put(&writer, n);
    write_at(at + 256, &begun, 8); /* line 1 is being overwritten */
    CHECK(get(&reader, &line, 0) == XEDGE_RING_LINE && line.number == 0);
    CHECK(get(&reader, &line, 0) == XEDGE_RING_LINE && line.number == 2 && reader.lost == 1);
    xedge_ring_write(&writer, 3, 6, 0, counts, counts, 0);
    CHECK(xedge_ring_read(&reader, &line, counts, counts, 0) == XEDGE_RING_LINE && !line.intact);
    for (int64_t n = 4; n < 204; n++) put(&writer, n); /* the younger half is still sound */
    CHECK(get(&reader, &line, 0) == XEDGE_RING_LINE && line.number == 204 - CAPACITY / 2);
    CHECK(xedge_ring_load(&reader.ring, XEDGE_RING_READER_AT, XEDGE_RING_LOST) == reader.lost);
    while (get(&reader, &line, 0) == XEDGE_RING_LINE) continue;
    unlink(path);
    CHECK(get(&reader, &line, 0) == XEDGE_RING_GONE);
    put(&writer, 204); /* its writer may still be there */
    CHECK(get(&reader, &line, 0) == XEDGE_RING_LINE);
    xedge_ring_close(&writer);
    CHECK(get(&reader, &line, 0) == XEDGE_RING_ENDED);
    xedge_ring_reader_close(&reader);
}

/* A writer that comes and goes between two looks has ended the ring as any other. */
static void between_two_looks(const char *folder) {
    xedge_ring_writer writer;
    xedge_ring_reader reader;
    xedge_ring_line line;
    anew(folder);
    CHECK(xedge_ring_open(&writer, path, &DETECTOR, CAPACITY) == 0);
    xedge_ring_close(&writer);
    CHECK(xedge_ring_reader_open(&reader, path) == 0);
    CHECK(get(&reader, &line, 0) == XEDGE_RING_NOTHING);
    CHECK(xedge_ring_open(&writer, path, &DETECTOR, CAPACITY) == 0);
    put(&writer, 0);
    xedge_ring_close(&writer);
    CHECK(get(&reader, &line, 0) == XEDGE_RING_LINE);
    CHECK(get(&reader, &line, 0) == XEDGE_RING_ENDED);
    xedge_ring_reader_close(&reader);
}

static void what_is_refused(const char *folder) {
    xedge_ring_writer writer, second;
    xedge_ring_reader reader;
    xedge_ring_detector detector = DETECTOR;
    xedge_ring_line line;
    const off_t places[] = {0, 8, 10, 12, 16, 20, 25, 50, 252};
    unsigned char byte;
    anew(folder);
    CHECK(xedge_ring_open(&writer, path, &DETECTOR, 63) == EINVAL);
    CHECK(xedge_ring_open(&writer, path, &DETECTOR, 1u << 21) == EINVAL);
    detector.elements = 1;
    CHECK(xedge_ring_open(&writer, path, &detector, CAPACITY) == EINVAL);
    detector = DETECTOR, detector.pitch_mm = 0;
    CHECK(xedge_ring_open(&writer, path, &detector, CAPACITY) == EINVAL);
    detector = DETECTOR, detector.serial = "a serial number of 33 bytes......";
    CHECK(xedge_ring_open(&writer, path, &detector, CAPACITY) == EINVAL);
    CHECK(access(path, F_OK) != 0);
    CHECK(xedge_ring_open(&writer, path, &DETECTOR, CAPACITY) == 0);
    CHECK(xedge_ring_open(&second, path, &DETECTOR, CAPACITY) == EAGAIN);
    detector = DETECTOR, detector.serial = "D-8";
    CHECK(xedge_ring_open(&second, path, &detector, CAPACITY) == EINVAL);
    CHECK(xedge_ring_open(&second, path, &DETECTOR, 2 * CAPACITY) == EINVAL);
    xedge_ring_close(&writer);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int fd = open(path, O_RDWR);
        CHECK(pread(fd, &byte, 1, places[i]) == 1);
        close(fd);
        byte ^= 1;
        write_at(places[i], &byte, 1);
        CHECK(xedge_ring_reader_open(&reader, path) == EINVAL);
        byte ^= 1;
        write_at(places[i], &byte, 1);
    }
    CHECK(xedge_ring_reader_open(&reader, path) == 0);
    CHECK(get(&reader, &line, 0) == XEDGE_RING_NOTHING); /* closed before: its next writer comes */
    xedge_ring_reader_close(&reader);
    CHECK(truncate(path, 5000) == 0 && xedge_ring_reader_open(&reader, path) == EINVAL);
    CHECK(truncate(path, 100) == 0 && xedge_ring_reader_open(&reader, path) == EINVAL);
    unlink(path);
}

int main(int argc, char **argv) {
    const char *folder = argc > 1 ? argv[1] : "/dev/shm";
    what_is_refused(folder);
    damage(folder);
    between_two_looks(folder);
    a_writer_is_killed_and_another_goes_on(folder);
    a_reader_is_killed_and_another_goes_on(folder);
    a_writer_dies_in_the_middle_of_a_line(folder);
    two_threads(folder);
    at_the_edge(folder);
    unlink(path);
    return checks_failed != 0;
}
