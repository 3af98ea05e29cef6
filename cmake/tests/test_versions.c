/*
 * A program of another version's header (OLDER or NEWER, see versions.cmake) against this library:
 * test_versions BUNDLE. What it does not know of is not touched, what it knows is right.
 */
#include <stdlib.h>
#include <xedge/xedge.h>

#include "check.h"

enum { GUARD = 0x5a, BYTES = 64 };

static xedge_bundle *bundle = NULL;

/* The description, with bytes behind it that no library may write. */
static xedge_model described(void) {
    struct {
        xedge_model model;
        unsigned char behind[BYTES];
    } out = {XEDGE_MODEL_INIT, {0}};
    size_t i;
    memset(out.behind, GUARD, BYTES);
    CHECK(xedge_bundle_describe(&out.model, bundle) == XEDGE_OK);
    for (i = 0; i < BYTES; ++i) CHECK(out.behind[i] == GUARD);
    CHECK(out.model.struct_size == sizeof out.model);
    return out.model;
}

static void a_description_is_whole(void) {
    const xedge_model model = described();
    CHECK(strlen(model.sha256) == 64 && model.kind == XEDGE_DETECTOR && model.classes > 0);
    CHECK(model.height > 0 && model.width > 0 && model.pixel_mm > 0.0);
    CHECK(model.golden_lines > 0 && model.golden_elements > 0);
#ifdef NEWER
    CHECK(model.added == 0);
#endif
}

/* Open, screen, ask: a whole program of that version. */
static void a_program_runs(void) {
    const xedge_model model = described();
    const size_t counts = (size_t)model.golden_lines * (size_t)model.golden_elements;
    uint16_t *low = malloc(counts * sizeof *low), *high = malloc(counts * sizeof *high);
    xedge_detector *detector = NULL;
    xedge_options options = XEDGE_OPTIONS_INIT;
    xedge_scan scan = XEDGE_SCAN_INIT;
    xedge_window window = XEDGE_WINDOW_INIT;
    xedge_self_test_result result = XEDGE_SELF_TEST_INIT;
    uint8_t planes[3 * 4];
    size_t count = 1;

    options.engine = "null";
    CHECK(low && high && xedge_bundle_golden(bundle, low, high, counts) == XEDGE_OK);
    CHECK(xedge_detector_open(&detector, bundle, &options) == XEDGE_OK);
    scan.low = low, scan.high = high, scan.lines = (size_t)model.golden_lines;
    scan.elements = (size_t)model.golden_elements;
    CHECK(xedge_detect_scan(detector, &scan, NULL, 0, &count) == XEDGE_OK && count == 0);
    scan.lines = 1, scan.elements = 4;
    CHECK(xedge_planes(planes, sizeof planes, &scan, 1) == XEDGE_OK);
    window.planes[0] = window.planes[1] = window.planes[2] = planes;
    window.height = window.width = 2;
    CHECK(xedge_detect_window(detector, &window, NULL, 0, &count) == XEDGE_OK);
    CHECK_FAILS(XEDGE_E_ENGINE_RUN, "golden", xedge_self_test(&result, detector));
    CHECK(result.objects > 0 && result.struct_size == sizeof result);

#ifdef NEWER
    /* A wish that this library does not know is refused, not passed over. */
    CHECK(result.added == 0);
    options.added = scan.added = window.added = 1;
    CHECK_FAILS(XEDGE_E_ARGUMENT, "newer", xedge_detect_scan(detector, &scan, NULL, 0, &count));
    CHECK_FAILS(XEDGE_E_ARGUMENT, "newer", xedge_detect_window(detector, &window, NULL, 0, &count));
    CHECK_FAILS(XEDGE_E_ARGUMENT, "newer", xedge_planes(planes, sizeof planes, &scan, 1));
    CHECK(xedge_detector_close(detector) == XEDGE_OK);
    CHECK_FAILS(XEDGE_E_ARGUMENT, "newer", xedge_detector_open(&detector, bundle, &options));
    CHECK(detector == NULL);
#else
    CHECK(xedge_detector_close(detector) == XEDGE_OK);
#endif
    free(low), free(high);
}

int main(int argc, char **argv) {
    if (argc != 2 || xedge_bundle_open(&bundle, argv[1]))
        return fprintf(stderr, "%s\n", xedge_last_error()), 1;
    a_description_is_whole();
    a_program_runs();
    CHECK(xedge_bundle_close(bundle) == XEDGE_OK);
    return checks_failed != 0;
}
