// Failures inside the library: thrown here, turned into a status at the boundary.
#pragma once

#include <stdexcept>
#include <string>

#include "xedge/xedge.h"

namespace xedge {

// The same sentence that Python's XedgeError makes of its four parts.
class Failure : public std::runtime_error {
public:
    Failure(xedge_status status, const std::string& what, const std::string& expected = "",
            const std::string& found = "", const std::string& remedy = "")
        : std::runtime_error(sentence(what, expected, found, remedy)), status_(status) {}

    xedge_status status() const noexcept { return status_; }

private:
    static std::string sentence(const std::string& what, const std::string& expected,
                                const std::string& found, const std::string& remedy) {
        std::string text = what;
        if (!expected.empty()) text += ": expected " + expected;
        if (!found.empty()) text += (expected.empty() ? ": found " : ", found ") + found;
        return remedy.empty() ? text : text + ". " + remedy;
    }

    xedge_status status_;
};

inline Failure corrupt(const std::string& found) {
    return {XEDGE_E_BUNDLE, "the bundle cannot be used", "a sound .xedge file", found,
            "Get the bundle again from where it came, or export it again"};
}

}  // namespace xedge
