// What comes in through the boundary, checked: pointers, and structs of any version of the header.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>

#include "detector.hpp"
#include "xedge/xedge.h"

namespace xedge {

inline Failure bad_argument(const std::string& name, const std::string& expected,
                     const std::string& found) {
    return {XEDGE_E_ARGUMENT, "the argument '" + name + "' cannot be used", expected, found};
}

template <class T>
T* needed(T* pointer, const char* name) {
    if (!pointer) throw bad_argument(name, "a pointer", "NULL");
    return pointer;
}

inline constexpr std::size_t kLargestStruct = 4096;

inline std::size_t checked_size(std::size_t size, std::size_t smallest, const char* name) {
    if (size < smallest || size > kLargestStruct)
        throw bad_argument(name, "its struct_size, " + std::to_string(smallest) + " or more",
                           std::to_string(size) + ": start from its XEDGE_..._INIT");
    return size;
}

// A struct as this version knows it, from one that an older or newer header described: what an
// older one lacks keeps its default, and what a newer one adds must be zero.
template <class T>
T read_struct(const T* given, const T& defaults, std::size_t smallest, const char* name) {
    const std::size_t size =
        checked_size(needed(given, name)->struct_size, smallest, name);
    T known = defaults;
    std::memcpy(&known, given, std::min(size, sizeof(T)));
    const auto* bytes = reinterpret_cast<const unsigned char*>(given);
    for (std::size_t i = sizeof(T); i < size; ++i)
        if (bytes[i])
            throw bad_argument(name, "fields that this library knows",
                               "one of a newer header that is not zero");
    return known;
}

template <class T>
void write_struct(T* out, const T& filled, std::size_t smallest, const char* name) {
    const std::size_t size = checked_size(needed(out, name)->struct_size, smallest, name);
    auto* bytes = reinterpret_cast<unsigned char*>(out);
    std::memcpy(bytes, &filled, std::min(size, sizeof(T)));
    if (size > sizeof(T)) std::memset(bytes + sizeof(T), 0, size - sizeof(T));
    out->struct_size = size;
}

// What the first published header had; these numbers never change.
inline constexpr std::size_t kModelV1 = offsetof(xedge_model, golden_elements) + sizeof(std::int32_t);
inline constexpr std::size_t kSelfTestV1 = offsetof(xedge_self_test_result, limit) + sizeof(double);

// Arguments as the detector takes them. Throw Failure.
Pair read_scan(const xedge_scan* given);
Window read_window(const xedge_window* given);
DetectorOptions read_options(const xedge_options* given);

}  // namespace xedge
