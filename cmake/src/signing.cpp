#include "signing.hpp"

#include <algorithm>
#include <memory>

#include "file.hpp"
#include "library.hpp"

namespace xedge {
namespace {

constexpr std::size_t kLargestKey = 16u << 10;  // bytes of its file; a real one has some hundred
constexpr int kEd25519 = 1087;                  // EVP_PKEY_ED25519

Failure refused(const std::string& what, const std::string& expected = "",
                const std::string& found = "", const std::string& remedy = "") {
    return {XEDGE_E_SIGNATURE, what, expected, found, remedy};
}

// The few functions that are used, the same in OpenSSL 1.1.1, 3 and 4. Found at run time as the
// engines are: a program that checks no signature needs no OpenSSL, nor does a vendor's build.
struct OpenSsl {
    OpenSsl()
        : library("OpenSSL", "", "XEDGE_CRYPTO_LIBRARY",
                  {"libcrypto.so.3", "libcrypto.so.4", "libcrypto.so.1.1", "libcrypto.so"},
                  "Install it (Debian: apt-get install libssl3), or set XEDGE_CRYPTO_LIBRARY to "
                  "its libcrypto.so") {
        library.bind(key_new, "EVP_PKEY_new_raw_public_key");
        library.bind(key_free, "EVP_PKEY_free");
        library.bind(context_new, "EVP_MD_CTX_new");
        library.bind(context_free, "EVP_MD_CTX_free");
        library.bind(verify_begin, "EVP_DigestVerifyInit");
        library.bind(verify, "EVP_DigestVerify");
        library.bind(set_mark, "ERR_set_mark");
        library.bind(pop_to_mark, "ERR_pop_to_mark");
    }

    Library library;
    void* (*key_new)(int type, void* engine, const unsigned char* key, std::size_t size);
    void (*key_free)(void* key);
    void* (*context_new)();
    void (*context_free)(void* context);
    int (*verify_begin)(void* context, void** key_context, const void* digest, void* engine,
                        void* key);
    int (*verify)(void* context, const unsigned char* signature, std::size_t signature_size,
                  const unsigned char* message, std::size_t size);
    int (*set_mark)();
    int (*pop_to_mark)();
};

const OpenSsl& openssl() {
    try {
        static const OpenSsl& loaded = *new OpenSsl;
        return loaded;
    } catch (const Failure& failure) {
        throw refused(std::string("signatures cannot be handled: ") + failure.what());
    }
}

// Errors of ours must not lie in the queue of a program that uses OpenSSL itself.
struct ErrorMark {
    explicit ErrorMark(const OpenSsl& used) : ssl(used) { ssl.set_mark(); }
    ErrorMark(const ErrorMark&) = delete;
    ErrorMark& operator=(const ErrorMark&) = delete;
    ~ErrorMark() { ssl.pop_to_mark(); }
    const OpenSsl& ssl;
};

bool verifies(View message, const Bytes& signature, const PublicKey& public_key) {
    const OpenSsl& ssl = openssl();
    const ErrorMark mark(ssl);
    const std::unique_ptr<void, void (*)(void*)> key(
        ssl.key_new(kEd25519, nullptr, public_key.data(), public_key.size()), ssl.key_free);
    const std::unique_ptr<void, void (*)(void*)> context(ssl.context_new(), ssl.context_free);
    if (!key || !context ||
        ssl.verify_begin(context.get(), nullptr, nullptr, nullptr, key.get()) != 1)
        throw refused("signatures cannot be handled", "an OpenSSL that has Ed25519",
                      ssl.library.path() + " without it",
                      "Set XEDGE_CRYPTO_LIBRARY to another libcrypto.so");
    return ssl.verify(context.get(), signature.data(), signature.size(), message.data(),
                      message.size()) == 1;
}

int base64_value(char letter) {
    constexpr std::string_view alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const std::size_t at = alphabet.find(letter);
    return at == alphabet.npos ? -1 : static_cast<int>(at);
}

// What base64 (RFC 4648) stands for, empty when it is none; spaces and line ends are skipped.
Bytes from_base64(std::string_view text) {
    Bytes out;
    std::uint32_t held = 0;
    std::size_t letters = 0, padding = 0;
    for (const char letter : text) {
        if (std::string_view(" \t\r\n").find(letter) != std::string_view::npos) continue;
        const int value = letter == '=' ? 0 : base64_value(letter);
        padding += letter == '=';
        if (value < 0 || (padding && letter != '=') || padding > 2) return {};
        held = held << 6 | static_cast<std::uint32_t>(value);
        if (++letters % 4 == 0)
            for (const int shift : {16, 8, 0}) out.push_back((held >> shift) & 0xff);
    }
    if (letters % 4) return {};
    out.resize(out.size() - padding);
    return out;
}

}  // namespace

void verify(View message, const Bytes* signature, const PublicKey& key) {
    if (!signature)
        throw refused("the bundle is not signed", "a signature by the key that was given", "none",
                      "Get a signed bundle from its maker");
    if (!verifies(message, *signature, key))
        throw refused("the signature of the bundle does not verify",
                      "a signature by the key that was given, over this very manifest",
                      "one by another key, or a bundle that was changed",
                      "Do not use it: get it again from its maker");
}

PublicKey parse_public_key(std::string_view text, const std::string& path) {
    if (text.size() > kLargestKey)
        throw refused(path + " is too large for a key",
                      "at most " + std::to_string(kLargestKey >> 10) + " KiB");
    if (text.find("PRIVATE") != text.npos)
        throw refused(path + " holds a private key", "the public key that belongs to it", "",
                      "Name the .pub file; a private key has no business on a device");
    constexpr std::string_view begin = "-----BEGIN PUBLIC KEY-----";
    const std::size_t at = text.find(begin);
    const std::size_t end = text.find("-----END PUBLIC KEY-----", at == text.npos ? 0 : at);
    Bytes der;
    if (at != text.npos && end != text.npos)
        der = from_base64(text.substr(at + begin.size(), end - at - begin.size()));
    constexpr std::uint8_t kSequence = 0x30;
    if (der.empty() || der[0] != kSequence)
        throw refused("the public key " + path + " cannot be used", "PEM", "something else");
    // SubjectPublicKeyInfo of Ed25519 (RFC 8410): nothing in it varies but the key.
    constexpr std::array<std::uint8_t, 12> head = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                                   0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
    PublicKey key{};
    if (der.size() != head.size() + key.size() || !std::equal(head.begin(), head.end(), der.begin()))
        throw refused("the key in " + path + " is of another kind", "Ed25519", "another",
                      "Make one with `xedge sign --new-key NAME`");
    std::copy(der.end() - static_cast<std::ptrdiff_t>(key.size()), der.end(), key.begin());
    return key;
}

PublicKey read_public_key(const char* path) {
    const Bytes content = read_file(path, kLargestKey, [](const char* file, const char* why) {
        return refused(std::string("the public key ") + file + " cannot be read", "", why,
                       "Check the path, or make a pair with `xedge sign --new-key NAME`");
    });
    return parse_public_key(View(content).text(), path);
}

}  // namespace xedge
