/* Thousands of detections in a row: no memory is asked for after the first. test_steady BUNDLE */
#include <stdlib.h>
#include <xedge/xedge.h>

#include "check.h"

/* The C library calls this in place of its own for the whole program, libxedge included. */
extern void *__libc_malloc(size_t size);
static unsigned long allocations = 0;
void *malloc(size_t size);
void *malloc(size_t size) {
    ++allocations;
    return __libc_malloc(size);
}

int main(int argc, char **argv) {
    enum { LINES = 2000, ELEMENTS = 64, CALLS = 10000 };
    static uint16_t counts[LINES * ELEMENTS];
    static uint8_t pixels[64 * 64];
    xedge_bundle *bundle = NULL;
    xedge_detector *detector = NULL;
    xedge_options options = XEDGE_OPTIONS_INIT;
    xedge_scan scan = XEDGE_SCAN_INIT;
    xedge_window window = XEDGE_WINDOW_INIT;
    unsigned long before;
    size_t count = 0;
    int i, failures = 0;

    options.engine = "null";
    if (argc != 2 || xedge_bundle_open(&bundle, argv[1]) ||
        xedge_detector_open(&detector, bundle, &options))
        return fprintf(stderr, "%s\n", xedge_last_error()), 1;
    CHECK(allocations > 0); /* or nothing was counted */
    scan.low = scan.high = counts, scan.elements = ELEMENTS;
    window.planes[0] = window.planes[1] = window.planes[2] = pixels;
    window.height = window.width = 64;

    scan.lines = LINES;
    failures += xedge_detect_scan(detector, &scan, NULL, 0, &count) != XEDGE_OK;
    before = allocations;
    for (i = 0; i < CALLS; ++i) {
        scan.lines = i % 100 ? 64 : LINES;
        failures += xedge_detect_scan(detector, &scan, NULL, 0, &count) != XEDGE_OK;
        failures += i % 10 == 0 && xedge_detect_window(detector, &window, NULL, 0, &count);
    }
    CHECK(failures == 0);
    CHECK(allocations == before);
    CHECK(xedge_detector_close(detector) == XEDGE_OK && xedge_bundle_close(bundle) == XEDGE_OK);
    return checks_failed != 0;
}
