#pragma once

#include "bytes.hpp"

namespace xedge {

// All bytes of a file; one of more than `most` is read a little beyond that and no further.
// When it cannot be read, `refused` makes the Failure of the system's reason.
Bytes read_file(const char* path, std::size_t most, Failure (*refused)(const char* path,
                                                                       const char* why));

}  // namespace xedge
