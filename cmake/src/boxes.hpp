// Box arithmetic in float32, operation by operation as xedge/boxes.py and xedge/scanner/windows.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace xedge {

struct Box {
    float x1, y1, x2, y2;
};

float area(const Box& box);
float intersection(const Box& a, const Box& b);
float iou(const Box& a, const Box& b);
Box clipped(const Box& box, float height, float width);

struct Detection {
    Box box;
    float score;
    std::int32_t label;
};

// Keeps what greedy suppression within each class leaves, best first, at most `limit`; ties keep
// their order. `order` is scratch, reused so that nothing is allocated once it has grown.
void suppress(std::vector<Detection>& found, float threshold, std::size_t limit,
              std::vector<std::uint32_t>& order, std::vector<Detection>& kept);

// How a scan is cut into windows along the belt.
struct Plan {
    std::size_t lines, overlap, binning;

    static Plan of(std::size_t height, std::size_t binning);
    // First line of window k of a scan; `windows` says how many there are.
    std::size_t windows(std::size_t scan_lines) const;
    std::size_t start(std::size_t k, std::size_t scan_lines) const;
};

// Detections of one scan from those of its windows: one object seen twice becomes one.
class Merger {
public:
    void begin(const Plan& plan, std::size_t scan_lines, std::size_t elements);
    void add(std::size_t window, std::size_t windows, const std::vector<Detection>& found);
    void finish(float nms_iou, std::vector<Detection>& out);

private:
    struct Piece {
        Detection found;
        std::size_t window;
        bool cut_top, cut_bottom, kept;
    };

    void drop_cut_where_whole();
    void drop_cut(std::size_t i, bool upwards);
    void join_cut();
    void join_below(std::size_t i);

    Plan plan_{};
    std::size_t lines_ = 0, elements_ = 0, windows_ = 0;
    std::vector<Piece> pieces_;
    std::vector<std::uint32_t> order_;
    std::vector<Detection> left_;
};

}  // namespace xedge
