#include "inflate.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace xedge {
namespace {

constexpr int kLongestCode = 15;

class Bits {
public:
    explicit Bits(View bytes) : bytes_(bytes) {}

    std::uint32_t take(int count) {
        const std::uint32_t value = peek(count);
        skip(count);
        return value;
    }
    // The next bits, zeros beyond the end; only skip() may not go there.
    std::uint32_t peek(int count) {
        while (held_ < count) {
            const std::uint64_t next = at_ < bytes_.size() ? bytes_.data()[at_] : 0;
            buffer_ |= next << held_;
            held_ += 8;
            ++at_;
        }
        return static_cast<std::uint32_t>(buffer_ & ((std::uint64_t{1} << count) - 1));
    }
    void skip(int count) {
        buffer_ >>= count;
        held_ -= count;
        if (at_ - static_cast<std::size_t>(held_ / 8) > bytes_.size())
            throw corrupt("a member ends too early");
    }
    // The rest from the next whole byte on, which stored blocks begin at.
    View aligned(std::size_t size) {
        const std::size_t start = at_ - static_cast<std::size_t>(held_ / 8);
        const View part = bytes_.part(start, size);
        at_ = start + size;
        buffer_ = 0;
        held_ = 0;
        return part;
    }

private:
    View bytes_;
    std::size_t at_ = 0;
    std::uint64_t buffer_ = 0;
    int held_ = 0;
};

// A canonical prefix code as one table over as many bits as its longest code has.
class Code {
public:
    Code(const std::uint8_t* lengths, int symbols) {
        std::array<int, kLongestCode + 1> count{};
        for (int s = 0; s < symbols; ++s) ++count[lengths[s]];
        count[0] = 0;
        int left = 1, total = 0;
        for (int bits = 1; bits <= kLongestCode; ++bits) {
            left = 2 * left - count[bits];
            if (left < 0) throw corrupt("a member's code is not one");
            total += count[bits];
            if (count[bits]) longest_ = bits;
        }
        // The format allows one incomplete code: a single distance. The rest of the table then
        // stays empty, and meeting it is an error.
        if (left > 0 && total > 1) throw corrupt("a member's code has gaps");
        std::array<std::uint32_t, kLongestCode + 2> next{};
        for (int bits = 1; bits <= kLongestCode; ++bits)
            next[bits + 1] = (next[bits] + static_cast<std::uint32_t>(count[bits])) << 1;
        table_.assign(std::size_t{1} << longest_, 0);
        for (int s = 0; s < symbols; ++s) {
            const int bits = lengths[s];
            if (!bits) continue;
            std::uint32_t code = next[bits]++, reversed = 0;
            for (int b = 0; b < bits; ++b, code >>= 1) reversed = reversed << 1 | (code & 1);
            for (std::size_t i = reversed; i < table_.size(); i += std::size_t{1} << bits)
                table_[i] = static_cast<std::uint16_t>(s << 4 | bits);
        }
    }

    int next(Bits& bits) const {
        const std::uint16_t entry = table_[bits.peek(longest_)];
        if (!entry) throw corrupt("a member holds a code that means nothing");
        bits.skip(entry & 15);
        return entry >> 4;
    }

private:
    int longest_ = 0;
    std::vector<std::uint16_t> table_;
};

constexpr std::array<std::uint16_t, 29> kLengthBase = {3,  4,  5,  6,  7,  8,  9,  10,  11,  13,
                                                       15, 17, 19, 23, 27, 31, 35, 43,  51,  59,
                                                       67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr std::array<std::uint8_t, 29> kLengthExtra = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                                       2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr std::array<std::uint8_t, 19> kOrder = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                 11, 4,  12, 3, 13, 2, 14, 1, 15};

void copy_block(Bits& bits, const Code& literals, const Code& distances, Bytes& out,
                std::size_t& at) {
    for (;;) {
        const int symbol = literals.next(bits);
        if (symbol < 256) {
            if (at == out.size()) throw corrupt("a member is larger than it says");
            out[at++] = static_cast<std::uint8_t>(symbol);
            continue;
        }
        if (symbol == 256) return;
        if (symbol > 285) throw corrupt("a member holds a length that is none");
        const std::size_t length =
            kLengthBase[symbol - 257] + bits.take(kLengthExtra[symbol - 257]);
        const int slot = distances.next(bits);
        if (slot > 29) throw corrupt("a member holds a distance that is none");
        const int extra = slot < 2 ? 0 : slot / 2 - 1;
        const std::size_t base =
            slot < 2 ? slot + 1u : ((2u + (slot & 1)) << extra) + 1u;
        const std::size_t distance = base + bits.take(extra);
        if (distance > at) throw corrupt("a member repeats what it does not have");
        if (length > out.size() - at) throw corrupt("a member is larger than it says");
        // Source and target overlap where the distance is short: byte by byte repeats on purpose.
        for (std::size_t i = 0; i < length; ++i, ++at) out[at] = out[at - distance];
    }
}

void dynamic_block(Bits& bits, Bytes& out, std::size_t& at) {
    const int literals = static_cast<int>(bits.take(5)) + 257;
    const int distances = static_cast<int>(bits.take(5)) + 1;
    const int meta = static_cast<int>(bits.take(4)) + 4;
    if (literals > 286 || distances > 30) throw corrupt("a member's code is too large");
    std::array<std::uint8_t, 19> of_meta{};
    for (int i = 0; i < meta; ++i) of_meta[kOrder[i]] = static_cast<std::uint8_t>(bits.take(3));
    const Code lengths_code(of_meta.data(), 19);
    std::array<std::uint8_t, 286 + 30> lengths{};
    for (int i = 0; i < literals + distances;) {
        const int symbol = lengths_code.next(bits);
        if (symbol < 16) {
            lengths[i++] = static_cast<std::uint8_t>(symbol);
            continue;
        }
        if (symbol == 16 && i == 0) throw corrupt("a member's code repeats nothing");
        const std::uint8_t value = symbol == 16 ? lengths[i - 1] : 0;
        const int times = static_cast<int>(symbol == 16   ? 3 + bits.take(2)
                                           : symbol == 17 ? 3 + bits.take(3)
                                                          : 11 + bits.take(7));
        if (i + times > literals + distances) throw corrupt("a member's code is too long");
        std::fill_n(lengths.begin() + i, times, value);
        i += times;
    }
    if (!lengths[256]) throw corrupt("a member's code has no end");
    copy_block(bits, Code(lengths.data(), literals), Code(lengths.data() + literals, distances),
               out, at);
}

void fixed_block(Bits& bits, Bytes& out, std::size_t& at) {
    std::array<std::uint8_t, 288> literals;
    std::fill_n(literals.begin(), 144, std::uint8_t{8});
    std::fill_n(literals.begin() + 144, 112, std::uint8_t{9});
    std::fill_n(literals.begin() + 256, 24, std::uint8_t{7});
    std::fill_n(literals.begin() + 280, 8, std::uint8_t{8});
    std::array<std::uint8_t, 32> distances;
    distances.fill(5);
    copy_block(bits, Code(literals.data(), 288), Code(distances.data(), 32), out, at);
}

void stored_block(Bits& bits, Bytes& out, std::size_t& at) {
    const View head = bits.aligned(4);
    const std::size_t size = head.u16(0);
    if ((head.u16(0) ^ head.u16(2)) != 0xffff) throw corrupt("a stored block has two sizes");
    if (size > out.size() - at) throw corrupt("a member is larger than it says");
    const View body = bits.aligned(size);
    if (size) std::memcpy(out.data() + at, body.data(), size);
    at += size;
}

}  // namespace

Bytes inflate(View packed, std::size_t size) {
    // Deflate cannot shrink by more than 1032 to one: no memory for a size that must be a lie.
    if (size / 1032 > packed.size()) throw corrupt("a member is larger than it can be");
    Bytes out(size);
    Bits bits(packed);
    std::size_t at = 0;
    for (bool last = false; !last;) {
        last = bits.take(1) != 0;
        switch (bits.take(2)) {
            case 0: stored_block(bits, out, at); break;
            case 1: fixed_block(bits, out, at); break;
            case 2: dynamic_block(bits, out, at); break;
            default: throw corrupt("a block is of no kind that there is");
        }
    }
    if (at != size) throw corrupt("a member is smaller than it says");
    return out;
}

}  // namespace xedge
