#include "boxes.hpp"

#include <algorithm>
#include <numeric>

namespace xedge {
namespace {

constexpr std::size_t kOverlapLines = 128, kEdgePixels = 2;
constexpr float kSameObject = 0.5f;

}  // namespace

float area(const Box& box) {
    return std::max(box.x2 - box.x1, 0.0f) * std::max(box.y2 - box.y1, 0.0f);
}

float intersection(const Box& a, const Box& b) {
    const float width = std::max(std::min(a.x2, b.x2) - std::max(a.x1, b.x1), 0.0f);
    const float height = std::max(std::min(a.y2, b.y2) - std::max(a.y1, b.y1), 0.0f);
    return width * height;
}

float iou(const Box& a, const Box& b) {
    const float shared = intersection(a, b);
    const float united = area(a) + area(b) - shared;
    return united > 0.0f ? shared / united : 0.0f;
}

Box clipped(const Box& box, float height, float width) {
    const auto within = [](float x, float limit) { return std::min(std::max(x, 0.0f), limit); };
    return {within(box.x1, width), within(box.y1, height), within(box.x2, width),
            within(box.y2, height)};
}

void suppress(std::vector<Detection>& found, float threshold, std::size_t limit,
              std::vector<std::uint32_t>& order, std::vector<Detection>& kept) {
    order.resize(found.size());
    std::iota(order.begin(), order.end(), 0u);
    // Index as the second key is what a stable sort does, without the memory that one takes.
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        return found[a].score != found[b].score ? found[a].score > found[b].score : a < b;
    });
    kept.clear();
    for (const std::uint32_t i : order) {
        if (kept.size() == limit) break;
        const Detection& next = found[i];
        const bool covered = std::any_of(kept.begin(), kept.end(), [&](const Detection& better) {
            return better.label == next.label && iou(better.box, next.box) > threshold;
        });
        if (!covered) kept.push_back(next);
    }
    found.swap(kept);
}

Plan Plan::of(std::size_t height, std::size_t binning) {
    // At most half of a window, or there would be more overlap than progress.
    return {height * binning, std::min(kOverlapLines / binning, height / 2) * binning, binning};
}

std::size_t Plan::windows(std::size_t scan_lines) const {
    if (scan_lines <= lines) return 1;
    const std::size_t stride = lines - overlap;
    return (scan_lines - lines + stride - 1) / stride + 1;
}

std::size_t Plan::start(std::size_t k, std::size_t scan_lines) const {
    if (k + 1 < windows(scan_lines)) return k * (lines - overlap);
    // The last one ends with the scan and starts on a multiple of the binning.
    return scan_lines <= lines ? 0 : (scan_lines - lines + binning - 1) / binning * binning;
}

void Merger::begin(const Plan& plan, std::size_t scan_lines, std::size_t elements) {
    plan_ = plan;
    lines_ = scan_lines;
    elements_ = elements;
    pieces_.clear();
}

void Merger::add(std::size_t window, std::size_t windows, const std::vector<Detection>& found) {
    windows_ = windows;
    const std::size_t start = plan_.start(window, lines_), near = kEdgePixels * plan_.binning;
    const std::size_t end = std::min(start + plan_.lines, lines_);
    const float scale = static_cast<float>(plan_.binning), shift = static_cast<float>(start);
    const float top = static_cast<float>(start + near);
    const float bottom = static_cast<float>(end) - static_cast<float>(near);
    for (Detection one : found) {
        one.box = {one.box.x1 * scale, one.box.y1 * scale + shift, one.box.x2 * scale,
                   one.box.y2 * scale + shift};
        // The first window's upper edge and the last one's lower edge are ends of the bag.
        pieces_.push_back({one, window, window > 0 && one.box.y1 <= top,
                           window + 1 < windows && one.box.y2 >= bottom, true});
    }
}

void Merger::finish(float nms_iou, std::vector<Detection>& out) {
    if (windows_ > 1) {
        drop_cut_where_whole();
        join_cut();
        // A third window may have shown a part of what is one box by now.
        drop_cut_where_whole();
    }
    out.clear();
    for (Piece& piece : pieces_) {
        if (!piece.kept) continue;
        piece.found.box = clipped(piece.found.box, static_cast<float>(lines_),
                                  static_cast<float>(elements_));
        out.push_back(piece.found);
    }
    suppress(out, nms_iou, std::max<std::size_t>(1, out.size()), order_, left_);
}

void Merger::drop_cut_where_whole() {
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
        if (pieces_[i].cut_top) drop_cut(i, true);
        if (pieces_[i].cut_bottom) drop_cut(i, false);
    }
}

void Merger::drop_cut(std::size_t i, bool upwards) {
    Piece& cut = pieces_[i];
    if (!cut.kept) return;
    const float enough = kSameObject * area(cut.found.box);
    Piece* whole = nullptr;
    float most = 0.0f;
    for (Piece& other : pieces_) {
        const bool beyond = upwards ? other.window < cut.window : other.window > cut.window;
        const bool blind = upwards ? other.cut_bottom : other.cut_top;
        if (!beyond || blind || !other.kept || other.found.label != cut.found.label) continue;
        const float shared = intersection(cut.found.box, other.found.box);
        if (shared > enough && (!whole || shared > most)) whole = &other, most = shared;
    }
    if (!whole) return;
    whole->found.score = std::max(whole->found.score, cut.found.score);
    cut.kept = false;
}

void Merger::join_cut() {
    // Pieces were added window by window, which is the order that they are joined in.
    for (std::size_t i = 0; i < pieces_.size(); ++i)
        if (pieces_[i].kept && pieces_[i].cut_bottom) join_below(i);
}

void Merger::join_below(std::size_t i) {
    Piece& upper = pieces_[i];
    for (Piece& lower : pieces_) {
        if (lower.window <= upper.window || !lower.kept || !lower.cut_top ||
            lower.found.label != upper.found.label)
            continue;
        const Box a = upper.found.box, b = lower.found.box;
        const float across = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
        const float narrower = std::min(a.x2 - a.x1, b.x2 - b.x1);
        if (across > kSameObject * narrower && std::min(a.y2, b.y2) > std::max(a.y1, b.y1)) {
            lower.found.box = {std::min(a.x1, b.x1), std::min(a.y1, b.y1), std::max(a.x2, b.x2),
                               std::max(a.y2, b.y2)};
            lower.found.score = std::max(upper.found.score, lower.found.score);
            lower.cut_top = upper.cut_top;
            upper.kept = false;
            return;
        }
    }
}

}  // namespace xedge
