// The seam between the detector and the libraries that run models.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "bundle.hpp"

namespace xedge {

// Memory that an engine reads from and writes to: bound once, so that a run allocates nothing here.
struct Buffers {
    std::uint8_t* planes;  // [3, height, width]
    float* boxes;          // [K, 4]
    float* scores;         // [K]
    std::int32_t* labels;  // [K]
};

struct LoadRequest {
    View model;  // an ONNX file
    const Spec& spec;
    Buffers buffers;
    int threads;
    std::string library;  // file to load; empty: look for it
    std::uint32_t null_latency_us;
};

// A loaded model. One thread at a time.
class Engine {
public:
    virtual ~Engine() = default;
    // Fills boxes, scores and labels from planes. Throws Failure.
    virtual void run() = 0;
    virtual std::string version() const = 0;
};

// Loads by name; throws Failure (XEDGE_E_ENGINE_MISSING when its library is not here).
std::unique_ptr<Engine> load_engine(const std::string& name, const LoadRequest& request);

// What the graph contract says of a tensor; throws when a name is no part of it.
struct Tensor {
    enum class Type { u8, f32, i32 };
    Type type;
    std::vector<std::int64_t> shape;
    void* memory;
    std::size_t bytes;
};
Tensor contracted(const LoadRequest& request, const std::string& name);
Failure off_contract(const std::string& name, const std::string& found);

// Physical cores that this process may use, at least 1: xedge/engines/threads.py says why.
int physical_cores();

std::unique_ptr<Engine> load_openvino(const LoadRequest& request);
std::unique_ptr<Engine> load_onnxruntime(const LoadRequest& request);
std::unique_ptr<Engine> load_onnxruntime_cuda(const LoadRequest& request);
std::unique_ptr<Engine> load_onnxruntime_tensorrt(const LoadRequest& request);
std::unique_ptr<Engine> load_null(const LoadRequest& request);

}  // namespace xedge
