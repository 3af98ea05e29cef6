// Any bytes to everything that reads a bundle: an answer or a Failure, and nothing else.
//
// With clang (preset fuzz) libFuzzer drives it; with gcc the main below changes the files it is
// given at random for so many seconds: fuzz_bundle SECONDS FILE...
#include <cstddef>
#include <cstdint>

#include "archive.hpp"
#include "bundle.hpp"
#include "inflate.hpp"
#include "json.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

// The digests of a bundle keep changed bytes from its parsers, so the first byte chooses one.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (!size) return 0;
    const xedge::View rest(data + 1, size - 1);
    try {
        switch (data[0] % 5) {
            case 0: xedge::parse_bundle(rest); break;
            case 1: xedge::unpack(rest, [](const std::string&) { return true; }); break;
            case 2: xedge::inflate(rest, 1 + size * (data[0] / 5)); break;
            case 3: xedge::Json::parse(rest.text()); break;
            default: xedge::read_npy(rest, "<u2", 2);
        }
    } catch (const xedge::Failure&) {
    }
    return 0;
}

#ifndef XEDGE_LIBFUZZER

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

int main(int argc, char** argv) {
    using Bytes = std::vector<std::uint8_t>;
    std::vector<Bytes> seeds = {{3, '{', '"', 'a', '"', ':', '[', '1', ']', '}'}};
    for (int i = 2; i < argc; ++i) {
        std::ifstream file(argv[i], std::ios::binary);
        seeds.emplace_back((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    }
    const auto end = std::chrono::steady_clock::now() +
                     std::chrono::seconds(argc > 1 ? std::atoi(argv[1]) : 1);
    std::mt19937 random(1);
    long runs = 0;
    for (; std::chrono::steady_clock::now() < end; ++runs) {
        Bytes bytes = seeds[random() % seeds.size()];
        for (unsigned n = 1 + random() % 8; n && !bytes.empty(); --n)
            bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
        if (random() % 4 == 0) bytes.resize(random() % (bytes.size() + 1));
        LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    std::printf("%ld runs without a finding\n", runs);
    return 0;
}

#endif
