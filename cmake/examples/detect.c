/*
 * Screen one scan: detect BUNDLE LOW HIGH ELEMENTS [ENGINE]
 *
 * LOW and HIGH are files of corrected counts: native uint16, line after line of ELEMENTS each.
 * Prints one detection a line: class, score, x1 y1 x2 y2 in detector elements and lines.
 * Without LOW and HIGH it screens the counts that the bundle carries.
 */
#include <stdio.h>
#include <stdlib.h>
#include <xedge/xedge.h>

static int failed(const char *what) {
    fprintf(stderr, "detect: %s: %s\n", what, xedge_last_error());
    return 1;
}

/* All counts of a file, NULL when it cannot be read. */
static uint16_t *read_counts(const char *path, size_t *count) {
    FILE *file = fopen(path, "rb");
    long size = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    uint16_t *counts = size > 0 ? malloc((size_t)size) : NULL;
    if (counts) {
        rewind(file);
        *count = fread(counts, sizeof *counts, (size_t)size / sizeof *counts, file);
    }
    if (file) fclose(file);
    return counts;
}

int main(int argc, char **argv) {
    xedge_bundle *bundle = NULL;
    xedge_detector *detector = NULL;
    xedge_model model = XEDGE_MODEL_INIT;
    xedge_options options = XEDGE_OPTIONS_INIT;
    xedge_scan scan = XEDGE_SCAN_INIT;
    xedge_detection found[200];
    size_t count = 0, lows = 0, highs = 0, i;
    uint16_t *low, *high;

    if (argc != 2 && argc != 5 && argc != 6)
        return fprintf(stderr, "usage: detect BUNDLE [LOW HIGH ELEMENTS [ENGINE]]\n"), 2;
    if (argc == 6) options.engine = argv[5];
    if (xedge_bundle_open(&bundle, argv[1]) || xedge_bundle_describe(&model, bundle) ||
        xedge_detector_open(&detector, bundle, &options))
        return failed("opening");

    if (argc == 2) {
        lows = highs = (size_t)model.golden_lines * (size_t)model.golden_elements;
        scan.elements = (size_t)model.golden_elements;
        low = malloc(lows * sizeof *low), high = malloc(highs * sizeof *high);
        if (!low || !high || xedge_bundle_golden(bundle, low, high, lows)) return failed("golden");
    } else {
        scan.elements = strtoul(argv[4], NULL, 10);
        low = read_counts(argv[2], &lows), high = read_counts(argv[3], &highs);
    }
    if (!low || !high || lows != highs || !scan.elements || lows % scan.elements)
        return fprintf(stderr, "detect: LOW and HIGH are not whole lines of one size\n"), 1;
    scan.low = low, scan.high = high, scan.lines = lows / scan.elements;

    if (xedge_detect_scan(detector, &scan, found, 200, &count)) return failed("screening");
    for (i = 0; i < count; ++i) {
        const char *name = NULL;
        xedge_bundle_class(&name, bundle, found[i].label);
        printf("%s %.9g  %.9g %.9g %.9g %.9g\n", name, found[i].score, found[i].x1, found[i].y1,
               found[i].x2, found[i].y2);
    }
    free(low), free(high);
    xedge_detector_close(detector);
    return xedge_bundle_close(bundle);
}
