// A view of bytes that cannot be read beyond its end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "error.hpp"

namespace xedge {

using Bytes = std::vector<std::uint8_t>;

class View {
public:
    View(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
    View(const Bytes& bytes) : View(bytes.data(), bytes.size()) {}  // NOLINT: meant to convert

    const std::uint8_t* data() const { return data_; }
    std::size_t size() const { return size_; }

    View part(std::size_t offset, std::size_t size) const {
        if (offset > size_ || size > size_ - offset) throw corrupt("it ends too early");
        return {data_ + offset, size};
    }
    std::uint16_t u16(std::size_t offset) const {
        const View v = part(offset, 2);
        return static_cast<std::uint16_t>(v.data_[0] | v.data_[1] << 8);
    }
    std::uint32_t u32(std::size_t offset) const {
        return u16(offset) | static_cast<std::uint32_t>(u16(offset + 2)) << 16;
    }
    std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

private:
    const std::uint8_t* data_;
    std::size_t size_;
};

}  // namespace xedge
