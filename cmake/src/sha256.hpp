#pragma once

#include <string>

#include "bytes.hpp"

namespace xedge {

// SHA-256 (FIPS 180-4) as 64 lower-case hexadecimal digits.
std::string sha256(View bytes);

// CRC-32 as zip files carry it.
std::uint32_t crc32(View bytes);

}  // namespace xedge
