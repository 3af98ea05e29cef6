#pragma once

#include <memory>
#include <string>
#include <vector>

#include "boxes.hpp"
#include "encode.hpp"
#include "engine.hpp"

namespace xedge {

struct DetectorOptions {
    std::string engine = "auto", library, variant = "fp32";
    int threads = 0;
    float score_threshold = -1.0f;
    std::uint32_t null_latency_us = 0;
};

// One window in the caller's memory, see xedge_window.
struct Window {
    const std::uint8_t* planes[3];
    std::size_t height, width, row_stride, pixel_stride;
};

struct SelfTest {
    int objects = 0, missing = 0;
    double score_error = 0.0, limit = 0.0;
    bool passed() const { return missing == 0 && score_error <= limit; }
};

// A loaded model that finds objects, as xedge/detector.py. One thread at a time.
class Detector {
public:
    Detector(std::shared_ptr<const Bundle> bundle, const DetectorOptions& options);

    void detect_scan(const Pair& scan);
    void detect_window(const Window& window);
    SelfTest self_test();

    // What the last detection found, best first.
    const std::vector<Detection>& found() const { return found_; }
    const std::string& engine() const { return engine_name_; }

private:
    void fill_with_air();
    void encode_window(const Pair& scan, std::size_t start);
    void screen(std::size_t height, std::size_t width);
    void check_answer() const;

    std::shared_ptr<const Bundle> bundle_;
    const Variant& variant_;
    Plan plan_;
    float threshold_, nms_iou_;
    std::vector<std::uint8_t> planes_;
    Candidates answer_;
    std::vector<Detection> in_window_, scratch_, found_;
    std::vector<std::uint32_t> order_;
    Merger merger_;
    std::unique_ptr<Engine> engine_;  // reads and writes the buffers above, so it goes first
    std::string engine_name_;
};

}  // namespace xedge
