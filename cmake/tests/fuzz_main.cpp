// Changes seeds and files at random for so many seconds: fuzz_TARGET SECONDS FILE...
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>

#include "fuzz.hpp"

int main(int argc, char** argv) {
    std::vector<Bytes> seeds = fuzz_seeds();
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
