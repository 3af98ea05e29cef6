// One detector from two threads at once, and a close while another thread detects.
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include <xedge/xedge.hpp>

#include "check.h"

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    const xedge::Bundle bundle(argv[1]);
    xedge_options options = XEDGE_OPTIONS_INIT;
    options.engine = "null";
    options.null_latency_us = 20000;
    const std::vector<std::uint16_t> counts(64 * 64);
    xedge_scan scan = XEDGE_SCAN_INIT;
    scan.low = scan.high = counts.data();
    scan.lines = scan.elements = 64;

    xedge_detector* detector = nullptr;
    CHECK(xedge_detector_open(&detector, bundle.handle(), &options) == XEDGE_OK);
    std::atomic<int> done{0}, busy{0}, other{0};
    const auto work = [&] {
        for (int i = 0; i < 5; ++i) {
            std::size_t count = 0;
            xedge_model model = XEDGE_MODEL_INIT;
            if (xedge_bundle_describe(&model, bundle.handle()) != XEDGE_OK) ++other;
            switch (xedge_detect_scan(detector, &scan, nullptr, 0, &count)) {
                case XEDGE_OK: ++done; break;
                case XEDGE_E_BUSY: ++busy; break;
                default: ++other;
            }
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back(work);
    for (std::thread& thread : threads) thread.join();
    CHECK(done > 0 && busy > 0 && other == 0 && done + busy == 20);

    // Whichever comes first: it is finished, or refused as closed; never a crash.
    std::thread late([&] {
        std::size_t count = 0;
        const xedge_status status = xedge_detect_scan(detector, &scan, nullptr, 0, &count);
        if (status != XEDGE_OK && status != XEDGE_E_HANDLE) ++other;
    });
    CHECK(xedge_detector_close(detector) == XEDGE_OK);
    late.join();
    CHECK(other == 0);
    return checks_failed != 0;
}
