#pragma once

#include <map>
#include <string>

#include "bytes.hpp"

namespace xedge {

using Names = bool (*)(const std::string&);

// All members of a zip by name, read without trust: as xedge/archive.py, whose limits it has.
std::map<std::string, Bytes> unpack(View content, Names allowed);

// A .npy file of one dtype ("<u2") in C order, without pickle.
struct Array {
    std::vector<std::size_t> shape;
    View body;
};
Array read_npy(View content, std::string_view dtype, std::size_t item_size);

}  // namespace xedge
