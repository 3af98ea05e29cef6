#include "detector.hpp"

#include <algorithm>
#include <cmath>

namespace xedge {
namespace {

constexpr std::size_t kMostDetections = 100;  // out of one window
constexpr float kInside = 0.5f;               // share of a box that must lie on real pixels
// Lines are numbered in float32 boxes, which hold whole numbers up to here.
constexpr std::size_t kMostLines = 1u << 24;

const Spec& detecting(const Spec& spec) {
    if (spec.classifier)
        throw Failure(XEDGE_E_ARGUMENT, "the model " + spec.name + " finds no objects",
                      "a detector", "a classifier", "Choose another bundle");
    return spec;
}

float threshold_of(const Spec& spec, float asked) {
    if (asked < 0.0f) return static_cast<float>(spec.score_threshold);
    if (!(asked <= 1.0f))
        throw Failure(XEDGE_E_ARGUMENT, "a score threshold cannot be used", "0..1",
                      std::to_string(asked));
    return asked;
}

int threads_of(int asked) {
    if (asked < 0 || asked > 1024)
        throw Failure(XEDGE_E_ARGUMENT, "a number of threads cannot be used", "0..1024",
                      std::to_string(asked));
    return asked ? asked : physical_cores();
}

std::string size_text(std::size_t height, std::size_t width) {
    return "[" + std::to_string(height) + ", " + std::to_string(width) + "]";
}

Failure broken_answer(const std::string& what, const std::string& expected) {
    return {XEDGE_E_ENGINE_RUN, "the model answered with " + what, expected, "",
            "Check the bundle with `xedge verify`, or use another engine"};
}

}  // namespace

Detector::Detector(std::shared_ptr<const Bundle> bundle, const DetectorOptions& options)
    : bundle_(std::move(bundle)),
      variant_(bundle_->variant(options.variant)),
      plan_(Plan::of(static_cast<std::size_t>(detecting(bundle_->spec).height),
                     static_cast<std::size_t>(bundle_->spec.binning))),
      threshold_(threshold_of(bundle_->spec, options.score_threshold)),
      nms_iou_(static_cast<float>(bundle_->spec.nms_iou)) {
    const Spec& spec = bundle_->spec;
    const auto k = static_cast<std::size_t>(spec.candidates);
    planes_.resize(3 * static_cast<std::size_t>(spec.height) * static_cast<std::size_t>(spec.width));
    answer_ = {std::vector<float>(4 * k), std::vector<float>(k), std::vector<std::int32_t>(k)};
    for (auto* list : {&in_window_, &scratch_, &found_}) list->reserve(k);
    const Buffers buffers = {planes_.data(), answer_.boxes.data(), answer_.scores.data(),
                             answer_.labels.data()};
    engine_ = load_engine(options.engine, {variant_.model, spec, buffers,
                                           threads_of(options.threads), options.library,
                                           options.null_latency_us});
    engine_name_ = engine_->version();
}

void Detector::detect_scan(const Pair& scan) {
    const Spec& spec = bundle_->spec;
    if (!spec.dual_energy)
        throw Failure(XEDGE_E_INPUT, "this model does not take counts",
                      "a model of dual-energy planes", "one of pseudo-colour",
                      "Give it a window of a picture, or choose another bundle");
    const std::size_t widest = static_cast<std::size_t>(spec.width) * plan_.binning;
    if (scan.lines < 1 || scan.lines > kMostLines || scan.elements < plan_.binning ||
        scan.elements > widest)
        throw Failure(XEDGE_E_INPUT, "a scan does not fit the model",
                      "lines of " + std::to_string(plan_.binning) + " to " +
                          std::to_string(widest) + " elements",
                      size_text(scan.lines, scan.elements),
                      "Crop or bin the lines, or use a bundle made for this detector");
    merger_.begin(plan_, scan.lines, scan.elements);
    const std::size_t windows = plan_.windows(scan.lines);
    for (std::size_t k = 0; k < windows; ++k) {
        encode_window(scan, plan_.start(k, scan.lines));
        merger_.add(k, windows, in_window_);
    }
    merger_.finish(nms_iou_, found_);
}

void Detector::encode_window(const Pair& scan, std::size_t start) {
    const auto height = static_cast<std::size_t>(bundle_->spec.height);
    const auto width = static_cast<std::size_t>(bundle_->spec.width);
    Pair part = scan;
    part.lines = std::min(plan_.lines, scan.lines - start);
    part.low += start * scan.low_stride;
    part.high += start * scan.high_stride;
    if (part.lines < plan_.binning) {
        // A scan shorter than the binning: its last line stands for the missing ones.
        part.low += (part.lines - 1) * part.low_stride;
        part.high += (part.lines - 1) * part.high_stride;
        part.low_stride = part.high_stride = 0;
        part.lines = plan_.binning;
    }
    fill_with_air();
    encode(part, plan_.binning, planes_.data(), width, height * width);
    screen(part.lines / plan_.binning, part.elements / plan_.binning);
}

void Detector::detect_window(const Window& window) {
    const auto height = static_cast<std::size_t>(bundle_->spec.height);
    const auto width = static_cast<std::size_t>(bundle_->spec.width);
    if (window.height < 1 || window.height > height || window.width < 1 || window.width > width)
        throw Failure(XEDGE_E_INPUT, "a window does not fit the model",
                      "three planes of up to " + size_text(height, width),
                      size_text(window.height, window.width),
                      "Prepare it with xedge_planes");
    fill_with_air();
    for (std::size_t plane = 0; plane < 3; ++plane)
        for (std::size_t y = 0; y < window.height; ++y) {
            const std::uint8_t* from = window.planes[plane] + y * window.row_stride;
            std::uint8_t* to = planes_.data() + (plane * height + y) * width;
            for (std::size_t x = 0; x < window.width; ++x) to[x] = from[x * window.pixel_stride];
        }
    screen(window.height, window.width);
    found_.assign(in_window_.begin(), in_window_.end());
}

void Detector::fill_with_air() {
    static constexpr std::uint8_t counts = kAirCounts >> 8;
    const std::uint8_t dual[3] = {counts, counts, ratio_plane(256)};
    const std::size_t plane = planes_.size() / 3;
    for (std::size_t i = 0; i < 3; ++i)
        std::fill_n(planes_.begin() + static_cast<std::ptrdiff_t>(i * plane), plane,
                    bundle_->spec.dual_energy ? dual[i] : std::uint8_t{255});
}

void Detector::screen(std::size_t height, std::size_t width) {
    const Spec& spec = bundle_->spec;
    engine_->run();
    check_answer();
    in_window_.clear();
    const auto whole_height = static_cast<float>(spec.height);
    const auto whole_width = static_cast<float>(spec.width);
    for (std::size_t i = 0; i < answer_.scores.size(); ++i) {
        if (answer_.scores[i] < threshold_) continue;
        const float* row = answer_.boxes.data() + 4 * i;
        const Box box = clipped({row[0], row[1], row[2], row[3]}, whole_height, whole_width);
        const Box real = clipped(box, static_cast<float>(height), static_cast<float>(width));
        if (area(real) > 0.0f && area(real) >= kInside * area(box))
            in_window_.push_back({real, answer_.scores[i], answer_.labels[i]});
    }
    suppress(in_window_, nms_iou_, kMostDetections, order_, scratch_);
}

void Detector::check_answer() const {
    // Thrown away whole: what else such an answer says cannot be trusted, and dropping rows would
    // make a broken model look like a clean bag.
    for (const float x : answer_.boxes)
        if (!std::isfinite(x)) throw broken_answer("boxes that are not finite", "finite boxes");
    for (const float score : answer_.scores)
        if (!(score >= 0.0f && score <= 1.0f))
            throw broken_answer("scores out of range", "finite ones of 0..1");
    for (const std::int32_t label : answer_.labels)
        if (label < 0 || static_cast<std::size_t>(label) >= bundle_->spec.classes.size())
            throw broken_answer("a label that is no class",
                                "0.." + std::to_string(bundle_->spec.classes.size() - 1));
}

namespace {

// Candidates of `these` that are sure to be there and have no partner among the others.
int without_partner(const Candidates& these, const Candidates& others, float sure, float near,
                    float overlap) {
    const auto box = [](const Candidates& of, std::size_t i) {
        const float* row = of.boxes.data() + 4 * i;
        return Box{row[0], row[1], row[2], row[3]};
    };
    int alone = 0;
    for (std::size_t i = 0; i < these.scores.size(); ++i) {
        if (!(these.scores[i] > sure)) continue;
        bool paired = false;
        for (std::size_t j = 0; j < others.scores.size() && !paired; ++j)
            paired = these.labels[i] == others.labels[j] &&
                     std::abs(these.scores[i] - others.scores[j]) <= near &&
                     iou(box(these, i), box(others, j)) >= overlap;
        alone += !paired;
    }
    return alone;
}

}  // namespace

SelfTest Detector::self_test() {
    const Spec& spec = bundle_->spec;
    if (!spec.dual_energy)
        throw Failure(XEDGE_E_INPUT, "this model cannot be tested here",
                      "a model of dual-energy planes", "one of pseudo-colour",
                      "Test it with `xedge verify`");
    const std::size_t elements = bundle_->golden_elements;
    encode_window({bundle_->golden_low.data(), bundle_->golden_high.data(), bundle_->golden_lines,
                   elements, elements, elements},
                  0);
    const Candidates& golden = variant_.golden;
    const auto near = static_cast<float>(variant_.score_tolerance);
    const auto overlap = static_cast<float>(variant_.iou_tolerance);
    const auto sure = static_cast<float>(spec.score_threshold + variant_.score_tolerance);
    SelfTest result;
    result.limit = variant_.score_tolerance;
    result.objects = static_cast<int>(
        std::count_if(golden.scores.begin(), golden.scores.end(),
                      [sure](float score) { return score > sure; }));
    result.missing = without_partner(golden, answer_, sure, near, overlap) +
                     without_partner(answer_, golden, sure, near, overlap);
    std::vector<float> ours = golden.scores, theirs = answer_.scores;
    std::sort(ours.begin(), ours.end());
    std::sort(theirs.begin(), theirs.end());
    for (std::size_t i = 0; i < ours.size(); ++i)
        result.score_error =
            std::max(result.score_error, static_cast<double>(std::abs(ours[i] - theirs[i])));
    return result;
}

}  // namespace xedge
