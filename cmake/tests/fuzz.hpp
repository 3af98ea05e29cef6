// What a fuzz target is: with clang (preset fuzz) libFuzzer drives it, with gcc fuzz_main.cpp.
#ifndef XEDGE_TESTS_FUZZ_HPP
#define XEDGE_TESTS_FUZZ_HPP

#include <cstddef>
#include <cstdint>
#include <vector>

using Bytes = std::vector<std::uint8_t>;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

// What fuzz_main.cpp changes beside the files that it is given.
std::vector<Bytes> fuzz_seeds();

#endif
