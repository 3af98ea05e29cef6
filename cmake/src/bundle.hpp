#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bytes.hpp"
#include "signing.hpp"

namespace xedge {

// Everything outside the graph that a model's answer depends on: xedge/spec.py says it at length.
struct Spec {
    std::string name, licence, stage;
    std::vector<std::string> classes;
    bool dual_energy = true, classifier = false;
    int height = 0, width = 0, binning = 0, candidates = 0;
    double pixel_mm = 0, score_threshold = 0, alarm_threshold = 0, nms_iou = 0;
};

// The candidates of one window, before anything is dropped.
struct Candidates {
    std::vector<float> boxes, scores;  // x1 y1 x2 y2 each
    std::vector<std::int32_t> labels;
};

struct Variant {
    Bytes model;
    double score_tolerance = 0, iou_tolerance = 0;
    Candidates golden;  // empty of a classifier
};

struct Bundle {
    Spec spec;
    std::map<std::string, Variant> variants;
    std::vector<std::uint16_t> golden_low, golden_high;
    std::size_t golden_lines = 0, golden_elements = 0;
    std::string sha256, variant_names;
    bool is_signed = false, is_verified = false;

    // Throws Failure when the bundle has no such variant.
    const Variant& variant(const std::string& name) const;
};

// A bundle that was read and checked as xedge/bundle.py does; with a key (nullptr: without) it must
// be signed by its owner. Throws Failure.
std::shared_ptr<const Bundle> parse_bundle(View content, const PublicKey* key = nullptr);
std::shared_ptr<const Bundle> open_bundle(const char* path, const PublicKey* key = nullptr);

}  // namespace xedge
