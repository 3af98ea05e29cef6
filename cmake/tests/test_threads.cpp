// Handles from several threads at once: one detector, a close while another thread works, and what
// any thread may do at any time.
#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <xedge/xedge.hpp>

#include "check.h"

namespace {

using Detect = xedge_status (*)(xedge_detector*);

const std::vector<std::uint16_t> counts(64 * 64);

xedge_status scan(xedge_detector* detector) {
    xedge_scan given = XEDGE_SCAN_INIT;
    given.low = given.high = counts.data();
    given.lines = given.elements = 64;
    std::size_t count = 0;
    return xedge_detect_scan(detector, &given, nullptr, 0, &count);
}

xedge_status window(xedge_detector* detector) {
    const auto* plane = reinterpret_cast<const std::uint8_t*>(counts.data());
    xedge_window given = XEDGE_WINDOW_INIT;
    given.planes[0] = given.planes[1] = given.planes[2] = plane;
    given.height = given.width = 8;
    std::size_t count = 0;
    return xedge_detect_window(detector, &given, nullptr, 0, &count);
}

xedge_status detections(xedge_detector* detector) {
    std::size_t count = 0;
    return xedge_detections(detector, nullptr, 0, &count);
}

xedge_status self_test(xedge_detector* detector) { return xedge_self_test(nullptr, detector); }

xedge_detector* null_detector(xedge_bundle* bundle, std::uint32_t latency_us) {
    xedge_detector* detector = nullptr;
    xedge_options options = XEDGE_OPTIONS_INIT;
    options.engine = "null";
    options.null_latency_us = latency_us;
    CHECK(xedge_detector_open(&detector, bundle, &options) == XEDGE_OK);
    return detector;
}

template <class Work>
void on_threads(int count, Work work) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) threads.emplace_back(work, i);
    for (std::thread& thread : threads) thread.join();
}

void one_detector_does_one_thing_at_a_time(xedge_bundle* bundle) {
    xedge_detector* detector = null_detector(bundle, 20000);
    std::atomic<int> done{0}, busy{0}, other{0};
    on_threads(4, [&](int) {
        for (int i = 0; i < 5; ++i) {
            xedge_model model = XEDGE_MODEL_INIT;
            if (xedge_bundle_describe(&model, bundle) != XEDGE_OK) ++other;
            switch (scan(detector)) {
                case XEDGE_OK: ++done; break;
                case XEDGE_E_BUSY: ++busy; break;
                default: ++other;
            }
        }
    });
    CHECK(done > 0 && busy > 0 && other == 0 && done + busy == 20);
    CHECK(xedge_detector_close(detector) == XEDGE_OK);
}

// While a scan runs the others are told so at once; what only reads goes on.
void every_function_says_that_a_detector_is_busy(xedge_bundle* bundle) {
    xedge_detector* detector = null_detector(bundle, 2000);
    std::atomic<bool> stop{false};
    std::atomic<int> other{0};
    std::thread working([&] {
        while (!stop) {
            const xedge_status status = scan(detector);
            if (status != XEDGE_OK && status != XEDGE_E_BUSY) ++other;
        }
    });
    for (const Detect call : {Detect(scan), Detect(window), Detect(detections), Detect(self_test)}) {
        xedge_status status = XEDGE_OK;
        while (status != XEDGE_E_BUSY) {  // the test's own time limit ends what never comes
            status = call(detector);
            const char* engine = nullptr;
            if (xedge_detector_engine(&engine, detector) != XEDGE_OK) ++other;
        }
        CHECK(std::strstr(xedge_last_error(), "in use") != nullptr);
    }
    stop = true;
    working.join();
    CHECK(other == 0 && xedge_detector_close(detector) == XEDGE_OK);
}

// Whichever comes first: it is finished, or refused as closed; never a crash. One closes it.
void a_close_meets_other_calls(xedge_bundle* bundle) {
    for (int round = 0; round < 20; ++round) {
        xedge_detector* detector = null_detector(bundle, 500);
        std::atomic<int> closed{0}, other{0};
        on_threads(4, [&](int index) {
            const xedge_status status = index % 2 ? scan(detector) : xedge_detector_close(detector);
            if (index % 2 == 0 && status == XEDGE_OK) ++closed;
            if (status != XEDGE_OK && status != XEDGE_E_HANDLE && status != XEDGE_E_BUSY) ++other;
        });
        CHECK(closed == 1 && other == 0);
    }
}

// Detectors of one bundle are opened, used and closed on all threads while it is closed itself.
void a_bundle_is_closed_under_its_users(const char* path) {
    xedge_bundle* bundle = nullptr;
    CHECK(xedge_bundle_open(&bundle, path) == XEDGE_OK);
    std::atomic<int> closed{0}, other{0};
    on_threads(4, [&](int index) {
        xedge_options options = XEDGE_OPTIONS_INIT;
        options.engine = "null";
        for (int i = 0; i < 50; ++i) {
            if (index == i % 4 && i > 20 && xedge_bundle_close(bundle) == XEDGE_OK) ++closed;
            xedge_detector* detector = nullptr;
            const xedge_status status = xedge_detector_open(&detector, bundle, &options);
            if (status == XEDGE_E_HANDLE) continue;
            if (status != XEDGE_OK || scan(detector) != XEDGE_OK ||
                xedge_detector_close(detector) != XEDGE_OK)
                ++other;
        }
    });
    CHECK(closed == 1 && other == 0);
}

// Each thread reads the sentence of its own failure, whatever the others fail at.
void failures_are_a_threads_own() {
    std::atomic<int> other{0};
    on_threads(4, [&](int index) {
        const std::string name = "nowhere-" + std::to_string(index) + ".xedge";
        for (int i = 0; i < 100; ++i) {
            xedge_bundle* bundle = nullptr;
            if (xedge_bundle_open(&bundle, name.c_str()) != XEDGE_E_BUNDLE ||
                !std::strstr(xedge_last_error(), name.c_str()))
                ++other;
        }
    });
    CHECK(other == 0);
}

// The callback that is replaced has ended: what it wrote to may go.
void the_log_is_changed_while_others_write(xedge_bundle* bundle) {
    const auto note = [](xedge_log_level, const char*, void* payload) {
        ++*static_cast<std::atomic<int>*>(payload);
    };
    on_threads(3, [&](int index) {
        for (int i = 0; i < 50; ++i) {
            if (index) {
                CHECK(xedge_detector_close(null_detector(bundle, 0)) == XEDGE_OK);
                continue;
            }
            std::atomic<int> messages{0};
            CHECK(xedge_set_log(note, &messages) == XEDGE_OK);
            CHECK(xedge_set_log(nullptr, nullptr) == XEDGE_OK);
        }
    });
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    const xedge::Bundle bundle(argv[1]);
    one_detector_does_one_thing_at_a_time(bundle.handle());
    every_function_says_that_a_detector_is_busy(bundle.handle());
    a_close_meets_other_calls(bundle.handle());
    a_bundle_is_closed_under_its_users(argv[1]);
    failures_are_a_threads_own();
    the_log_is_changed_while_others_write(bundle.handle());
    return checks_failed != 0;
}
