// From raw counts to planes: the same integers and the same table as xedge/encode.py.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xedge {

inline constexpr int kAirCounts = 60000;

// Corrected counts in the caller's memory; strides in elements of uint16.
struct Pair {
    const std::uint16_t *low, *high;
    std::size_t lines, elements, low_stride, high_stride;
};

// Planes high, low, ratio of a pair into rows of `target`, which lie `row` bytes apart and whose
// planes lie `plane` bytes apart. Ragged ends are dropped.
void encode(const Pair& pair, std::size_t binning, std::uint8_t* target, std::size_t row,
            std::size_t plane);

// Channel 3 for a ratio in 1/256 steps, 0..2047.
std::uint8_t ratio_plane(std::uint32_t step);

}  // namespace xedge
