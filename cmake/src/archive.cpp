#include "archive.hpp"

#include <string_view>

#include "inflate.hpp"
#include "sha256.hpp"

namespace xedge {
namespace {

constexpr std::uint64_t kLargestContent = 512u << 20;
constexpr std::size_t kMostMembers = 64;
constexpr std::size_t kEndSize = 22, kLongestComment = 0xffff, kCentralSize = 46, kLocalSize = 30;
constexpr std::uint32_t kEnd = 0x06054b50, kCentral = 0x02014b50, kLocal = 0x04034b50;
constexpr std::uint16_t kEncrypted = 1, kStored = 0, kDeflated = 8;

Failure unsound(const std::string& why) { return corrupt("it is no sound zip file (" + why + ")"); }

struct Entry {
    std::string name;
    std::uint16_t method;
    std::uint32_t crc, packed, size, offset;
};

std::size_t find_end(View content) {
    if (content.size() < kEndSize) throw unsound("too short");
    const std::size_t last = content.size() - kEndSize;
    const std::size_t first = last > kLongestComment ? last - kLongestComment : 0;
    for (std::size_t at = last + 1; at-- > first;)
        if (content.u32(at) == kEnd && content.u16(at + 20) == last - at) return at;
    throw unsound("its directory is missing");
}

std::vector<Entry> directory(View content) {
    const std::size_t end = find_end(content);
    const std::size_t count = content.u16(end + 10);
    std::size_t at = content.u32(end + 16);
    if (count > kMostMembers) throw corrupt("it has " + std::to_string(count) + " members");
    if (at + std::size_t{content.u32(end + 12)} != end) throw unsound("its directory is elsewhere");
    std::vector<Entry> entries;
    for (std::size_t i = 0; i < count; ++i) {
        const View head = content.part(at, kCentralSize);
        if (head.u32(0) != kCentral) throw unsound("its directory is damaged");
        if (head.u16(8) & kEncrypted) throw unsound("a member is encrypted");
        const std::size_t name = head.u16(28);
        entries.push_back({std::string(content.part(at + kCentralSize, name).text()), head.u16(10),
                           head.u32(16), head.u32(20), head.u32(24), head.u32(42)});
        at += kCentralSize + name + head.u16(30) + head.u16(32);
    }
    if (at != end) throw unsound("its directory has another size");
    return entries;
}

Bytes member(View content, const Entry& entry) {
    const View head = content.part(entry.offset, kLocalSize);
    const std::size_t name = head.u16(26), start = entry.offset + kLocalSize;
    if (head.u32(0) != kLocal || content.part(start, name).text() != entry.name)
        throw unsound("its directory and its members differ");
    const View packed = content.part(start + name + head.u16(28), entry.packed);
    Bytes data;
    if (entry.method == kStored) {
        if (entry.packed != entry.size) throw unsound("a stored member has two sizes");
        data.assign(packed.data(), packed.data() + packed.size());
    } else {
        data = inflate(packed, entry.size);
    }
    if (crc32(data) != entry.crc) throw unsound("bad CRC-32 for file '" + entry.name + "'");
    return data;
}

}  // namespace

std::map<std::string, Bytes> unpack(View content, Names allowed) {
    const std::vector<Entry> entries = directory(content);
    std::uint64_t total = 0;
    for (const Entry& entry : entries) {
        if (!allowed(entry.name)) throw corrupt("it has a member of a foreign name");
        total += entry.size;
        if (entry.method != kStored && entry.method != kDeflated)
            throw corrupt("a member is compressed in another way than deflate");
    }
    if (total > kLargestContent) throw corrupt("it unpacks to more than is allowed");
    std::map<std::string, Bytes> members;
    for (const Entry& entry : entries)
        if (!members.emplace(entry.name, member(content, entry)).second)
            throw corrupt("it has '" + entry.name + "' twice");
    return members;
}

namespace {

// The few words that numpy writes, in its order and spelling; anything else is refused.
class Header {
public:
    explicit Header(std::string_view text) : text_(text) {}

    void word(std::string_view wanted) {
        if (text_.substr(0, wanted.size()) != wanted) throw corrupt("an array has another header");
        text_.remove_prefix(wanted.size());
    }
    bool accept(std::string_view wanted) {
        if (text_.substr(0, wanted.size()) != wanted) return false;
        text_.remove_prefix(wanted.size());
        return true;
    }
    std::size_t number() {
        std::size_t value = 0, digits = 0;
        for (; !text_.empty() && text_[0] >= '0' && text_[0] <= '9' && digits < 9; ++digits) {
            value = 10 * value + static_cast<std::size_t>(text_[0] - '0');
            text_.remove_prefix(1);
        }
        if (!digits) throw corrupt("an array has another header");
        return value;
    }

private:
    std::string_view text_;
};

}  // namespace

Array read_npy(View content, std::string_view dtype, std::size_t item_size) {
    constexpr std::size_t prefix = 10;
    if (content.part(0, prefix).text().substr(0, 8) != std::string_view("\x93NUMPY\x01\x00", 8))
        throw corrupt("an array of another .npy version");
    const std::size_t length = content.u16(8);
    Header header(content.part(prefix, length).text());
    header.word("{'descr': '");
    header.word(dtype);
    header.word("', 'fortran_order': False, 'shape': (");
    std::vector<std::size_t> shape;
    std::uint64_t count = item_size;
    while (!header.accept(")")) {
        if (shape.size() == 4) throw corrupt("an array has too many sides");
        shape.push_back(header.number());
        // Each side is below 1e9 and the product is kept below 2^32 before the next.
        count *= shape.back();
        if (count > kLargestContent) throw corrupt("an array is larger than is allowed");
        if (!header.accept(", ")) header.accept(",");
    }
    header.word(", }");
    const View body = content.part(prefix + length, content.size() - prefix - length);
    if (count != body.size()) throw corrupt("an array of another size than it says");
    return {shape, body};
}

}  // namespace xedge
