#include "library.hpp"

#include <dlfcn.h>

#include <cstdlib>

namespace xedge {

Library::Library(const std::string& what, const std::string& file, const char* environment,
                 std::initializer_list<const char*> places, const std::string& remedy)
    : what_(what) {
    std::string why;
    const char* named = std::getenv(environment);
    // What was named is meant: another library in its stead would answer differently.
    if (!file.empty()) {
        if (open(file, why)) return;
    } else if (named && *named) {
        if (open(named, why)) return;
    } else {
        for (const char* place : places)
            if (*place && open(place, why)) return;
    }
    throw Failure(XEDGE_E_ENGINE_MISSING, what + " cannot be loaded", "its shared library", why,
                  remedy);
}

bool Library::open(const std::string& path, std::string& why) {
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_) {
        path_ = path;
        return true;
    }
    const char* said = dlerror();
    why += (why.empty() ? "" : "; ") + (said ? std::string(said) : path);
    return false;
}

void* Library::symbol(const char* name) const {
    if (void* found = dlsym(handle_, name)) return found;
    throw Failure(XEDGE_E_ENGINE_LOAD, what_ + " lacks a function that is needed", name,
                  path_ + " without it", "Use the version that libxedge was built with");
}

}  // namespace xedge
