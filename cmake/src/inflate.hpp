#pragma once

#include "bytes.hpp"

namespace xedge {

// What a raw deflate stream (RFC 1951) unpacks to, which must be exactly `size` bytes.
// Memory is bounded by `size`, whatever the stream says. Throws Failure.
Bytes inflate(View packed, std::size_t size);

}  // namespace xedge
