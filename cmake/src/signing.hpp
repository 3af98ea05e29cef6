// Ed25519 signatures (RFC 8032) as xedge/signing.py checks them; OpenSSL does the arithmetic.
#pragma once

#include <array>

#include "bytes.hpp"

namespace xedge {

using PublicKey = std::array<std::uint8_t, XEDGE_PUBLIC_KEY_SIZE>;

// Returns when `signature` is that of `message` by the owner of the key. Throws Failure
// (XEDGE_E_SIGNATURE) when it is absent (nullptr) or is not, or when that cannot be found out.
void verify(View message, const Bytes* signature, const PublicKey& key);

// The key in a PEM file, as `openssl pkey -pubout` and `xedge sign --new-key` write it.
// Throws Failure (XEDGE_E_SIGNATURE).
PublicKey read_public_key(const char* path);

// The same of the file's text; `path` is for the messages.
PublicKey parse_public_key(std::string_view text, const std::string& path);

}  // namespace xedge
