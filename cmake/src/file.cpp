#include "file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace xedge {
namespace {

struct FileCloser {
    void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

Bytes read_file(const char* path, std::size_t most,
                Failure (*refused)(const char* path, const char* why)) {
    const std::unique_ptr<std::FILE, FileCloser> file(std::fopen(path, "rb"));
    if (!file) throw refused(path, std::strerror(errno));
    Bytes content;
    std::size_t held = 0;
    do {
        content.resize(std::max(std::min<std::size_t>(1u << 20, most + 1), 2 * held));
        held += std::fread(content.data() + held, 1, content.size() - held, file.get());
        if (std::ferror(file.get())) throw refused(path, std::strerror(errno));
    } while (held == content.size() && held <= most);
    content.resize(held);
    return content;
}

}  // namespace xedge
