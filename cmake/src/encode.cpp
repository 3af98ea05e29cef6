#include "encode.hpp"

#include <algorithm>
#include <array>

namespace xedge {
namespace {

constexpr std::uint32_t kRatioLimit = 2047;

// The first step at which floor(510 / (1 + exp(-step / 256)) - 255) is 1, 2, ... 254. Kept as
// integers, since exp() differs in its last bit between mathematics libraries.
constexpr std::array<std::uint16_t, 254> kFirstStep = {
    3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29,
    31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57,
    59, 61, 63, 65, 67, 69, 71, 73, 75, 77, 79, 81, 84, 86,
    88, 90, 92, 94, 96, 98, 100, 102, 104, 106, 108, 111, 113, 115,
    117, 119, 121, 123, 125, 128, 130, 132, 134, 136, 138, 140, 143, 145,
    147, 149, 151, 153, 156, 158, 160, 162, 165, 167, 169, 171, 173, 176,
    178, 180, 182, 185, 187, 189, 192, 194, 196, 199, 201, 203, 206, 208,
    210, 213, 215, 217, 220, 222, 225, 227, 229, 232, 234, 237, 239, 242,
    244, 247, 249, 252, 254, 257, 259, 262, 265, 267, 270, 272, 275, 278,
    280, 283, 286, 288, 291, 294, 297, 299, 302, 305, 308, 311, 314, 316,
    319, 322, 325, 328, 331, 334, 337, 340, 343, 346, 349, 352, 355, 359,
    362, 365, 368, 371, 375, 378, 381, 385, 388, 391, 395, 398, 402, 405,
    409, 413, 416, 420, 424, 427, 431, 435, 439, 443, 447, 451, 455, 459,
    463, 467, 471, 475, 480, 484, 488, 493, 498, 502, 507, 512, 516, 521,
    526, 531, 536, 541, 547, 552, 557, 563, 569, 574, 580, 586, 592, 598,
    605, 611, 618, 624, 631, 638, 645, 653, 660, 668, 676, 684, 693, 701,
    710, 719, 729, 739, 749, 760, 771, 782, 794, 806, 819, 833, 847, 863,
    879, 896, 914, 933, 954, 977, 1002, 1029, 1060, 1095, 1135, 1182, 1240, 1314,
    1418, 1596};

constexpr std::array<std::uint8_t, kRatioLimit + 1> ratio_table() {
    std::array<std::uint8_t, kRatioLimit + 1> table{};
    std::size_t value = 0;
    for (std::size_t step = 0; step <= kRatioLimit; ++step) {
        while (value < kFirstStep.size() && kFirstStep[value] <= step) ++value;
        table[step] = static_cast<std::uint8_t>(value);
    }
    return table;
}

constexpr std::array<std::uint8_t, kRatioLimit + 1> kRatio = ratio_table();

// Sum of the block of Binning x Binning counts, its mean with halves rounded up.
template <std::size_t Binning>
std::uint32_t mean(const std::uint16_t* first, std::size_t stride) {
    std::uint32_t total = 0;
    for (std::size_t y = 0; y < Binning; ++y)
        for (std::size_t x = 0; x < Binning; ++x) total += first[y * stride + x];
    constexpr std::uint32_t cells = Binning * Binning;
    return (total + cells / 2) / cells;
}

template <std::size_t Binning>
void encode_rows(const Pair& pair, std::uint8_t* target, std::size_t row, std::size_t plane) {
    const std::size_t height = pair.lines / Binning, width = pair.elements / Binning;
    for (std::size_t y = 0; y < height; ++y) {
        const std::uint16_t* low = pair.low + y * Binning * pair.low_stride;
        const std::uint16_t* high = pair.high + y * Binning * pair.high_stride;
        std::uint8_t* out = target + y * row;
        for (std::size_t x = 0; x < width; ++x) {
            const std::uint32_t l = mean<Binning>(low + x * Binning, pair.low_stride);
            const std::uint32_t h = mean<Binning>(high + x * Binning, pair.high_stride);
            out[x] = static_cast<std::uint8_t>(h >> 8);
            out[plane + x] = static_cast<std::uint8_t>(l >> 8);
            out[2 * plane + x] = kRatio[std::min((h << 8) / std::max(l, 1u), kRatioLimit)];
        }
    }
}

}  // namespace

void encode(const Pair& pair, std::size_t binning, std::uint8_t* target, std::size_t row,
            std::size_t plane) {
    using Rows = void (*)(const Pair&, std::uint8_t*, std::size_t, std::size_t);
    static constexpr std::array<Rows, 8> of_binning = {
        encode_rows<1>, encode_rows<2>, encode_rows<3>, encode_rows<4>,
        encode_rows<5>, encode_rows<6>, encode_rows<7>, encode_rows<8>};
    of_binning.at(binning - 1)(pair, target, row, plane);
}

std::uint8_t ratio_plane(std::uint32_t step) { return kRatio[std::min(step, kRatioLimit)]; }

}  // namespace xedge
