// Bundles that were cut short or changed, and the parsers behind them: test_bundle BUNDLE
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "bundle.hpp"
#include "inflate.hpp"
#include "json.hpp"
#include "sha256.hpp"

#include "check.h"

namespace {

using xedge::Bytes;

Bytes bytes(const std::string& text) { return {text.begin(), text.end()}; }

template <class Call>
bool refused(Call call) {
    try {
        call();
    } catch (const xedge::Failure& failure) {
        return failure.status() == XEDGE_E_BUNDLE && *failure.what();
    }
    return false;
}

void digests() {
    CHECK(xedge::sha256(bytes("")) ==
          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(xedge::sha256(bytes("abc")) ==
          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    // 56 bytes: the first length that needs a second block for the padding.
    CHECK(xedge::sha256(bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(xedge::crc32(bytes("123456789")) == 0xcbf43926);
}

void streams() {
    // "aaaaaaaaaa": fixed codes, a literal and a run of nine that overlaps itself.
    const Bytes run = {0x4b, 0x84, 0x03, 0x00};
    CHECK(xedge::inflate(run, 10) == bytes("aaaaaaaaaa"));
    CHECK(refused([&] { xedge::inflate(run, 9); }));
    CHECK(refused([&] { xedge::inflate(run, 11); }));
    CHECK(refused([&] { xedge::inflate({run.data(), 2}, 10); }));
    const Bytes stored = {0x01, 0x03, 0x00, 0xfc, 0xff, 'a', 'b', 'c'};
    CHECK(xedge::inflate(stored, 3) == bytes("abc"));
    const Bytes two_sizes = {0x01, 0x03, 0x00, 0xfd, 0xff, 'a', 'b', 'c'};
    CHECK(refused([&] { xedge::inflate(two_sizes, 3); }));
    const Bytes no_kind = {0x07, 0x00, 0x00};
    CHECK(refused([&] { xedge::inflate(no_kind, 3); }));
    const Bytes before_start = {0x4b, 0x04, 0x12, 0x00};  // a distance beyond what came before
    CHECK(refused([&] { xedge::inflate(before_start, 10); }));
    // No memory is taken for what cannot be.
    CHECK(refused([&] { xedge::inflate(run, std::size_t{1} << 60); }));
    CHECK(refused([&] { xedge::inflate({nullptr, 0}, 0); }));
}

void texts() {
    using xedge::Json;
    const Json json = Json::parse(R"( {"a": [1, -2.5e1, "x\u00e9\ud83d\ude00\n"], "b": null} )");
    CHECK(json.at("a").items()[0].integer() == 1);
    CHECK(json.at("a").items()[1].number() == -25.0);
    CHECK(json.at("a").items()[2].text() == "x\xc3\xa9\xf0\x9f\x98\x80\n");
    CHECK(refused([&] { json.at("c"); }));
    CHECK(refused([&] { json.at("a").items()[1].integer(); }));
    CHECK(refused([&] { json.at("b").text(); }));
    for (const char* bad : {"", "{", "[1,]", "{\"a\":1,\"a\":2}", "01", "1.", "1e", "+1", "nul",
                            "\"\\x\"", "\"\\ud800\"", "\"\\u0000\"", "\"a", "\"\t\"", "1 1", "NaN",
                            "1e999", "\"\\", "\"\\u12", "-"})
        CHECK(refused([&] { Json::parse(bad); }));
    CHECK(refused([] { Json::parse(std::string(100000, '[')); }));
}

void bundles(const Bytes& whole) {
    const auto opened = xedge::parse_bundle(whole);
    CHECK(opened->variants.count("fp32") == 1 && opened->golden_low.size() > 0);
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{21},
                                   std::size_t{4000}, whole.size() / 2, whole.size() - 1})
        CHECK(refused([&] { xedge::parse_bundle({whole.data(), size}); }));
    // A changed byte anywhere: in members, in the directory, at the end. Of a member's own header
    // only what the directory does not say is read, so the first one is left alone.
    for (std::size_t at = 64; at < whole.size(); at += whole.size() / 11) {
        Bytes changed = whole;
        changed[at] ^= 0x55;
        CHECK(refused([&] { xedge::parse_bundle(changed); }));
    }
    Bytes longer = whole;
    longer.push_back(0);
    CHECK(refused([&] { xedge::parse_bundle(longer); }));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    std::ifstream file(argv[1], std::ios::binary);
    const Bytes whole((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    digests();
    streams();
    texts();
    bundles(whole);
    return checks_failed != 0;
}
