/* Every function of the header with good and bad input, on the null engine: test_api BUNDLE */
#include <stdint.h>
#include <stdlib.h>
#include <xedge/xedge.h>

#include "check.h"

static xedge_bundle *bundle = NULL;
static xedge_model model = XEDGE_MODEL_INIT;

static xedge_detector *null_detector(void) {
    xedge_detector *detector = NULL;
    xedge_options options = XEDGE_OPTIONS_INIT;
    options.engine = "null";
    CHECK(xedge_detector_open(&detector, bundle, &options) == XEDGE_OK);
    return detector;
}

static void statuses_have_names_and_texts(void) {
    CHECK(strcmp(xedge_status_name(XEDGE_E_BUSY), "XEDGE_E_BUSY") == 0);
    CHECK(strcmp(xedge_status_name((xedge_status)77), "XEDGE_UNKNOWN") == 0);
    CHECK(strstr(xedge_status_text(XEDGE_E_HANDLE), "closed") != NULL);
    CHECK(xedge_status_text((xedge_status)77) != NULL);
    CHECK(strcmp(xedge_version(), "0.1.0") == 0);
}

static void a_bundle_describes_itself(void) {
    const char *name = NULL;
    CHECK(strcmp(model.name, "") != 0);
    CHECK(strlen(model.sha256) == 64);
    CHECK(strstr(model.variants, "fp32") != NULL);
    CHECK(model.kind == XEDGE_DETECTOR && model.channels == XEDGE_DUAL_ENERGY);
    CHECK(model.classes > 0 && model.height > 0 && model.width > 0 && model.candidates > 0);
    CHECK(model.score_threshold <= model.alarm_threshold && model.alarm_threshold <= 1.0);
    CHECK(xedge_bundle_class(&name, bundle, 0) == XEDGE_OK && name && *name);
    CHECK_FAILS(XEDGE_E_ARGUMENT, "label", xedge_bundle_class(&name, bundle, model.classes));
    CHECK(name == NULL);
    CHECK_FAILS(XEDGE_E_ARGUMENT, "label", xedge_bundle_class(&name, bundle, -1));
    CHECK_FAILS(XEDGE_E_ARGUMENT, "out", xedge_bundle_class(NULL, bundle, 0));
    CHECK_FAILS(XEDGE_E_ARGUMENT, "out", xedge_bundle_describe(NULL, bundle));
    CHECK_FAILS(XEDGE_E_BUFFER, "counts", xedge_bundle_golden(bundle, NULL, NULL, 1));
}

static void structs_of_other_sizes(void) {
    struct {
        xedge_model known;
        uint64_t added;
    } newer = {XEDGE_MODEL_INIT, 7};
    struct {
        xedge_options known;
        uint64_t added;
    } options = {XEDGE_OPTIONS_INIT, 0};
    xedge_model smaller = XEDGE_MODEL_INIT;
    xedge_detector *detector = NULL;

    newer.known.struct_size = sizeof newer;
    CHECK(xedge_bundle_describe(&newer.known, bundle) == XEDGE_OK);
    CHECK(newer.added == 0 && newer.known.struct_size == sizeof newer);
    smaller.struct_size = 8;
    CHECK_FAILS(XEDGE_E_ARGUMENT, "struct_size", xedge_bundle_describe(&smaller, bundle));
    smaller.struct_size = 0;
    CHECK_FAILS(XEDGE_E_ARGUMENT, "INIT", xedge_bundle_describe(&smaller, bundle));
    smaller.struct_size = (size_t)-1;
    CHECK_FAILS(XEDGE_E_ARGUMENT, "struct_size", xedge_bundle_describe(&smaller, bundle));

    options.known.engine = "null";
    options.known.struct_size = sizeof options;
    CHECK(xedge_detector_open(&detector, bundle, &options.known) == XEDGE_OK);
    CHECK(xedge_detector_close(detector) == XEDGE_OK);
    options.added = 1; /* a wish of a newer program that this library cannot fulfil */
    CHECK_FAILS(XEDGE_E_ARGUMENT, "newer",
                xedge_detector_open(&detector, bundle, &options.known));
    CHECK(detector == NULL);
}

static void structs_that_nobody_wrote(void) {
    static const uint16_t counts[4] = {0, 0, 0, 0};
    static const size_t sizes[] = {0, 8, (size_t)-1};
    xedge_detector *detector = null_detector(), *refused = NULL;
    xedge_options options = XEDGE_OPTIONS_INIT;
    xedge_scan scan = XEDGE_SCAN_INIT;
    xedge_window window = XEDGE_WINDOW_INIT;
    xedge_self_test_result result = XEDGE_SELF_TEST_INIT;
    uint8_t planes[12];
    size_t count = 0, i;

    scan.low = scan.high = counts, scan.lines = 1, scan.elements = 4;
    for (i = 0; i < 3; ++i) {
        options.struct_size = scan.struct_size = window.struct_size = sizes[i];
        result.struct_size = sizes[i];
        CHECK_FAILS(XEDGE_E_ARGUMENT, "struct_size",
                    xedge_detector_open(&refused, bundle, &options));
        CHECK_FAILS(XEDGE_E_ARGUMENT, "struct_size",
                    xedge_detect_scan(detector, &scan, NULL, 0, &count));
        CHECK_FAILS(XEDGE_E_ARGUMENT, "struct_size", xedge_planes(planes, 12, &scan, 1));
        CHECK_FAILS(XEDGE_E_ARGUMENT, "struct_size",
                    xedge_detect_window(detector, &window, NULL, 0, &count));
        CHECK_FAILS(XEDGE_E_ARGUMENT, "struct_size", xedge_self_test(&result, detector));
        CHECK(refused == NULL && result.objects == 0 && result.struct_size == sizes[i]);
    }
    CHECK(xedge_detector_close(detector) == XEDGE_OK);
}

static void bad_options(void) {
    xedge_detector *detector = NULL;
    xedge_options options = XEDGE_OPTIONS_INIT;
    options.engine = "tarot";
    CHECK_FAILS(XEDGE_E_ARGUMENT, "openvino", xedge_detector_open(&detector, bundle, &options));
    options.engine = "null", options.variant = "fp1";
    CHECK_FAILS(XEDGE_E_ARGUMENT, "fp32", xedge_detector_open(&detector, bundle, &options));
    options.variant = NULL, options.score_threshold = 1.5f;
    CHECK_FAILS(XEDGE_E_ARGUMENT, "0..1", xedge_detector_open(&detector, bundle, &options));
    options.score_threshold = -1.0f, options.threads = -3;
    CHECK_FAILS(XEDGE_E_ARGUMENT, "threads", xedge_detector_open(&detector, bundle, &options));
    options.threads = 0, options.reserved = 1;
    CHECK_FAILS(XEDGE_E_ARGUMENT, "reserved", xedge_detector_open(&detector, bundle, &options));
    options.reserved = 0, options.engine = NULL, options.library = "libm.so.6";
    CHECK_FAILS(XEDGE_E_ARGUMENT, "engine", xedge_detector_open(&detector, bundle, &options));
    CHECK_FAILS(XEDGE_E_ARGUMENT, "out", xedge_detector_open(NULL, bundle, NULL));
    CHECK_FAILS(XEDGE_E_HANDLE, "NULL", xedge_detector_open(&detector, NULL, NULL));
}

static void scans(void) {
    enum { LINES = 40, ELEMENTS = 64 };
    static uint16_t low[LINES * ELEMENTS], high[LINES * ELEMENTS];
    xedge_detector *detector = null_detector();
    xedge_detection found[4];
    xedge_scan scan = XEDGE_SCAN_INIT;
    size_t count = 99;

    scan.low = low, scan.high = high, scan.lines = LINES, scan.elements = ELEMENTS;
    CHECK(xedge_detect_scan(detector, &scan, found, 4, &count) == XEDGE_OK && count == 0);
    CHECK(xedge_detect_scan(detector, &scan, NULL, 0, &count) == XEDGE_OK);
    scan.lines = 1; /* shorter than the binning */
    CHECK(xedge_detect_scan(detector, &scan, found, 4, &count) == XEDGE_OK);
    CHECK_FAILS(XEDGE_E_ARGUMENT, "count", xedge_detect_scan(detector, &scan, found, 4, NULL));
    CHECK_FAILS(XEDGE_E_ARGUMENT, "found", xedge_detect_scan(detector, &scan, NULL, 4, &count));
    CHECK_FAILS(XEDGE_E_ARGUMENT, "scan", xedge_detect_scan(detector, NULL, found, 4, &count));
    scan.lines = 0;
    CHECK_FAILS(XEDGE_E_INPUT, "[0, 64]", xedge_detect_scan(detector, &scan, found, 4, &count));
    scan.lines = (size_t)-1;
    CHECK_FAILS(XEDGE_E_INPUT, "fit", xedge_detect_scan(detector, &scan, found, 4, &count));
    scan.lines = 2, scan.elements = 100000;
    CHECK_FAILS(XEDGE_E_INPUT, "100000", xedge_detect_scan(detector, &scan, found, 4, &count));
    scan.elements = ELEMENTS, scan.low_stride = 2 * ELEMENTS - 2;
    CHECK_FAILS(XEDGE_E_INPUT, "low_stride", xedge_detect_scan(detector, &scan, found, 4, &count));
    scan.low_stride = 0, scan.high_stride = 2 * ELEMENTS + 1;
    CHECK_FAILS(XEDGE_E_INPUT, "even", xedge_detect_scan(detector, &scan, found, 4, &count));
    scan.high_stride = 0, scan.low = NULL;
    CHECK_FAILS(XEDGE_E_ARGUMENT, "low", xedge_detect_scan(detector, &scan, found, 4, &count));
    scan.low = (const uint16_t *)((const char *)low + 1);
    CHECK_FAILS(XEDGE_E_INPUT, "odd", xedge_detect_scan(detector, &scan, found, 4, &count));
    CHECK(xedge_detector_close(detector) == XEDGE_OK);
}

static void windows(void) {
    static uint8_t rgb[3 * 8 * 8];
    xedge_detector *detector = null_detector();
    xedge_window window = XEDGE_WINDOW_INIT;
    xedge_detection found[1];
    size_t count = 0;

    window.planes[0] = rgb, window.planes[1] = rgb + 1, window.planes[2] = rgb + 2;
    window.height = window.width = 8, window.pixel_stride = 3;
    CHECK(xedge_detect_window(detector, &window, found, 1, &count) == XEDGE_OK && count == 0);
    window.row_stride = 23;
    CHECK_FAILS(XEDGE_E_INPUT, "strides", xedge_detect_window(detector, &window, found, 1, &count));
    window.row_stride = 0, window.width = (size_t)-1;
    CHECK_FAILS(XEDGE_E_INPUT, "strides", xedge_detect_window(detector, &window, found, 1, &count));
    window.width = 8, window.height = 0;
    CHECK_FAILS(XEDGE_E_INPUT, "[0, 8]", xedge_detect_window(detector, &window, found, 1, &count));
    window.height = 8, window.planes[1] = NULL;
    CHECK_FAILS(XEDGE_E_ARGUMENT, "planes", xedge_detect_window(detector, &window, found, 1, &count));
    CHECK(xedge_detector_close(detector) == XEDGE_OK);
}

static void planes_of_counts(void) {
    /* Air, nothing behind lead, and a ratio of 2 by equation 1: 510 / (1 + exp(-2)) - 255 = 194.2 */
    static const uint16_t low[4] = {60000, 0, 1000, 65535}, high[4] = {60000, 0, 2000, 65535};
    uint8_t planes[12];
    xedge_scan scan = XEDGE_SCAN_INIT;
    scan.low = low, scan.high = high, scan.lines = 1, scan.elements = 4;
    CHECK(xedge_planes(planes, 12, &scan, 1) == XEDGE_OK);
    CHECK(planes[0] == 60000 / 256 && planes[4] == 60000 / 256 && planes[8] == 117);
    CHECK(planes[1] == 0 && planes[5] == 0 && planes[9] == 0);
    CHECK(planes[2] == 2000 / 256 && planes[6] == 1000 / 256 && planes[10] == 194);
    CHECK_FAILS(XEDGE_E_BUFFER, "3 * 1 * 4", xedge_planes(planes, 11, &scan, 1));
    CHECK_FAILS(XEDGE_E_ARGUMENT, "binning", xedge_planes(planes, 12, &scan, 9));
    CHECK_FAILS(XEDGE_E_ARGUMENT, "binning", xedge_planes(planes, 12, &scan, 0));
    CHECK_FAILS(XEDGE_E_ARGUMENT, "planes", xedge_planes(NULL, 12, &scan, 1));
}

static void after_close(void) {
    xedge_detector *first = null_detector(), *second;
    xedge_bundle *again = NULL;
    const char *text = NULL;
    size_t count = 0;
    int local = 0;

    CHECK(xedge_detector_engine(&text, first) == XEDGE_OK && strstr(text, "null"));
    CHECK(xedge_detector_close(first) == XEDGE_OK);
    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_detector_close(first));
    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_detections(first, NULL, 0, &count));
    second = null_detector(); /* takes the place of the first, and is not it */
    CHECK(second != first);
    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_self_test(NULL, first));
    CHECK(xedge_detections(second, NULL, 0, &count) == XEDGE_OK && count == 0);
    CHECK(xedge_detector_close(second) == XEDGE_OK);
    CHECK(xedge_detector_close(NULL) == XEDGE_OK && xedge_bundle_close(NULL) == XEDGE_OK);
    CHECK_FAILS(XEDGE_E_HANDLE, "never",
                xedge_detections((xedge_detector *)(void *)&local, NULL, 0, &count));
    CHECK_FAILS(XEDGE_E_HANDLE, "never",
                xedge_detections((xedge_detector *)(void *)bundle, NULL, 0, &count));
    CHECK_FAILS(XEDGE_E_BUNDLE, "read", xedge_bundle_open(&again, "nowhere.xedge"));
    CHECK(again == NULL);
    CHECK_FAILS(XEDGE_E_ARGUMENT, "path", xedge_bundle_open(&again, NULL));
    CHECK_FAILS(XEDGE_E_BUNDLE, "short", xedge_bundle_parse(&again, "PK", 2));
    CHECK_FAILS(XEDGE_E_BUNDLE, "short", xedge_bundle_parse(&again, "PK", 0));
}

static void no_function_takes_a_closed_handle(const char *path) {
    static const uint16_t counts[4] = {0, 0, 0, 0};
    static const uint8_t plane[4] = {0, 0, 0, 0};
    xedge_bundle *own = NULL;
    xedge_detector *detector = null_detector(), *refused = NULL;
    xedge_model other = XEDGE_MODEL_INIT;
    xedge_scan scan = XEDGE_SCAN_INIT;
    xedge_window window = XEDGE_WINDOW_INIT;
    const char *text = "";
    size_t count = 1;

    scan.low = scan.high = counts, scan.lines = 1, scan.elements = 4;
    window.planes[0] = window.planes[1] = window.planes[2] = plane;
    window.height = window.width = 2;
    CHECK(xedge_bundle_open(&own, path) == XEDGE_OK && xedge_bundle_close(own) == XEDGE_OK);
    CHECK(xedge_detector_close(detector) == XEDGE_OK);

    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_bundle_describe(&other, own));
    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_bundle_class(&text, own, 0));
    CHECK(text == NULL && other.classes == 0);
    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_bundle_golden(own, NULL, NULL, (size_t)-1));
    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_detector_open(&refused, own, NULL));
    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_bundle_close(own));
    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_detect_scan(detector, &scan, NULL, 0, &count));
    CHECK(refused == NULL && count == 0);
    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_detect_window(detector, &window, NULL, 0, &count));
    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_detections(detector, NULL, 0, &count));
    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_self_test(NULL, detector));
    text = "";
    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_detector_engine(&text, detector));
    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_detector_close(detector));
    CHECK(text == NULL);
}

static void too_many_are_refused(void) {
    xedge_detector *opened[64] = {NULL};
    xedge_options options = XEDGE_OPTIONS_INIT;
    xedge_detector *one_more = NULL;
    int i;
    options.engine = "null";
    for (i = 0; i < 64; ++i) CHECK(xedge_detector_open(&opened[i], bundle, &options) == XEDGE_OK);
    CHECK_FAILS(XEDGE_E_LIMIT, "64", xedge_detector_open(&one_more, bundle, &options));
    for (i = 0; i < 64; ++i) CHECK(xedge_detector_close(opened[i]) == XEDGE_OK);
}

static void a_detector_outlives_its_bundle(const char *path) {
    xedge_bundle *own = NULL;
    xedge_detector *detector = NULL;
    xedge_options options = XEDGE_OPTIONS_INIT;
    xedge_self_test_result result = XEDGE_SELF_TEST_INIT;
    options.engine = "null";
    CHECK(xedge_bundle_open(&own, path) == XEDGE_OK);
    CHECK(xedge_detector_open(&detector, own, &options) == XEDGE_OK);
    CHECK(xedge_bundle_close(own) == XEDGE_OK);
    CHECK_FAILS(XEDGE_E_HANDLE, "closed", xedge_bundle_close(own));
    /* What finds nothing must not pass for an engine that works. */
    CHECK_FAILS(XEDGE_E_ENGINE_RUN, "golden", xedge_self_test(&result, detector));
    CHECK(result.objects > 0 && result.missing == result.objects);
    CHECK(xedge_detector_close(detector) == XEDGE_OK);
}

static void count_warnings(xedge_log_level level, const char *message, void *payload) {
    if (level == XEDGE_LOG_WARNING && strstr(message, "null")) ++*(int *)payload;
}

static void the_log_warns_of_the_null_engine(void) {
    int warnings = 0;
    CHECK(xedge_set_log(count_warnings, &warnings) == XEDGE_OK);
    CHECK(xedge_detector_close(null_detector()) == XEDGE_OK && warnings == 1);
    CHECK(xedge_set_log(NULL, NULL) == XEDGE_OK);
    CHECK(xedge_detector_close(null_detector()) == XEDGE_OK && warnings == 1);
}

int main(int argc, char **argv) {
    CHECK(strcmp(xedge_last_error(), "") == 0);
    if (argc != 2 || xedge_bundle_open(&bundle, argv[1]) || xedge_bundle_describe(&model, bundle))
        return fprintf(stderr, "%s\n", xedge_last_error()), 1;
    statuses_have_names_and_texts();
    a_bundle_describes_itself();
    structs_of_other_sizes();
    structs_that_nobody_wrote();
    bad_options();
    scans();
    windows();
    planes_of_counts();
    after_close();
    no_function_takes_a_closed_handle(argv[1]);
    too_many_are_refused();
    a_detector_outlives_its_bundle(argv[1]);
    the_log_warns_of_the_null_engine();
    CHECK(xedge_bundle_close(bundle) == XEDGE_OK);
    return checks_failed != 0;
}
