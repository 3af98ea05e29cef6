// libxedge for C++17: the C interface of xedge.h with owners, exceptions and vectors. Header only.
//
//     const xedge::Bundle bundle("default.xedge");
//     xedge::Detector detector(bundle);
//     for (const xedge_detection& found : detector.scan(scan))
//         std::cout << bundle.class_name(found.label) << ' ' << found.score << '\n';
//
// Objects can be moved and not copied. Threads: as the functions of xedge.h that are called.
#ifndef XEDGE_XEDGE_HPP
#define XEDGE_XEDGE_HPP

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "xedge/xedge.h"

namespace xedge {

// A call that failed: what() is the library's sentence.
class Error : public std::runtime_error {
public:
    explicit Error(xedge_status status)
        : std::runtime_error(xedge_last_error()), status_(status) {}
    xedge_status status() const noexcept { return status_; }

private:
    xedge_status status_;
};

inline void check(xedge_status status) {
    if (status != XEDGE_OK) throw Error(status);
}

// Whose signature a bundle must carry: an Ed25519 key from a PEM file, or its bytes.
class PublicKey {
public:
    using Bytes = std::array<std::uint8_t, XEDGE_PUBLIC_KEY_SIZE>;
    explicit PublicKey(const std::string& path) {
        check(xedge_public_key(bytes_.data(), path.c_str()));
    }
    explicit PublicKey(const Bytes& bytes) : bytes_(bytes) {}
    const std::uint8_t* data() const noexcept { return bytes_.data(); }

private:
    Bytes bytes_{};
};

class Bundle {
public:
    explicit Bundle(const std::string& path) { check(xedge_bundle_open(&handle_, path.c_str())); }
    Bundle(const void* bytes, std::size_t size) {
        check(xedge_bundle_parse(&handle_, bytes, size));
    }
    Bundle(const std::string& path, const PublicKey& key) {
        check(xedge_bundle_open_signed(&handle_, path.c_str(), key.data()));
    }
    Bundle(const void* bytes, std::size_t size, const PublicKey& key) {
        check(xedge_bundle_parse_signed(&handle_, bytes, size, key.data()));
    }
    Bundle(Bundle&& other) noexcept : handle_(other.release()) {}
    Bundle& operator=(Bundle&& other) noexcept {
        if (this != &other) {
            xedge_bundle_close(handle_);
            handle_ = other.release();
        }
        return *this;
    }
    ~Bundle() { xedge_bundle_close(handle_); }

    // Its texts live as long as this object.
    xedge_model model() const {
        xedge_model model = XEDGE_MODEL_INIT;
        check(xedge_bundle_describe(&model, handle_));
        return model;
    }
    std::string class_name(std::int32_t label) const {
        const char* name = nullptr;
        check(xedge_bundle_class(&name, handle_, label));
        return name;
    }
    xedge_bundle* handle() const noexcept { return handle_; }

private:
    xedge_bundle* release() noexcept {
        xedge_bundle* handle = handle_;
        handle_ = nullptr;
        return handle;
    }
    xedge_bundle* handle_ = nullptr;
};

inline xedge_options default_options() { return XEDGE_OPTIONS_INIT; }

class Detector {
public:
    explicit Detector(const Bundle& bundle, const xedge_options& options = default_options()) {
        check(xedge_detector_open(&handle_, bundle.handle(), &options));
    }
    Detector(Detector&& other) noexcept
        : handle_(other.release()), found_(std::move(other.found_)) {}
    Detector& operator=(Detector&& other) noexcept {
        if (this != &other) {
            xedge_detector_close(handle_);
            handle_ = other.release();
            found_ = std::move(other.found_);
        }
        return *this;
    }
    ~Detector() { xedge_detector_close(handle_); }

    // What is found in a scan, best first; the vector is overwritten by the next call.
    const std::vector<xedge_detection>& scan(const xedge_scan& scan) {
        return take([&](std::size_t& count) {
            return xedge_detect_scan(handle_, &scan, found_.data(), found_.size(), &count);
        });
    }
    // The same in one window of three planes.
    const std::vector<xedge_detection>& window(const xedge_window& window) {
        return take([&](std::size_t& count) {
            return xedge_detect_window(handle_, &window, found_.data(), found_.size(), &count);
        });
    }
    // Throws where the engine does not reproduce the bundle's golden answer.
    xedge_self_test_result self_test() {
        xedge_self_test_result result = XEDGE_SELF_TEST_INIT;
        check(xedge_self_test(&result, handle_));
        return result;
    }
    std::string engine() const {
        const char* text = nullptr;
        check(xedge_detector_engine(&text, handle_));
        return text;
    }
    xedge_detector* handle() const noexcept { return handle_; }

private:
    template <class Detect>
    const std::vector<xedge_detection>& take(Detect detect) {
        std::size_t count = 0;
        found_.resize(found_.capacity());
        xedge_status status = detect(count);
        if (status == XEDGE_E_BUFFER) {
            found_.resize(count);
            status = xedge_detections(handle_, found_.data(), found_.size(), &count);
        }
        check(status);
        found_.resize(count);
        return found_;
    }
    xedge_detector* release() noexcept {
        xedge_detector* handle = handle_;
        handle_ = nullptr;
        return handle;
    }
    xedge_detector* handle_ = nullptr;
    std::vector<xedge_detection> found_ = std::vector<xedge_detection>(100);
};

}  // namespace xedge

#endif
