/*
 * libxedge: detectors of prohibited items in X-ray baggage images, for programs in C and C++.
 *
 *     xedge_bundle *bundle = NULL;
 *     xedge_detector *detector = NULL;
 *     xedge_detection found[100];
 *     size_t count = 0;
 *     xedge_scan scan = XEDGE_SCAN_INIT;
 *
 *     scan.low = low, scan.high = high, scan.lines = 832, scan.elements = 800;
 *     if (xedge_bundle_open(&bundle, "default.xedge") ||
 *         xedge_detector_open(&detector, bundle, NULL) ||
 *         xedge_detect_scan(detector, &scan, found, 100, &count))
 *         fprintf(stderr, "%s\n", xedge_last_error());
 *     xedge_detector_close(detector);
 *     xedge_bundle_close(bundle);
 *
 * Conventions
 *   - What a function makes comes back through its first parameter, named `out`; on failure NULL is
 *     put there. A function that can fail returns an xedge_status: zero is success, a negative
 *     number a failure, and xedge_last_error() then has one sentence for a person.
 *   - Handles are opaque and may be used after they were closed, or never have been one: the answer
 *     is XEDGE_E_HANDLE, not a crash. Closing NULL does nothing.
 *   - Structs begin with struct_size; start from their XEDGE_..._INIT. A program that was compiled
 *     with an older or newer header keeps working: what it does not know takes its default, and
 *     what this library does not know must be zero.
 *   - Memory belongs to who made it. No function returns memory that the caller must free.
 *   - Only C crosses this boundary: no exception, no C++ type.
 *
 * Threads
 *   Each function says what it allows. "Any thread" means from several at once, on equal handles
 *   too. A detector does one thing at a time: a second thread gets XEDGE_E_BUSY at once and never
 *   waits. For work in parallel open more detectors of one bundle.
 */
#ifndef XEDGE_XEDGE_H
#define XEDGE_XEDGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) || !defined(__GNUC__)
#define XEDGE_API
#else
#define XEDGE_API __attribute__((visibility("default")))
#endif

#define XEDGE_VERSION_MAJOR 0
#define XEDGE_VERSION_MINOR 1
#define XEDGE_VERSION_PATCH 0

/* Name, number and meaning of every status: the one list that the enum and the texts come from. */
#define XEDGE_STATUS_MAP(X)                                                                       \
    X(OK, 0, "success")                                                                           \
    X(E_ARGUMENT, -1, "an argument is NULL, out of range, or a struct of a size nobody wrote")    \
    X(E_HANDLE, -2, "the handle was closed or never was one")                                     \
    X(E_BUSY, -3, "another thread uses this detector")                                            \
    X(E_BUFFER, -4, "the buffer is too small; it holds the best, and the count says how many")    \
    X(E_INPUT, -5, "a scan or window does not fit the model")                                     \
    X(E_BUNDLE, -6, "the bundle is missing, corrupt, or of another version")                      \
    X(E_ENGINE_MISSING, -7, "the library behind the engine is not here")                          \
    X(E_ENGINE_LOAD, -8, "the engine refused the model")                                          \
    X(E_ENGINE_RUN, -9, "the engine failed, or answered what cannot be trusted")                  \
    X(E_MEMORY, -10, "out of memory")                                                             \
    X(E_LIMIT, -11, "too many handles are open")                                                  \
    X(E_INTERNAL, -12, "a fault of this library")                                                 \
    X(E_SIGNATURE, -13, "not signed by the owner of the key, or that cannot be found out")

typedef enum xedge_status {
#define XEDGE_STATUS_ENUM(name, number, meaning) XEDGE_##name = number,
    XEDGE_STATUS_MAP(XEDGE_STATUS_ENUM)
#undef XEDGE_STATUS_ENUM
} xedge_status;

typedef struct xedge_bundle xedge_bundle;     /* a model as it is shipped, read and checked */
typedef struct xedge_detector xedge_detector; /* a model that is loaded into an engine */

/* --- About the library --------------------------------------------------------------------- */

/* Version of the library that runs, as "0.1.0"; XEDGE_VERSION_... are those of this header.
 * Any thread. Never NULL. */
XEDGE_API const char *xedge_version(void);

/* "XEDGE_E_BUSY" of a status; of a number that is none "XEDGE_UNKNOWN". Any thread. */
XEDGE_API const char *xedge_status_name(xedge_status status);

/* What a status means, a phrase. Any thread. Never NULL. */
XEDGE_API const char *xedge_status_text(xedge_status status);

/* What the last failure on the calling thread was: what is wrong, what was expected, what was
 * found, and what to do. Empty before the first. It stays until the next failure on that thread.
 * Any thread. Never NULL. */
XEDGE_API const char *xedge_last_error(void);

typedef enum xedge_log_level {
    XEDGE_LOG_WARNING = 1, /* it goes on, but somebody should look */
    XEDGE_LOG_INFO = 2     /* what was opened, and what it runs on */
} xedge_log_level;

typedef void (*xedge_log_callback)(xedge_log_level level, const char *message, void *payload);

/* Where messages go: nowhere before this, and after NULL. The callback runs on the thread that
 * called the library, must not call it in turn, and must not throw or jump.
 * Any thread; when it returns, the former callback is not running and never runs again. */
XEDGE_API xedge_status xedge_set_log(xedge_log_callback callback, void *payload);

/* --- Bundles ------------------------------------------------------------------------------- */

/* Read and check a .xedge file: sizes before anything is unpacked, every member's sha256 before it
 * is used. A signature in it is not checked: see xedge_bundle_open_signed. Any thread. */
XEDGE_API xedge_status xedge_bundle_open(xedge_bundle **out, const char *path);

/* The same from memory, which may be freed afterwards. Any thread. */
XEDGE_API xedge_status xedge_bundle_parse(xedge_bundle **out, const void *bytes, size_t size);

#define XEDGE_PUBLIC_KEY_SIZE 32

/* Read an Ed25519 public key from a PEM file (`xedge sign --new-key NAME` and `openssl pkey -pubout`
 * write such) into XEDGE_PUBLIC_KEY_SIZE bytes. Better than a file beside the bundle is a key that
 * is compiled into the program: who can replace one can replace both. Any thread. */
XEDGE_API xedge_status xedge_public_key(uint8_t *out, const char *path);

/* As xedge_bundle_open, for a bundle that must be signed by the owner of a key of
 * XEDGE_PUBLIC_KEY_SIZE bytes: XEDGE_E_SIGNATURE when it is not signed, or by somebody else, and
 * when that cannot be found out. OpenSSL does the arithmetic, found when it is first needed: its
 * libcrypto.so where the system's loader looks, or in XEDGE_CRYPTO_LIBRARY. Any thread. */
XEDGE_API xedge_status xedge_bundle_open_signed(xedge_bundle **out, const char *path,
                                                const uint8_t *key);

/* The same from memory, which may be freed afterwards. Any thread. */
XEDGE_API xedge_status xedge_bundle_parse_signed(xedge_bundle **out, const void *bytes, size_t size,
                                                 const uint8_t *key);

typedef enum xedge_channels {
    XEDGE_DUAL_ENERGY = 1,  /* high / 256, low / 256, and their ratio: made from counts */
    XEDGE_PSEUDO_COLOUR = 2 /* red, green, blue of a picture */
} xedge_channels;

typedef enum xedge_kind {
    XEDGE_DETECTOR = 1,  /* says where objects are */
    XEDGE_CLASSIFIER = 2 /* says which classes are there; no detector can be opened on it */
} xedge_kind;

/* What a model takes and gives. The texts live until the bundle is closed. */
typedef struct xedge_model {
    size_t struct_size;
    const char *name;
    const char *licence;  /* SPDX identifier of the weights' licence */
    const char *stage;    /* "refined" or "first-pass" */
    const char *variants; /* names of its graphs, separated by commas: "fp32,int8" */
    const char *sha256;   /* digest of the whole file, 64 hexadecimal digits */
    int32_t kind;         /* xedge_kind */
    int32_t channels;     /* xedge_channels */
    int32_t classes;      /* how many; xedge_bundle_class names them */
    int32_t height;       /* of the window, pixels of the planes (lines after binning) */
    int32_t width;        /* of the window, pixels of the planes (elements after binning) */
    int32_t binning;      /* lines and elements averaged into one pixel, each way */
    int32_t candidates;   /* K: rows that the graph gives a window */
    int32_t is_signed;    /* 1 when it carries a signature, whoever made it */
    double pixel_mm;      /* size of a pixel of the planes at the belt */
    double score_threshold; /* detections below are dropped by default */
    double alarm_threshold; /* a lane alarms at this score */
    double nms_iou;         /* overlap above which the weaker of two boxes of a class goes */
    int32_t golden_lines;   /* size of the recorded counts, see xedge_self_test */
    int32_t golden_elements;
    int32_t is_verified; /* 1 when it was opened with a key, which the signature is by */
    int32_t reserved;
} xedge_model;

/* Fill a description whose struct_size is set: xedge_model model = XEDGE_MODEL_INIT.
 * Any thread. */
XEDGE_API xedge_status xedge_bundle_describe(xedge_model *out, xedge_bundle *bundle);
#define XEDGE_MODEL_INIT \
    { sizeof(xedge_model), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0 }

/* Name of the class that a detection's label means; it lives until the bundle is closed.
 * Any thread. */
XEDGE_API xedge_status xedge_bundle_class(const char **out, xedge_bundle *bundle, int32_t label);

/* Copy the bundle's golden input, golden_lines * golden_elements corrected counts each: something
 * to try a detector on without a scanner. Either may be NULL. Any thread. */
XEDGE_API xedge_status xedge_bundle_golden(xedge_bundle *bundle, uint16_t *low, uint16_t *high,
                                           size_t capacity);

/* Detectors of the bundle go on. Any thread. */
XEDGE_API xedge_status xedge_bundle_close(xedge_bundle *bundle);

/* --- Detectors ----------------------------------------------------------------------------- */

typedef struct xedge_options {
    size_t struct_size;
    /* "openvino", "onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt", or "auto": the first
     * of openvino and onnxruntime that is here. NULL means "auto". "null" finds nothing, after
     * null_latency_us: it is for tests of timing, never for bags, and "auto" never takes it. */
    const char *engine;
    const char *library;   /* file of the engine's library; NULL looks where README.md says */
    const char *variant;   /* which graph; NULL means "fp32" */
    int32_t threads;       /* of one run; 0 means every physical core this process may use */
    float score_threshold; /* 0..1; a negative one means the model's own */
    uint32_t null_latency_us;
    uint32_t reserved; /* zero */
} xedge_options;
#define XEDGE_OPTIONS_INIT \
    { sizeof(xedge_options), NULL, NULL, NULL, 0, -1.0f, 0u, 0u }

/* Load a model into an engine. NULL options mean XEDGE_OPTIONS_INIT. Takes from tenths of a second
 * to seconds. The bundle may be closed afterwards. Any thread. */
XEDGE_API xedge_status xedge_detector_open(xedge_detector **out, xedge_bundle *bundle,
                                           const xedge_options *options);

/* Corrected counts of both energies, air being about 60000: `lines` of `elements` each. A stride
 * is the distance in bytes from one line to the next, even, and at least 2 * elements; zero means
 * exactly that. Lines that hold low and high side by side are two pointers with one stride. */
typedef struct xedge_scan {
    size_t struct_size;
    const uint16_t *low;
    const uint16_t *high;
    size_t lines;
    size_t elements;
    size_t low_stride;
    size_t high_stride;
} xedge_scan;
#define XEDGE_SCAN_INIT \
    { sizeof(xedge_scan), NULL, NULL, 0, 0, 0, 0 }

/* One window as the model sees it: three planes of bytes. Their pixels lie pixel_stride bytes
 * apart (0 means 1, 3 suits interleaved RGB) and their rows row_stride bytes (0 means
 * width * pixel_stride). What is missing to the model's window at the right and the bottom is
 * filled with air. */
typedef struct xedge_window {
    size_t struct_size;
    const uint8_t *planes[3];
    size_t height;
    size_t width;
    size_t row_stride;
    size_t pixel_stride;
} xedge_window;
#define XEDGE_WINDOW_INIT \
    { sizeof(xedge_window), {NULL, NULL, NULL}, 0, 0, 0, 0 }

/* Where a class was found. x runs across the belt, y along it. This struct never grows. */
typedef struct xedge_detection {
    float x1, y1, x2, y2;
    float score;   /* 0..1 */
    int32_t label; /* see xedge_bundle_class */
} xedge_detection;

/* What is found in a scan of any length, best first, in detector elements and lines. The scan is
 * cut into windows that overlap; what is found in them is put together.
 *
 * `*count` becomes how many were found. When that is above `capacity` the best of them are in
 * `found` and the status is XEDGE_E_BUFFER; xedge_detections reads them all, without a second run.
 * After a scan of some length, one that is not longer allocates no memory here.
 * One thread at a time a detector; others get XEDGE_E_BUSY. */
XEDGE_API xedge_status xedge_detect_scan(xedge_detector *detector, const xedge_scan *scan,
                                         xedge_detection *found, size_t capacity, size_t *count);

/* What is found in one window, best first, in its pixels; otherwise as xedge_detect_scan. */
XEDGE_API xedge_status xedge_detect_window(xedge_detector *detector, const xedge_window *window,
                                           xedge_detection *found, size_t capacity,
                                           size_t *count);

/* What the last successful detection found, again. One thread at a time a detector. */
XEDGE_API xedge_status xedge_detections(xedge_detector *detector, xedge_detection *found,
                                        size_t capacity, size_t *count);

/* How far an engine's answer to the bundle's golden input is from the recorded one. */
typedef struct xedge_self_test_result {
    size_t struct_size;
    int32_t objects;    /* recorded candidates that had to be found again */
    int32_t missing;    /* candidates without a partner on the other side */
    double score_error; /* largest difference of a score */
    double limit;       /* what the bundle allows it to be */
} xedge_self_test_result;
#define XEDGE_SELF_TEST_INIT \
    { sizeof(xedge_self_test_result), 0, 0, 0.0, 0.0 }

/* Screen the bundle's golden counts: XEDGE_OK when the answer is the recorded one, and
 * XEDGE_E_ENGINE_RUN when it is not. `out` may be NULL. Also warms the engine up.
 * One thread at a time a detector. */
XEDGE_API xedge_status xedge_self_test(xedge_self_test_result *out, xedge_detector *detector);

/* What the detector runs on, as "OpenVINO 2026.4.1"; it lives until the detector is closed.
 * Any thread. */
XEDGE_API xedge_status xedge_detector_engine(const char **out, xedge_detector *detector);

/* A detection that runs on another thread is finished first, by that thread. Any thread. */
XEDGE_API xedge_status xedge_detector_close(xedge_detector *detector);

/* --- Without a model ----------------------------------------------------------------------- */

/* The three planes (high, low, ratio) of a dual-energy pair, plane after plane:
 * 3 * (lines / binning) * (elements / binning) bytes. Binning is 1 to 8. Any thread. */
XEDGE_API xedge_status xedge_planes(uint8_t *planes, size_t capacity, const xedge_scan *scan,
                                    int32_t binning);

/* Functions of the lane will follow here; none of the above will change for them. */

#ifdef __cplusplus
}
#endif

#endif
