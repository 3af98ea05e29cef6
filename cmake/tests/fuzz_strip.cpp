// Any bytes to the reader of strip files: records, an end or a problem, and nothing else.
//
// Their CRCs keep changed bytes from the parser, so the first byte says which ones are made right.
#include <cstdlib>
#include <cstring>

#include <xedge/strip.h>

#include "fuzz.hpp"

namespace {

enum { HEADER = 1, RECORDS = 2, PAYLOADS = 4 };

void put(Bytes& bytes, std::size_t at, std::uint32_t value) { std::memcpy(&bytes[at], &value, 4); }

// CRCs made right as far as the sizes in the bytes lead.
void repair(Bytes& bytes, int which) {
    xedge_ring_crc crc;
    xedge_ring_crc_make(&crc);
    const auto sum = [&](std::size_t from, std::size_t size) {
        return xedge_ring_crc_add(&crc, 0, bytes.data() + from, size);
    };
    std::uint32_t metadata;
    if (bytes.size() < 48) return;
    std::memcpy(&metadata, &bytes[40], 4);
    if (metadata > bytes.size() - 48) return;
    std::size_t at = 44 + metadata;
    if (which & HEADER) put(bytes, at, sum(0, at));
    for (at += 4; bytes.size() - at >= 44;) {
        std::uint64_t size;
        std::memcpy(&size, &bytes[at + 32], 8);
        if (which & RECORDS) put(bytes, at + 40, sum(at, 40));
        at += 44;
        if (bytes.size() - at < 4 || size > bytes.size() - at - 4) return;
        at += static_cast<std::size_t>(size);
        if (which & PAYLOADS) put(bytes, at, sum(at - static_cast<std::size_t>(size),
                                                 static_cast<std::size_t>(size)));
        at += 4;
    }
}

void add(Bytes& bytes, const void* what, std::size_t size) {
    const auto* from = static_cast<const std::uint8_t*>(what);
    bytes.insert(bytes.end(), from, from + size);
}

// A record of so many lines of three elements; kind 4 is the end, and counts them.
void add_record(Bytes& bytes, std::uint16_t kind, std::uint32_t number, std::uint32_t lines,
                std::int64_t first) {
    const std::uint64_t size = 20 * lines;
    const std::uint16_t flags = kind != 4;
    const std::int64_t captured = 0;
    add(bytes, "XREC", 4);
    add(bytes, &kind, 2);
    add(bytes, &flags, 2);
    add(bytes, &number, 4);
    add(bytes, &lines, 4);
    add(bytes, &first, 8);
    add(bytes, &captured, 8);
    add(bytes, &size, 8);
    bytes.resize(bytes.size() + 4 + static_cast<std::size_t>(size) + 4);
}

}  // namespace

std::vector<Bytes> fuzz_seeds() {
    const double numbers[3] = {0.62, 1.5, 0.2};
    const std::uint32_t elements = 3, metadata = 2;
    Bytes file;
    add(file, "\x89XSTRIP\n\x01\0\x02\0", 12);
    add(file, &elements, 4);
    add(file, numbers, sizeof numbers);
    add(file, &metadata, 4);
    add(file, "{}\0\0\0\0", 6);
    add_record(file, XEDGE_STRIP_DARK, 0, 2, 0);
    add_record(file, XEDGE_STRIP_AIR, 1, 2, 0);
    add_record(file, XEDGE_STRIP_LINES, 2, 3, 0);
    add_record(file, XEDGE_STRIP_LINES, 3, 1, 3);
    add_record(file, 4, 4, 0, 4);
    repair(file, HEADER | RECORDS | PAYLOADS);
    std::vector<Bytes> seeds;
    for (std::uint8_t which = 0; which < 8; ++which) {
        seeds.push_back({which});
        seeds.back().insert(seeds.back().end(), file.begin(), file.end());
    }
    return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (!size) return 0;
    Bytes bytes(data + 1, data + size);  // no byte more than the file has, which ASan watches
    repair(bytes, data[0]);
    xedge_strip_file file;
    xedge_strip strip;
    int kind = xedge_strip_parse(&file, bytes.data(), bytes.size());
    std::size_t counts = 0;
    if (kind == 0) {
        Bytes metadata(file.metadata, file.metadata + file.metadata_size);
        std::vector<std::uint16_t> low(file.elements), high(file.elements);
        while ((kind = xedge_strip_next(&file, &strip)) > 0) {
            for (std::uint32_t i = 0; i < strip.lines; ++i) {
                std::int64_t encoder;
                xedge_strip_line(&file, &strip, i, &encoder, low.data(), high.data());
                counts += low.size() + high.size();
            }
        }
        if (xedge_strip_next(&file, &strip) != kind) std::abort();
    }
    if ((kind < 0) != (file.problem != nullptr) || 2 * counts > bytes.size()) std::abort();
    return 0;
}
