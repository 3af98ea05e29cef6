#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error.hpp"

namespace xedge {

// One value of a JSON text (RFC 8259). Asking it for what it is not throws Failure, which names
// the key, so that a description is read without a check at every step.
class Json {
public:
    using Members = std::vector<std::pair<std::string, Json>>;

    // The value that the text holds. Refused: what is no JSON, nesting deeper than 32, a key twice.
    static Json parse(std::string_view text);

    const std::string& text() const;
    double number() const;
    int integer() const;  // refuses 1.0 as Python does
    const std::vector<Json>& items() const;
    const Members& members() const;
    // The member of that name, nullptr when there is none.
    const Json* find(std::string_view name) const;
    const Json& at(std::string_view name) const;

private:
    enum class Kind { null, boolean, number, text, array, object };
    friend class JsonReader;

    const Json& as(Kind kind, const char* wanted) const;

    Kind kind_ = Kind::null;
    bool whole_ = false;
    double number_ = 0.0;
    std::string text_;
    std::vector<Json> items_;
    Members members_;
};

}  // namespace xedge
