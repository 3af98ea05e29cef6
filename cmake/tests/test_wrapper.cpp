// The C++ wrapper: owners that move, exceptions with the library's sentence.
#include <type_traits>
#include <utility>
#include <vector>

#include <xedge/xedge.hpp>

#include "check.h"

static_assert(!std::is_copy_constructible_v<xedge::Bundle>);
static_assert(!std::is_copy_constructible_v<xedge::Detector>);

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    xedge::Bundle first(argv[1]);
    const xedge::Bundle bundle = std::move(first);
    CHECK(first.handle() == nullptr);  // NOLINT: what a moved-from owner holds is the point
    CHECK(!bundle.class_name(0).empty() && bundle.model().classes > 0);

    CHECK(bundle.model().is_verified == 0);
    try {
        const xedge::Bundle by_somebody(argv[1], xedge::PublicKey(xedge::PublicKey::Bytes{}));
        CHECK(!"it is not signed");
    } catch (const xedge::Error& error) {
        CHECK(error.status() == XEDGE_E_SIGNATURE && strstr(error.what(), argv[1]));
    }

    xedge_options options = xedge::default_options();
    options.engine = "null";
    xedge::Detector one(bundle, options), detector(bundle, options);
    detector = std::move(one);
    CHECK(detector.engine().find("null") != std::string::npos);
    const std::vector<std::uint16_t> counts(100 * 100);
    xedge_scan scan = XEDGE_SCAN_INIT;
    scan.low = scan.high = counts.data();
    scan.lines = scan.elements = 100;
    CHECK(detector.scan(scan).empty());
    const std::vector<std::uint8_t> pixels(100);
    xedge_window window = XEDGE_WINDOW_INIT;
    window.planes[0] = window.planes[1] = window.planes[2] = pixels.data();
    window.height = window.width = 10;
    CHECK(detector.window(window).empty());

    try {
        detector.self_test();
        CHECK(!"the null engine passes the self test");
    } catch (const xedge::Error& error) {
        CHECK(error.status() == XEDGE_E_ENGINE_RUN);
        CHECK(strstr(error.what(), "golden"));
    }
    try {
        const xedge::Bundle none("", 0);
        CHECK(!"nothing is a bundle");
    } catch (const xedge::Error& error) {
        CHECK(error.status() == XEDGE_E_BUNDLE);
    }
    return checks_failed != 0;
}
