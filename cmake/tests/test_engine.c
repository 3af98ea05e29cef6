/*
 * A real engine on the shipped bundle: test_engine BUNDLE ENGINE. Exit status 77 says that its
 * library is not here, which a cross build takes for skipped.
 */
#include <stdlib.h>
#include <xedge/xedge.h>

#include "check.h"

enum { SKIPPED = 77 };

int main(int argc, char **argv) {
    xedge_bundle *bundle = NULL;
    xedge_detector *detector = NULL;
    xedge_model model = XEDGE_MODEL_INIT;
    xedge_options options = XEDGE_OPTIONS_INIT;
    xedge_self_test_result result = XEDGE_SELF_TEST_INIT;
    xedge_scan scan = XEDGE_SCAN_INIT;
    xedge_detection found[100], again[100];
    const char *name = "";
    xedge_status opened;
    uint16_t *both;
    size_t counts, count = 0, second = 0, i;

    if (argc != 3) return 2;
    options.engine = argv[2];
    options.threads = 1;
    if (xedge_bundle_open(&bundle, argv[1]) || xedge_bundle_describe(&model, bundle))
        return fprintf(stderr, "%s\n", xedge_last_error()), 1;
    opened = xedge_detector_open(&detector, bundle, &options);
    if (opened || xedge_detector_engine(&name, detector))
        return fprintf(stderr, "%s\n", xedge_last_error()),
               opened == XEDGE_E_ENGINE_MISSING ? SKIPPED : 1;
    printf("%s\n", name);
    CHECK(xedge_self_test(&result, detector) == XEDGE_OK);
    CHECK(result.objects > 0 && result.missing == 0 && result.score_error <= result.limit);

    /* Low and high side by side in one line: two pointers, one stride. */
    counts = (size_t)model.golden_lines * (size_t)model.golden_elements;
    both = malloc(4 * counts * sizeof *both);
    if (!both || xedge_bundle_golden(bundle, both, both + counts, counts)) return 1;
    scan.low = both, scan.high = both + counts;
    scan.lines = (size_t)model.golden_lines, scan.elements = (size_t)model.golden_elements;
    CHECK(xedge_detect_scan(detector, &scan, found, 100, &count) == XEDGE_OK);
    CHECK(count > 0 && count <= 100);
    for (i = 1; i < count; ++i) CHECK(found[i].score <= found[i - 1].score);
    for (i = 0; i < scan.lines; ++i) {
        uint16_t *line = both + 2 * counts + 2 * i * scan.elements;
        memcpy(line, both + i * scan.elements, scan.elements * sizeof *line);
        memcpy(line + scan.elements, both + counts + i * scan.elements,
               scan.elements * sizeof *line);
    }
    scan.low = both + 2 * counts, scan.high = scan.low + scan.elements;
    scan.low_stride = scan.high_stride = 4 * scan.elements;
    CHECK(xedge_detect_scan(detector, &scan, again, 100, &second) == XEDGE_OK);
    CHECK(second == count && memcmp(found, again, count * sizeof *found) == 0);

    /* Too small a buffer loses nothing, and the next call reads all. */
    CHECK_FAILS(XEDGE_E_BUFFER, "xedge_detections",
                xedge_detect_scan(detector, &scan, again, 1, &second));
    CHECK(second == count && memcmp(found, again, sizeof *found) == 0);
    CHECK(xedge_detections(detector, again, 100, &second) == XEDGE_OK);
    CHECK(second == count && memcmp(found, again, count * sizeof *found) == 0);

    CHECK(xedge_detector_close(detector) == XEDGE_OK);
    options.library = "/nowhere/libengine.so";
    CHECK_FAILS(XEDGE_E_ENGINE_MISSING, "nowhere",
                xedge_detector_open(&detector, bundle, &options));
    options.library = "libm.so.6";
    CHECK_FAILS(XEDGE_E_ENGINE_LOAD, "libm.so.6",
                xedge_detector_open(&detector, bundle, &options));
    CHECK(xedge_bundle_close(bundle) == XEDGE_OK);
    free(both);
    return checks_failed != 0;
}
