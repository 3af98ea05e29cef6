#include "bundle.hpp"

#include <algorithm>
#include <cstring>
#include <set>
#include <string_view>

#include "archive.hpp"
#include "file.hpp"
#include "json.hpp"
#include "sha256.hpp"

namespace xedge {
namespace {

constexpr std::size_t kLargestFile = 256u << 20, kLargestManifest = 1u << 20;
constexpr int kSchema = 1;

bool is_variant(std::string_view name) {
    constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyz0123456789-";
    return !name.empty() && name.size() <= 32 && name[0] != '-' &&
           name.find_first_not_of(allowed) == name.npos;
}

bool cut(std::string_view& text, std::string_view start, std::string_view end) {
    if (text.size() < start.size() + end.size() || text.substr(0, start.size()) != start ||
        text.substr(text.size() - end.size()) != end)
        return false;
    text = text.substr(start.size(), text.size() - start.size() - end.size());
    return true;
}

bool is_member(const std::string& name) {
    static const std::set<std::string_view> fixed = {"manifest.json",  "signature",
                                                     "recipe.toml",    "LICENCE",
                                                     "golden/low.npy", "golden/high.npy"};
    if (fixed.count(name)) return true;
    for (const auto& [start, end] : {std::pair("model/", ".onnx"), std::pair("golden/", "/boxes.npy"),
                                     std::pair("golden/", "/scores.npy"),
                                     std::pair("golden/", "/labels.npy"),
                                     std::pair("golden/", "/maps.npy")}) {
        std::string_view variant = name;
        if (cut(variant, start, end) && is_variant(variant)) return true;
    }
    return false;
}

double number_within(const Json& value_of, const char* key, double least, double most) {
    const double value = value_of.number();
    if (!(value >= least && value <= most))
        throw Failure(XEDGE_E_BUNDLE, std::string("a model's ") + key + " cannot be used",
                      std::to_string(least) + ".." + std::to_string(most), std::to_string(value));
    return value;
}

// A number of the description that has a default where it is left out.
double number_or(const Json& spec, const char* key, double least, double most, double otherwise) {
    const Json* value = spec.find(key);
    return value ? number_within(*value, key, least, most) : otherwise;
}

int whole_within(const Json& spec, const char* key, int least, int most) {
    number_within(spec.at(key), key, least, most);
    return spec.at(key).integer();
}

std::string word(const Json& value) {
    if (value.text().empty())
        throw Failure(XEDGE_E_BUNDLE,
                      "a model's name, stage, licence and classes must be words");
    return value.text();
}

std::string word_or(const Json& spec, const char* key, const char* otherwise) {
    const Json* value = spec.find(key);
    return value ? word(*value) : otherwise;
}

// What is only for the record is held to its form, so that both languages take the same bundles.
void check_record(const Json& spec) {
    for (const char* key : {"mean", "scale"}) {
        const Json* numbers = spec.find(key);
        if (!numbers) continue;
        if (numbers->items().size() != 3)
            throw Failure(XEDGE_E_BUNDLE, std::string("a model's ") + key +
                                              " must have one number a plane");
        for (const Json& number : numbers->items()) number_within(number, key, -1e9, 1e9);
    }
    if (const Json* parents = spec.find("parents"))
        for (const auto& parent : parents->members()) parent.second.text();
    if (const Json* measured = spec.find("measured"))
        for (const auto& one : measured->members()) one.second.number();
}

void refuse_unknown_keys(const Json& spec) {
    static const std::set<std::string_view> known = {
        "schema",  "name",           "classes",         "height",  "width",  "channels",
        "binning", "pixel_mm",       "candidates",      "nms_iou", "kind",   "mean",
        "scale",   "score_threshold", "alarm_threshold", "stage",   "licence", "parents",
        "measured"};
    for (const auto& member : spec.members())
        if (!known.count(member.first))
            throw Failure(XEDGE_E_BUNDLE, "the model's description has unknown keys", "",
                          member.first, "Use a library as new as the bundle");
}

// Whether a text is the first or the second of two words; anything else is refused.
bool is_second(const Json& value, std::string_view first, std::string_view second) {
    if (value.text() == second) return true;
    if (value.text() != first)
        throw Failure(XEDGE_E_BUNDLE, "the model's description is not complete", "",
                      "'" + value.text() + "'");
    return false;
}

Spec read_spec(const Json& json) {
    if (json.at("schema").number() != kSchema)
        throw Failure(XEDGE_E_BUNDLE, "the model's description is of another version", "schema 1",
                      "another", "Export the model again");
    refuse_unknown_keys(json);
    Spec spec;
    spec.name = word(json.at("name"));
    spec.licence = word_or(json, "licence", "Apache-2.0");
    spec.stage = word_or(json, "stage", "refined");
    for (const Json& name : json.at("classes").items()) spec.classes.push_back(word(name));
    if (spec.classes.empty() ||
        std::set<std::string>(spec.classes.begin(), spec.classes.end()).size() !=
            spec.classes.size())
        throw Failure(XEDGE_E_BUNDLE, "a model's class names must be given and differ");
    spec.dual_energy = !is_second(json.at("channels"), "dual-energy", "pseudo-colour");
    const Json* kind = json.find("kind");  // older ones do not say
    spec.classifier = kind && is_second(*kind, "detector", "classifier");
    spec.height = whole_within(json, "height", 1, 8192);
    spec.width = whole_within(json, "width", 1, 8192);
    spec.binning = whole_within(json, "binning", 1, 8);
    spec.candidates = whole_within(json, "candidates", spec.classifier ? 0 : 1,
                                   spec.classifier ? 0 : 1000);
    spec.pixel_mm = number_within(json.at("pixel_mm"), "pixel_mm", 1e-3, 1e3);
    spec.score_threshold = number_or(json, "score_threshold", 0, 1, 0.05);
    spec.alarm_threshold = number_or(json, "alarm_threshold", 0, 1, 0.4);
    spec.nms_iou = number_or(json, "nms_iou", 0, 1, 0.6);
    if (spec.alarm_threshold < spec.score_threshold)
        throw Failure(XEDGE_E_BUNDLE, "the alarm threshold lies below the score threshold");
    check_record(json);
    return spec;
}

using Members = std::map<std::string, Bytes>;

const Bytes& named(const Members& members, const std::string& name) {
    const auto found = members.find(name);
    if (found == members.end()) throw corrupt("its manifest is not complete ('" + name + "')");
    return found->second;
}

void check_members(const Json& manifest, const Members& members) {
    const Json& listed = manifest.at("members");
    if (listed.members().size() != members.size())
        throw corrupt("its members are not those of its manifest");
    for (const auto& [name, data] : members) {
        const Json* record = listed.find(name);
        if (!record) throw corrupt("its members are not those of its manifest");
        if (record->at("sha256").text() != sha256(data))
            throw corrupt("the sha256 of " + name + " is not the manifest's");
    }
}

template <class T>
std::vector<T> values(View body) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::vector<T> out(body.size() / sizeof(T));
    if (!out.empty()) std::memcpy(out.data(), body.data(), body.size());
    return out;
}

Candidates read_golden(const Members& members, const std::string& variant, const Spec& spec) {
    if (spec.classifier) return {};
    const std::string folder = "golden/" + variant + "/";
    const Array boxes = read_npy(named(members, folder + "boxes.npy"), "<f4", 4);
    const Array scores = read_npy(named(members, folder + "scores.npy"), "<f4", 4);
    const Array labels = read_npy(named(members, folder + "labels.npy"), "<i4", 4);
    const auto k = static_cast<std::size_t>(spec.candidates);
    const std::vector<std::size_t> row = {1, k}, rows = {1, k, 4};
    if (boxes.shape != rows || scores.shape != row || labels.shape != row)
        throw corrupt("the golden outputs of " + variant + " do not fit its description");
    return {values<float>(boxes.body), values<float>(scores.body),
            values<std::int32_t>(labels.body)};
}

void read_golden_counts(Bundle& bundle, const Members& members) {
    const Array low = read_npy(named(members, "golden/low.npy"), "<u2", 2);
    const Array high = read_npy(named(members, "golden/high.npy"), "<u2", 2);
    const auto binning = static_cast<std::size_t>(bundle.spec.binning);
    const std::size_t height = binning * static_cast<std::size_t>(bundle.spec.height);
    const std::size_t width = binning * static_cast<std::size_t>(bundle.spec.width);
    if (low.shape.size() != 2 || low.shape != high.shape ||
        std::min(low.shape[0], low.shape[1]) < binning || low.shape[0] > height ||
        low.shape[1] > width)
        throw corrupt("its golden counts are not one window of the model");
    bundle.golden_low = values<std::uint16_t>(low.body);
    bundle.golden_high = values<std::uint16_t>(high.body);
    bundle.golden_lines = low.shape[0];
    bundle.golden_elements = low.shape[1];
}

double tolerance(const Json& record, const char* key, double otherwise) {
    const Json* value = record.find(key);
    const double number = value ? value->number() : otherwise;
    if (!(number > 0.0 && number < 1.0))
        throw Failure(XEDGE_E_BUNDLE, "a tolerance cannot be used", "score and iou within 0..1",
                      std::to_string(number));
    return number;
}

void refuse_other_kinds(View content) {
    const std::string_view text = content.text();
    const auto refuse = [](const char* kind) {
        throw Failure(XEDGE_E_BUNDLE, "this is no bundle", "a .xedge file", kind,
                      "`xedge export CHECKPOINT -o FILE.xedge` makes a bundle of a checkpoint");
    };
    if (text.size() > 3 && text[0] == 8 && text[1] > 0 &&
        std::string_view("\x12\x1a\x3a\x42").find(text[2]) != text.npos)
        refuse("an ONNX graph");
    // A zip whose first member is torch's pickle, in a folder.
    constexpr std::size_t header = 30, longest = 300;
    const std::string_view name = text.substr(std::min(header, text.size()), longest);
    if (text.substr(0, 4) == "PK\x03\x04" && name.find('/') != name.npos &&
        name.substr(name.find('/')).substr(0, 9) == "/data.pkl")
        refuse("a checkpoint");
}

}  // namespace

const Variant& Bundle::variant(const std::string& name) const {
    const auto found = variants.find(name);
    if (found == variants.end())
        throw Failure(XEDGE_E_ARGUMENT, "the bundle has no variant '" + name + "'", variant_names,
                      name, "Choose one of these, or get a bundle that has it");
    return found->second;
}

std::shared_ptr<const Bundle> parse_bundle(View content, const PublicKey* key) {
    if (content.size() > kLargestFile)
        throw Failure(XEDGE_E_BUNDLE, "this is too large for a bundle", "at most 256 MiB",
                      std::to_string(content.size() >> 20) + " MiB");
    refuse_other_kinds(content);
    Members members = unpack(content, is_member);
    const auto head = members.find("manifest.json");
    if (head == members.end() || head->second.size() > kLargestManifest)
        throw corrupt("it has no manifest.json, or one of more than 1 MiB");
    const auto signature = members.find("signature");
    const bool is_signed = signature != members.end();
    // Before the manifest is parsed: what an unknown maker wrote is not looked into.
    if (key) verify(head->second, is_signed ? &signature->second : nullptr, *key);
    const Json manifest = Json::parse(View(head->second).text());
    const Json* schema = manifest.find("schema");
    if (!schema || schema->number() != kSchema)
        throw Failure(XEDGE_E_BUNDLE, "the bundle is of another version", "schema 1",
                      schema ? "schema " + std::to_string(schema->number()) : "no schema",
                      "Export it again with this version of xedge");
    members.erase(head);
    auto bundle = std::make_shared<Bundle>();
    bundle->is_signed = is_signed;
    bundle->is_verified = key != nullptr;
    if (is_signed) members.erase(signature);
    check_members(manifest, members);
    named(members, "LICENCE");
    manifest.at("created");
    manifest.at("measured").members();
    bundle->spec = read_spec(manifest.at("spec"));
    read_golden_counts(*bundle, members);
    for (const auto& [name, record] : manifest.at("variants").members()) {
        if (!is_variant(name)) throw corrupt("a variant has a foreign name");
        const Json& limits = record.at("tolerance");
        for (const auto& limit : limits.members())
            if (limit.first != "score" && limit.first != "iou")
                throw corrupt("a tolerance has unknown keys");
        Variant variant;
        variant.golden = read_golden(members, name, bundle->spec);
        variant.score_tolerance = tolerance(limits, "score", 1e-3);
        variant.iou_tolerance = tolerance(limits, "iou", 0.99);
        named(members, "model/" + name + ".onnx");
        variant.model = std::move(members["model/" + name + ".onnx"]);
        bundle->variant_names += (bundle->variant_names.empty() ? "" : ",") + name;
        bundle->variants.emplace(name, std::move(variant));
    }
    if (!bundle->variants.count("fp32"))
        throw corrupt("its variants are not fp32 and others");
    bundle->sha256 = sha256(content);
    return bundle;
}

std::shared_ptr<const Bundle> open_bundle(const char* path, const PublicKey* key) {
    const Bytes content = read_file(path, kLargestFile, [](const char* file, const char* why) {
        return Failure(XEDGE_E_BUNDLE, std::string("the bundle ") + file + " cannot be read",
                       "a .xedge file", why, "Check the path");
    });
    try {
        return parse_bundle(content, key);
    } catch (const Failure& failure) {
        throw Failure(failure.status(), std::string(path) + ": " + failure.what());
    }
}

}  // namespace xedge
