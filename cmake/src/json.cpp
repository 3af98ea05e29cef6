#include "json.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <locale>
#include <sstream>

namespace xedge {
namespace {

constexpr int kDeepest = 32;

Failure not_json() { return corrupt("its manifest is not JSON"); }

void append_utf8(std::string& out, std::uint32_t c) {
    if (c < 0x80) {
        out += static_cast<char>(c);
    } else if (c < 0x800) {
        out += static_cast<char>(0xc0 | c >> 6);
        out += static_cast<char>(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        out += static_cast<char>(0xe0 | c >> 12);
        out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
        out += static_cast<char>(0x80 | (c & 0x3f));
    } else {
        out += static_cast<char>(0xf0 | c >> 18);
        out += static_cast<char>(0x80 | (c >> 12 & 0x3f));
        out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
        out += static_cast<char>(0x80 | (c & 0x3f));
    }
}

}  // namespace

class JsonReader {
public:
    explicit JsonReader(std::string_view text) : text_(text) {}

    Json whole() {
        Json value = read(0);
        blank();
        if (at_ != text_.size()) throw not_json();
        return value;
    }

private:
    using Kind = Json::Kind;

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    void blank() {
        while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos)
            ++at_;
    }
    bool accept(char c) {
        if (peek() != c || at_ == text_.size()) return false;
        ++at_;
        return true;
    }
    void expect(char c) {
        blank();
        if (!accept(c)) throw not_json();
    }
    bool accept(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }

    Json read(int depth) {
        if (depth > kDeepest) throw not_json();
        blank();
        Json value;
        if (accept('{')) {
            read_object(value, depth);
        } else if (accept('[')) {
            read_array(value, depth);
        } else if (peek() == '"') {
            value.kind_ = Kind::text;
            value.text_ = read_text();
        } else if (accept("true") || accept("false")) {
            value.kind_ = Kind::boolean;
        } else if (!accept("null")) {
            read_number(value);
        }
        return value;
    }

    void read_object(Json& value, int depth) {
        value.kind_ = Kind::object;
        blank();
        if (accept('}')) return;
        do {
            blank();
            std::string key = read_text();
            if (value.find(key)) throw corrupt("its manifest has '" + key + "' twice");
            expect(':');
            value.members_.emplace_back(std::move(key), read(depth + 1));
            blank();
        } while (accept(','));
        expect('}');
    }

    void read_array(Json& value, int depth) {
        value.kind_ = Kind::array;
        blank();
        if (accept(']')) return;
        do {
            value.items_.push_back(read(depth + 1));
            blank();
        } while (accept(','));
        expect(']');
    }

    std::string read_text() {
        if (!accept('"')) throw not_json();
        std::string out;
        while (!accept('"')) {
            if (at_ == text_.size() || static_cast<unsigned char>(text_[at_]) < 0x20)
                throw not_json();
            if (accept('\\'))
                read_escape(out);
            else
                out += text_[at_++];
        }
        return out;
    }

    void read_escape(std::string& out) {
        static constexpr std::string_view names = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
        const char name = peek();
        ++at_;
        if (name == 'u') {
            std::uint32_t c = read_hex();
            if (c >= 0xd800 && c < 0xdc00) {
                if (!accept("\\u")) throw not_json();
                const std::uint32_t low = read_hex();
                if (low < 0xdc00 || low > 0xdfff) throw not_json();
                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            } else if (c >= 0xdc00 && c <= 0xdfff) {
                throw not_json();
            }
            // A text with a NUL would end there for who reads it in C.
            if (!c) throw not_json();
            append_utf8(out, c);
            return;
        }
        const std::size_t which = names.find(name);
        if (which == names.npos || at_ > text_.size()) throw not_json();
        out += meant[which];
    }

    std::uint32_t read_hex() {
        std::uint32_t value = 0;
        for (int i = 0; i < 4; ++i, ++at_) {
            const char c = peek();
            const int digit = c >= '0' && c <= '9'   ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : -1;
            if (digit < 0) throw not_json();
            value = value << 4 | static_cast<std::uint32_t>(digit);
        }
        return value;
    }

    bool digits() {
        const std::size_t start = at_;
        while (peek() >= '0' && peek() <= '9') ++at_;
        return at_ > start;
    }

    void read_number(Json& value) {
        const std::size_t start = at_;
        accept('-');
        if (!accept('0') && !digits()) throw not_json();
        value.whole_ = true;
        if (accept('.')) {
            value.whole_ = false;
            if (!digits()) throw not_json();
        }
        if (accept('e') || accept('E')) {
            value.whole_ = false;
            if (!accept('+')) accept('-');
            if (!digits()) throw not_json();
        }
        value.kind_ = Kind::number;
        // A stream of the classic locale: strtod would follow the program's decimal comma, and
        // GCC before 11 has no from_chars for double.
        std::istringstream stream(std::string(text_.substr(start, at_ - start)));
        stream.imbue(std::locale::classic());
        if (!(stream >> value.number_) || !std::isfinite(value.number_)) throw not_json();
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

Json Json::parse(std::string_view text) { return JsonReader(text).whole(); }

const Json& Json::as(Kind kind, const char* wanted) const {
    if (kind_ != kind) throw corrupt(std::string("its manifest lacks ") + wanted);
    return *this;
}

const std::string& Json::text() const { return as(Kind::text, "a text where one belongs").text_; }

double Json::number() const { return as(Kind::number, "a number where one belongs").number_; }

int Json::integer() const {
    const double value = number();
    if (!whole_ || std::abs(value) > std::numeric_limits<int>::max())
        throw corrupt("its manifest lacks a whole number where one belongs");
    return static_cast<int>(value);
}

const std::vector<Json>& Json::items() const {
    return as(Kind::array, "a list where one belongs").items_;
}

const Json::Members& Json::members() const {
    return as(Kind::object, "an object where one belongs").members_;
}

const Json* Json::find(std::string_view name) const {
    for (const auto& [key, value] : members())
        if (key == name) return &value;
    return nullptr;
}

const Json& Json::at(std::string_view name) const {
    if (const Json* value = find(name)) return *value;
    throw corrupt("its manifest is not complete ('" + std::string(name) + "')");
}

}  // namespace xedge
