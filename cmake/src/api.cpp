// The boundary: checks what comes in, and turns failures into a status and a message.
#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <new>

#include "arguments.hpp"
#include "detector.hpp"
#include "handles.hpp"
#include "xedge/xedge.h"

namespace {

using namespace xedge;

struct Screening {
    Screening(std::shared_ptr<const Bundle> bundle, const DetectorOptions& options)
        : detector(std::move(bundle), options) {}
    std::mutex busy;
    Detector detector;
};

// Never destroyed, so that a call during the program's exit still finds them.
auto& bundles() {
    static auto& table = *new Handles<xedge_bundle, const Bundle, 1>;
    return table;
}
auto& detectors() {
    static auto& table = *new Handles<xedge_detector, Screening, 2>;
    return table;
}

thread_local std::array<char, 1024> last_error{};

xedge_status failed(xedge_status status, const char* message) noexcept {
    const std::size_t length = std::min(std::strlen(message), last_error.size() - 1);
    std::memcpy(last_error.data(), message, length);
    last_error[length] = '\0';
    return status;
}

template <class Call>
xedge_status guarded(Call call) noexcept {
    try {
        call();
        return XEDGE_OK;
    } catch (const Failure& failure) {
        return failed(failure.status(), failure.what());
    } catch (const std::bad_alloc&) {
        return failed(XEDGE_E_MEMORY, "out of memory");
    } catch (const std::exception& error) {
        return failed(XEDGE_E_INTERNAL, error.what());
    } catch (...) {
        return failed(XEDGE_E_INTERNAL, "a fault of this library");
    }
}

struct Log {
    std::mutex mutex;
    xedge_log_callback callback = nullptr;
    void* payload = nullptr;
};
Log& log_target() {
    static Log& target = *new Log;
    return target;
}
void tell(xedge_log_level level, const std::string& message) {
    Log& log = log_target();
    const std::lock_guard<std::mutex> lock(log.mutex);
    if (log.callback) log.callback(level, message.c_str(), log.payload);
}

std::unique_lock<std::mutex> own(Screening& screening) {
    std::unique_lock<std::mutex> lock(screening.busy, std::try_to_lock);
    if (!lock)
        throw Failure(XEDGE_E_BUSY, "this detector is in use", "one thread at a time", "another",
                      "Open one detector a thread");
    return lock;
}

void give(const std::vector<Detection>& detections, xedge_detection* found, std::size_t capacity,
          std::size_t* count) {
    *count = detections.size();
    for (std::size_t i = 0; i < std::min(capacity, detections.size()); ++i) {
        const Detection& one = detections[i];
        found[i] = {one.box.x1, one.box.y1, one.box.x2, one.box.y2, one.score, one.label};
    }
    if (detections.size() > capacity)
        throw Failure(XEDGE_E_BUFFER, "the buffer is too small",
                      "room for " + std::to_string(detections.size()) + " detections",
                      std::to_string(capacity), "Read them all with xedge_detections");
}

template <class Work>
xedge_status with_detector(xedge_detector* handle, xedge_detection* found, std::size_t capacity,
                           std::size_t* count, Work work) noexcept {
    return guarded([&] {
        *needed(count, "count") = 0;
        if (capacity) needed(found, "found");
        const std::shared_ptr<Screening> screening = detectors().get(handle);
        const std::unique_lock<std::mutex> lock = own(*screening);
        work(screening->detector);
        give(screening->detector.found(), found, capacity, count);
    });
}

View bytes_of(const void* bytes, std::size_t size) {
    return {static_cast<const std::uint8_t*>(needed(bytes, "bytes")), size};
}

PublicKey key_of(const std::uint8_t* bytes) {
    PublicKey key;
    std::copy_n(needed(bytes, "key"), key.size(), key.begin());
    return key;
}

void fill_model(const Bundle& bundle, xedge_model& out) {
    const Spec& spec = bundle.spec;
    out.name = spec.name.c_str();
    out.licence = spec.licence.c_str();
    out.stage = spec.stage.c_str();
    out.variants = bundle.variant_names.c_str();
    out.sha256 = bundle.sha256.c_str();
    out.kind = spec.classifier ? XEDGE_CLASSIFIER : XEDGE_DETECTOR;
    out.channels = spec.dual_energy ? XEDGE_DUAL_ENERGY : XEDGE_PSEUDO_COLOUR;
    out.classes = static_cast<std::int32_t>(spec.classes.size());
    out.height = spec.height;
    out.width = spec.width;
    out.binning = spec.binning;
    out.candidates = spec.candidates;
    out.is_signed = bundle.is_signed;
    out.is_verified = bundle.is_verified;
    out.pixel_mm = spec.pixel_mm;
    out.score_threshold = spec.score_threshold;
    out.alarm_threshold = spec.alarm_threshold;
    out.nms_iou = spec.nms_iou;
    out.golden_lines = static_cast<std::int32_t>(bundle.golden_lines);
    out.golden_elements = static_cast<std::int32_t>(bundle.golden_elements);
}

}  // namespace

extern "C" {

const char* xedge_version(void) { return XEDGE_VERSION_TEXT; }

const char* xedge_status_name(xedge_status status) {
    switch (status) {
#define XEDGE_NAME(name, number, meaning) \
    case XEDGE_##name: return "XEDGE_" #name;
        XEDGE_STATUS_MAP(XEDGE_NAME)
#undef XEDGE_NAME
    }
    return "XEDGE_UNKNOWN";
}

const char* xedge_status_text(xedge_status status) {
    switch (status) {
#define XEDGE_TEXT(name, number, meaning) \
    case XEDGE_##name: return meaning;
        XEDGE_STATUS_MAP(XEDGE_TEXT)
#undef XEDGE_TEXT
    }
    return "no status of this library";
}

const char* xedge_last_error(void) { return last_error.data(); }

xedge_status xedge_set_log(xedge_log_callback callback, void* payload) {
    return guarded([&] {
        Log& log = log_target();
        const std::lock_guard<std::mutex> lock(log.mutex);
        log.callback = callback;
        log.payload = payload;
    });
}

xedge_status xedge_bundle_open(xedge_bundle** out, const char* path) {
    return guarded([&] {
        *needed(out, "out") = nullptr;
        *out = bundles().open(open_bundle(needed(path, "path")));
    });
}

xedge_status xedge_bundle_parse(xedge_bundle** out, const void* bytes, size_t size) {
    return guarded([&] {
        *needed(out, "out") = nullptr;
        *out = bundles().open(parse_bundle(bytes_of(bytes, size)));
    });
}

xedge_status xedge_public_key(uint8_t* out, const char* path) {
    return guarded([&] {
        needed(out, "out");
        const PublicKey key = read_public_key(needed(path, "path"));
        std::copy(key.begin(), key.end(), out);
    });
}

xedge_status xedge_bundle_open_signed(xedge_bundle** out, const char* path, const uint8_t* key) {
    return guarded([&] {
        *needed(out, "out") = nullptr;
        const PublicKey by = key_of(key);
        *out = bundles().open(open_bundle(needed(path, "path"), &by));
    });
}

xedge_status xedge_bundle_parse_signed(xedge_bundle** out, const void* bytes, size_t size,
                                       const uint8_t* key) {
    return guarded([&] {
        *needed(out, "out") = nullptr;
        const PublicKey by = key_of(key);
        *out = bundles().open(parse_bundle(bytes_of(bytes, size), &by));
    });
}

xedge_status xedge_bundle_describe(xedge_model* out, xedge_bundle* bundle) {
    return guarded([&] {
        needed(out, "out");
        xedge_model model = XEDGE_MODEL_INIT;
        fill_model(*bundles().get(bundle), model);
        write_struct(out, model, kModelV1, "out");
    });
}

xedge_status xedge_bundle_class(const char** out, xedge_bundle* bundle, int32_t label) {
    return guarded([&] {
        *needed(out, "out") = nullptr;
        const auto& classes = bundles().get(bundle)->spec.classes;
        if (label < 0 || static_cast<std::size_t>(label) >= classes.size())
            throw bad_argument("label", "0.." + std::to_string(classes.size() - 1),
                               std::to_string(label));
        *out = classes[static_cast<std::size_t>(label)].c_str();
    });
}

xedge_status xedge_bundle_golden(xedge_bundle* bundle, uint16_t* low, uint16_t* high,
                                 size_t capacity) {
    return guarded([&] {
        const auto opened = bundles().get(bundle);
        if (capacity < opened->golden_low.size())
            throw Failure(XEDGE_E_BUFFER, "the buffer is too small",
                          "room for " + std::to_string(opened->golden_low.size()) + " counts",
                          std::to_string(capacity));
        if (low) std::copy(opened->golden_low.begin(), opened->golden_low.end(), low);
        if (high) std::copy(opened->golden_high.begin(), opened->golden_high.end(), high);
    });
}

xedge_status xedge_bundle_close(xedge_bundle* bundle) {
    return guarded([&] {
        if (bundle) bundles().close(bundle);
    });
}

xedge_status xedge_detector_open(xedge_detector** out, xedge_bundle* bundle,
                                 const xedge_options* options) {
    return guarded([&] {
        *needed(out, "out") = nullptr;
        const DetectorOptions asked = read_options(options);
        const auto made = std::make_shared<Screening>(bundles().get(bundle), asked);
        *out = detectors().open(made);
        if (asked.engine == "null")
            tell(XEDGE_LOG_WARNING, "the null engine finds nothing: never screen bags with it");
        tell(XEDGE_LOG_INFO, "opened a detector on " + made->detector.engine());
    });
}

xedge_status xedge_detect_scan(xedge_detector* detector, const xedge_scan* scan,
                               xedge_detection* found, size_t capacity, size_t* count) {
    return with_detector(detector, found, capacity, count,
                         [&](Detector& opened) { opened.detect_scan(read_scan(scan)); });
}

xedge_status xedge_detect_window(xedge_detector* detector, const xedge_window* window,
                                 xedge_detection* found, size_t capacity, size_t* count) {
    return with_detector(detector, found, capacity, count,
                         [&](Detector& opened) { opened.detect_window(read_window(window)); });
}

xedge_status xedge_detections(xedge_detector* detector, xedge_detection* found, size_t capacity,
                              size_t* count) {
    return with_detector(detector, found, capacity, count, [](Detector&) {});
}

xedge_status xedge_self_test(xedge_self_test_result* out, xedge_detector* detector) {
    return guarded([&] {
        const std::shared_ptr<Screening> screening = detectors().get(detector);
        const std::unique_lock<std::mutex> lock = own(*screening);
        const SelfTest test = screening->detector.self_test();
        if (out) {
            xedge_self_test_result result = XEDGE_SELF_TEST_INIT;
            result.objects = test.objects;
            result.missing = test.missing;
            result.score_error = test.score_error;
            result.limit = test.limit;
            write_struct(out, result, kSelfTestV1, "out");
        }
        if (!test.passed())
            throw Failure(XEDGE_E_ENGINE_RUN,
                          "the engine does not reproduce the bundle's golden answer",
                          "scores within " + std::to_string(test.limit),
                          "scores off by " + std::to_string(test.score_error) + ", " +
                              std::to_string(test.missing) + " candidates without partner",
                          "Use another engine");
    });
}

xedge_status xedge_detector_engine(const char** out, xedge_detector* detector) {
    return guarded([&] {
        *needed(out, "out") = nullptr;
        *out = detectors().get(detector)->detector.engine().c_str();
    });
}

xedge_status xedge_detector_close(xedge_detector* detector) {
    return guarded([&] {
        if (detector) detectors().close(detector);
    });
}

xedge_status xedge_planes(uint8_t* planes, size_t capacity, const xedge_scan* scan,
                          int32_t binning) {
    return guarded([&] {
        needed(planes, "planes");
        const Pair pair = read_scan(scan);
        if (binning < 1 || binning > 8)
            throw bad_argument("binning", "1..8", std::to_string(binning));
        const auto block = static_cast<std::size_t>(binning);
        const std::size_t height = pair.lines / block, width = pair.elements / block;
        if (width && height > capacity / 3 / width)
            throw Failure(XEDGE_E_BUFFER, "the buffer is too small",
                          "3 * " + std::to_string(height) + " * " + std::to_string(width) +
                              " bytes",
                          std::to_string(capacity));
        encode(pair, block, planes, width, height * width);
    });
}

}  // extern "C"
