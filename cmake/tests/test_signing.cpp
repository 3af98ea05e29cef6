// Signatures and keys' files: test_signing BUNDLE, which is not signed; without one there is no
// OpenSSL to be found. Exit status 77 says that OpenSSL is not here.
#include <algorithm>
#include <cstdio>
#include <string>

#include <xedge/xedge.h>

#include "signing.hpp"

#include "check.h"

namespace {

using xedge::Bytes;
using Key = xedge::PublicKey;

Bytes hex(const std::string& digits) {
    Bytes out;
    for (std::size_t i = 0; i < digits.size(); i += 2)
        out.push_back(static_cast<std::uint8_t>(std::stoul(digits.substr(i, 2), nullptr, 16)));
    return out;
}

// What a call that must fail with XEDGE_E_SIGNATURE said; empty when it did not.
template <class Call>
std::string refusal(Call call) {
    try {
        call();
    } catch (const xedge::Failure& failure) {
        if (failure.status() == XEDGE_E_SIGNATURE) return failure.what();
    }
    return "";
}

bool has(const std::string& text, const char* words) { return text.find(words) != text.npos; }

struct Vector {
    const char *key, *message, *signature;
};

// RFC 8032, section 7.1, tests 1 to 3.
constexpr Vector kVectors[] = {
    {"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b4"
     "6bd25bf5f0595bbe24655141438e7a100b"},
    {"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d"
     "8c387b2eaeb4302aeeb00d291612bb0c00"},
    {"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6"
     "594a7c15e9716ed28dc027beceea1ec40a"},
};

Key key_of(const Vector& one) {
    const Bytes bytes = hex(one.key);
    Key key;
    std::copy(bytes.begin(), bytes.end(), key.begin());
    return key;
}

void signatures() {
    for (const Vector& one : kVectors) {
        const Bytes message = hex(one.message), signature = hex(one.signature);
        Key key = key_of(one);
        xedge::verify(message, &signature, key);
        for (const std::size_t at : {std::size_t{0}, std::size_t{40}, std::size_t{63}}) {
            Bytes changed = signature;
            changed[at] ^= 1;
            CHECK(has(refusal([&] { xedge::verify(message, &changed, key); }), "does not verify"));
        }
        for (const std::size_t size : {std::size_t{0}, std::size_t{63}, std::size_t{65}}) {
            Bytes resized = signature;
            resized.resize(size);
            CHECK(has(refusal([&] { xedge::verify(message, &resized, key); }), "does not verify"));
        }
        Bytes longer = message;
        longer.push_back('x');
        CHECK(has(refusal([&] { xedge::verify(longer, &signature, key); }), "another key"));
        key[5] ^= 1;
        CHECK(has(refusal([&] { xedge::verify(message, &signature, key); }), "another key"));
        CHECK(has(refusal([&] { xedge::verify(message, nullptr, key); }), "not signed"));
    }
}

void keys() {
    const std::string begin = "-----BEGIN PUBLIC KEY-----\n", end = "\n-----END PUBLIC KEY-----\n";
    const std::string body = "MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";
    const auto read = [&](const std::string& text) { return xedge::parse_public_key(text, "k.pub"); };
    const auto refused = [&](const std::string& text) { return refusal([&] { read(text); }); };
    CHECK(read(begin + body + end) == key_of(kVectors[1]));
    CHECK(read("a comment\n" + begin + body.substr(0, 20) + "\r\n" + body.substr(20) + end) ==
          key_of(kVectors[1]));
    std::string other = body;  // X25519: the last byte of its object identifier
    other.replace(8, 4, "K2Vu");
    CHECK(has(refused(begin + other + end), "of another kind: expected Ed25519"));
    CHECK(has(refused(begin + body.substr(0, 56) + end), "of another kind"));
    CHECK(has(refused("-----BEGIN PRIVATE KEY-----\n"), "holds a private key"));
    for (const std::string& bad :
         {std::string(), begin, begin + end, begin + body, end + begin + body, begin + "MCow*" + end,
          begin + "====" + end, begin + "MCo" + end, begin + "M=Co" + end, begin + "AAAA" + end})
        CHECK(has(refused(bad), "expected PEM"));
    CHECK(has(refused(std::string(20000, '-')), "too large"));
    Key out;
    CHECK_FAILS(XEDGE_E_SIGNATURE, "cannot be read", xedge_public_key(out.data(), "nowhere.pub"));
    CHECK_FAILS(XEDGE_E_ARGUMENT, "out", xedge_public_key(nullptr, "nowhere.pub"));
    CHECK_FAILS(XEDGE_E_ARGUMENT, "path", xedge_public_key(out.data(), nullptr));
}

void bundles(const char* path) {
    xedge_bundle* bundle = nullptr;
    const Key key = key_of(kVectors[0]);
    CHECK_FAILS(XEDGE_E_SIGNATURE, "not signed",
                xedge_bundle_open_signed(&bundle, path, key.data()));
    CHECK(bundle == nullptr);
    CHECK_FAILS(XEDGE_E_ARGUMENT, "key", xedge_bundle_open_signed(&bundle, path, nullptr));
    CHECK_FAILS(XEDGE_E_ARGUMENT, "key", xedge_bundle_parse_signed(&bundle, path, 3, nullptr));
    CHECK_FAILS(XEDGE_E_ARGUMENT, "bytes",
                xedge_bundle_parse_signed(&bundle, nullptr, 3, key.data()));
    CHECK_FAILS(XEDGE_E_BUNDLE, "read",
                xedge_bundle_open_signed(&bundle, "nowhere.xedge", key.data()));
}

}  // namespace

int main(int argc, char** argv) {
    const Bytes signature(64);
    const std::string said =
        refusal([&] { xedge::verify(signature, &signature, key_of(kVectors[0])); });
    if (argc == 1) {
        CHECK(has(said, "signatures cannot be handled"));
        CHECK(has(said, "XEDGE_CRYPTO_LIBRARY"));
        return checks_failed != 0;
    }
    if (has(said, "cannot be handled")) return std::printf("skipped: %s\n", said.c_str()), 77;
    signatures();
    keys();
    bundles(argv[1]);
    return checks_failed != 0;
}
