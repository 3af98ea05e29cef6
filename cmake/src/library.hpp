// A shared library that is loaded at run time.
#pragma once

#include <initializer_list>
#include <string>

#include "error.hpp"

namespace xedge {

class Library {
public:
    // Opens `file`, or when that is empty the first that there is: the one that the environment
    // names, then `places`. Throws XEDGE_E_ENGINE_MISSING. Never unloaded: engines keep threads.
    Library(const std::string& what, const std::string& file, const char* environment,
            std::initializer_list<const char*> places, const std::string& remedy);

    const std::string& path() const { return path_; }

    template <class F>
    void bind(F*& function, const char* name) const {
        function = reinterpret_cast<F*>(symbol(name));
    }

private:
    void* symbol(const char* name) const;
    bool open(const std::string& path, std::string& why);

    std::string what_, path_;
    void* handle_ = nullptr;
};

}  // namespace xedge
