#include "engine.hpp"

#include <sched.h>

#include <algorithm>

#include <array>
#include <chrono>
#include <fstream>
#include <set>
#include <thread>

namespace xedge {
namespace {

struct BackEnd {
    const char* name;
    std::unique_ptr<Engine> (*load)(const LoadRequest&);
    bool automatic;
};

constexpr std::array<BackEnd, 5> kBackEnds = {{
    {"openvino", load_openvino, true},
    {"onnxruntime", load_onnxruntime, true},
    {"onnxruntime-cuda", load_onnxruntime_cuda, false},
    {"onnxruntime-tensorrt", load_onnxruntime_tensorrt, false},
    {"null", load_null, false},
}};

std::unique_ptr<Engine> load_first(const LoadRequest& request) {
    std::string why;
    for (const BackEnd& back_end : kBackEnds) {
        if (!back_end.automatic) continue;
        try {
            return back_end.load(request);
        } catch (const Failure& failure) {
            if (failure.status() != XEDGE_E_ENGINE_MISSING) throw;
            why += (why.empty() ? "" : "; ") + std::string(failure.what());
        }
    }
    throw Failure(XEDGE_E_ENGINE_MISSING, "no engine is here", "openvino or onnxruntime", why);
}

// Takes its time and finds nothing.
class NullEngine final : public Engine {
public:
    explicit NullEngine(const LoadRequest& request)
        : latency_(request.null_latency_us),
          buffers_(request.buffers),
          count_(static_cast<std::size_t>(request.spec.candidates)) {}

    void run() override {
        if (latency_.count()) std::this_thread::sleep_for(latency_);
        std::fill_n(buffers_.boxes, 4 * count_, 0.0f);
        std::fill_n(buffers_.scores, count_, 0.0f);
        std::fill_n(buffers_.labels, count_, 0);
    }
    std::string version() const override { return "null engine, which finds nothing"; }

private:
    std::chrono::microseconds latency_;
    Buffers buffers_;
    std::size_t count_;
};

}  // namespace

std::unique_ptr<Engine> load_null(const LoadRequest& request) {
    return std::make_unique<NullEngine>(request);
}

std::unique_ptr<Engine> load_engine(const std::string& name, const LoadRequest& request) {
    if (name == "auto") return load_first(request);
    std::string names = "auto";
    for (const BackEnd& back_end : kBackEnds) {
        if (name == back_end.name) return back_end.load(request);
        names += ", " + std::string(back_end.name);
    }
    throw Failure(XEDGE_E_ARGUMENT, "there is no engine of that name", names, name);
}

Tensor contracted(const LoadRequest& request, const std::string& name) {
    const std::int64_t k = request.spec.candidates;
    const std::int64_t h = request.spec.height, w = request.spec.width;
    const Buffers& to = request.buffers;
    const auto bytes = [](std::int64_t count) { return static_cast<std::size_t>(count); };
    if (name == "planes") return {Tensor::Type::u8, {1, 3, h, w}, to.planes, bytes(3 * h * w)};
    if (name == "boxes") return {Tensor::Type::f32, {1, k, 4}, to.boxes, bytes(16 * k)};
    if (name == "scores") return {Tensor::Type::f32, {1, k}, to.scores, bytes(4 * k)};
    if (name == "labels") return {Tensor::Type::i32, {1, k}, to.labels, bytes(4 * k)};
    throw off_contract(name, "a tensor of another name");
}

Failure off_contract(const std::string& name, const std::string& found) {
    return {XEDGE_E_ENGINE_LOAD, "the model is not the one that its description is of",
            "planes in; boxes, scores and labels out, of the sizes it says",
            found + " (" + name + ")", "Export the model again"};
}

int physical_cores() {
    cpu_set_t usable;
    CPU_ZERO(&usable);
    if (sched_getaffinity(0, sizeof usable, &usable) != 0)
        return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    std::set<std::string> cores;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &usable)) continue;
        const std::string number = std::to_string(cpu);
        std::ifstream file("/sys/devices/system/cpu/cpu" + number +
                           "/topology/thread_siblings_list");
        std::string siblings;
        cores.insert(std::getline(file, siblings) ? siblings : number);
    }
    return std::max(1, static_cast<int>(cores.size()));
}

}  // namespace xedge
