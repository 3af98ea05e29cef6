#include "arguments.hpp"

#include <cstdint>

namespace xedge {
namespace {

// What the first published header had; these numbers never change.
constexpr std::size_t kOptionsV1 = offsetof(xedge_options, reserved) + sizeof(std::uint32_t);
constexpr std::size_t kScanV1 = offsetof(xedge_scan, high_stride) + sizeof(std::size_t);
constexpr std::size_t kWindowV1 = offsetof(xedge_window, pixel_stride) + sizeof(std::size_t);

std::size_t stride_of(std::size_t given, std::size_t elements, const char* name) {
    if (given == 0) return elements;
    if (given % 2 || given / 2 < elements)
        throw Failure(XEDGE_E_INPUT, std::string(name) + " cannot be used",
                      "an even number of bytes, at least those of a line (" +
                          std::to_string(2 * elements) + ")",
                      std::to_string(given));
    return given / 2;
}

}  // namespace

Pair read_scan(const xedge_scan* given) {
    const xedge_scan scan = read_struct(given, xedge_scan XEDGE_SCAN_INIT, kScanV1, "scan");
    for (const auto* counts : {needed(scan.low, "scan->low"), needed(scan.high, "scan->high")})
        if (reinterpret_cast<std::uintptr_t>(counts) % alignof(std::uint16_t))
            throw Failure(XEDGE_E_INPUT, "counts cannot be used", "an even address", "an odd one");
    return {scan.low,
            scan.high,
            scan.lines,
            scan.elements,
            stride_of(scan.low_stride, scan.elements, "low_stride"),
            stride_of(scan.high_stride, scan.elements, "high_stride")};
}

Window read_window(const xedge_window* given) {
    const xedge_window window =
        read_struct(given, xedge_window XEDGE_WINDOW_INIT, kWindowV1, "window");
    Window out = {{window.planes[0], window.planes[1], window.planes[2]}, window.height,
                  window.width, window.row_stride, window.pixel_stride};
    for (const std::uint8_t* plane : out.planes) needed(plane, "window->planes");
    if (!out.pixel_stride) out.pixel_stride = 1;
    constexpr std::size_t most = 1u << 16;
    const bool small = out.width <= most && out.pixel_stride <= most;
    if (!out.row_stride && small) out.row_stride = out.width * out.pixel_stride;
    if (!small || out.row_stride / out.pixel_stride < out.width)
        throw Failure(XEDGE_E_INPUT, "the strides of a window cannot be used",
                      "rows of at least width * pixel_stride bytes",
                      std::to_string(out.row_stride));
    return out;
}

DetectorOptions read_options(const xedge_options* given) {
    const xedge_options defaults = XEDGE_OPTIONS_INIT;
    const xedge_options options =
        given ? read_struct(given, defaults, kOptionsV1, "options") : defaults;
    if (options.reserved) throw bad_argument("options->reserved", "0", "another number");
    DetectorOptions out;
    if (options.engine) out.engine = options.engine;
    if (options.library) out.library = options.library;
    if (options.variant) out.variant = options.variant;
    if (!out.library.empty() && out.engine == "auto")
        throw bad_argument("options->library", "an engine's name beside it", "none");
    out.threads = options.threads;
    out.score_threshold = options.score_threshold;
    out.null_latency_us = options.null_latency_us;
    return out;
}

}  // namespace xedge
