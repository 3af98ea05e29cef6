// ONNX Runtime through its C interface, with the settings of xedge/engines/onnxruntime.py.
#include "engine.hpp"

#if XEDGE_HAS_ONNXRUNTIME

#include <onnxruntime_c_api.h>

#include <algorithm>
#include <array>

#include "library.hpp"

namespace xedge {
namespace {

enum class Provider { cpu, cuda, tensorrt };

const OrtApi& api_of(const Library& library, std::string& version) {
    decltype(::OrtGetApiBase)* base = nullptr;
    library.bind(base, "OrtGetApiBase");
    version = base()->GetVersionString();
    if (const OrtApi* api = base()->GetApi(ORT_API_VERSION)) return *api;
    throw Failure(XEDGE_E_ENGINE_LOAD, "ONNX Runtime is older than what libxedge was built for",
                  "version 1." + std::to_string(ORT_API_VERSION) + " or newer", version,
                  "Update onnxruntime");
}

class OnnxRuntime final : public Engine {
public:
    OnnxRuntime(const LoadRequest& request, Provider provider)
        : library_("ONNX Runtime", request.library, "XEDGE_ONNXRUNTIME_LIBRARY",
                   {XEDGE_ONNXRUNTIME_PATH, "libonnxruntime.so.1", "libonnxruntime.so"},
                   "Run: pip install onnxruntime, and set XEDGE_ONNXRUNTIME_LIBRARY to its "
                   "libonnxruntime.so"),
          ort_(api_of(library_, version_)) {
        try {
            open(request, provider);
        } catch (...) {
            release();
            throw;
        }
    }
    OnnxRuntime(const OnnxRuntime&) = delete;
    OnnxRuntime& operator=(const OnnxRuntime&) = delete;
    ~OnnxRuntime() override { release(); }

    void run() override {
        const OrtValue* planes = values_[0];
        OrtStatus* status = ort_.Run(session_, nullptr, kNames.data(), &planes, 1,
                                     kNames.data() + 1, 3, values_.data() + 1);
        if (status)
            throw Failure(XEDGE_E_ENGINE_RUN, "ONNX Runtime failed while running", "",
                          said(status));
    }
    std::string version() const override { return "ONNX Runtime " + version_; }

private:
    static constexpr std::array<const char*, 4> kNames = {"planes", "boxes", "scores", "labels"};

    std::string said(OrtStatus* status) const {
        const std::string message = ort_.GetErrorMessage(status);
        ort_.ReleaseStatus(status);
        return message;
    }

    void load(OrtStatus* status) const {
        if (status)
            throw Failure(XEDGE_E_ENGINE_LOAD, "ONNX Runtime refused the model or the device",
                          "an ONNX file and a provider that this version can run", said(status),
                          "Export it again, or update onnxruntime");
    }

    void open(const LoadRequest& request, Provider provider) {
        load(ort_.CreateEnv(ORT_LOGGING_LEVEL_FATAL, "xedge", &environment_));
        load(ort_.CreateSessionOptions(&options_));
        load(ort_.SetIntraOpNumThreads(options_, request.threads));
        load(ort_.SetInterOpNumThreads(options_, 1));
        // Spinning threads cost more than twice the median latency when one core is busy.
        load(ort_.AddSessionConfigEntry(options_, "session.intra_op.allow_spinning", "0"));
        load(ort_.AddSessionConfigEntry(options_, "session.inter_op.allow_spinning", "0"));
        if (provider == Provider::tensorrt) append_tensorrt();
        if (provider != Provider::cpu) append_cuda();
        load(ort_.CreateSessionFromArray(environment_, request.model.data(), request.model.size(),
                                         options_, &session_));
        load(ort_.CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory_));
        check_count();
        for (std::size_t i = 0; i < kNames.size(); ++i) bind_value(request, i);
    }

    void append_cuda() {
        OrtCUDAProviderOptionsV2* cuda = nullptr;
        load(ort_.CreateCUDAProviderOptions(&cuda));
        OrtStatus* status = ort_.SessionOptionsAppendExecutionProvider_CUDA_V2(options_, cuda);
        ort_.ReleaseCUDAProviderOptions(cuda);
        load(status);
    }

    void append_tensorrt() {
        OrtTensorRTProviderOptionsV2* tensorrt = nullptr;
        load(ort_.CreateTensorRTProviderOptions(&tensorrt));
        OrtStatus* status =
            ort_.SessionOptionsAppendExecutionProvider_TensorRT_V2(options_, tensorrt);
        ort_.ReleaseTensorRTProviderOptions(tensorrt);
        load(status);
    }

    void check_count() const {
        std::size_t inputs = 0, outputs = 0;
        load(ort_.SessionGetInputCount(session_, &inputs));
        load(ort_.SessionGetOutputCount(session_, &outputs));
        if (inputs != 1 || outputs != 3)
            throw off_contract("all of them", std::to_string(inputs) + " inputs and " +
                                                  std::to_string(outputs) + " outputs");
    }

    // Index of the model's input or output of that name, whose place the graph does not fix.
    std::size_t place(const char* name) const {
        OrtAllocator* allocator = nullptr;
        load(ort_.GetAllocatorWithDefaultOptions(&allocator));
        for (std::size_t i = 0; i < 3; ++i) {
            char* text = nullptr;
            load(name == kNames[0] ? ort_.SessionGetInputName(session_, 0, allocator, &text)
                                   : ort_.SessionGetOutputName(session_, i, allocator, &text));
            const bool same = std::string(text) == name;
            load(ort_.AllocatorFree(allocator, text));
            if (same) return i;
        }
        throw off_contract(name, "none of that name");
    }

    void bind_value(const LoadRequest& request, std::size_t i) {
        const char* name = kNames[i];
        const Tensor wanted = contracted(request, name);
        static constexpr ONNXTensorElementDataType types[] = {
            ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
            ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32};
        const ONNXTensorElementDataType type = types[static_cast<int>(wanted.type)];
        const std::size_t at = place(name);
        OrtTypeInfo* info = nullptr;
        load(i == 0 ? ort_.SessionGetInputTypeInfo(session_, at, &info)
                    : ort_.SessionGetOutputTypeInfo(session_, at, &info));
        const bool same = keeps_contract(info, type, wanted);
        ort_.ReleaseTypeInfo(info);
        if (!same) throw off_contract(name, "another type or shape");
        load(ort_.CreateTensorWithDataAsOrtValue(memory_, wanted.memory, wanted.bytes,
                                                 wanted.shape.data(), wanted.shape.size(), type,
                                                 &values_[i]));
    }

    bool keeps_contract(const OrtTypeInfo* info, ONNXTensorElementDataType type,
                        const Tensor& wanted) const {
        const OrtTensorTypeAndShapeInfo* tensor = nullptr;
        ONNXTensorElementDataType found = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        std::size_t rank = 0;
        std::array<std::int64_t, 8> shape{};
        const auto fine = [this](OrtStatus* status) {
            if (status) ort_.ReleaseStatus(status);
            return !status;
        };
        return fine(ort_.CastTypeInfoToTensorInfo(info, &tensor)) && tensor &&
               fine(ort_.GetTensorElementType(tensor, &found)) && found == type &&
               fine(ort_.GetDimensionsCount(tensor, &rank)) && rank == wanted.shape.size() &&
               fine(ort_.GetDimensions(tensor, shape.data(), rank)) &&
               std::equal(wanted.shape.begin(), wanted.shape.end(), shape.begin());
    }

    void release() noexcept {
        for (OrtValue*& value : values_) {
            if (value) ort_.ReleaseValue(value);
            value = nullptr;
        }
        if (memory_) ort_.ReleaseMemoryInfo(memory_);
        if (session_) ort_.ReleaseSession(session_);
        if (options_) ort_.ReleaseSessionOptions(options_);
        if (environment_) ort_.ReleaseEnv(environment_);
    }

    std::string version_;
    Library library_;
    const OrtApi& ort_;
    OrtEnv* environment_ = nullptr;
    OrtSessionOptions* options_ = nullptr;
    OrtSession* session_ = nullptr;
    OrtMemoryInfo* memory_ = nullptr;
    std::array<OrtValue*, 4> values_{};
};

}  // namespace

std::unique_ptr<Engine> load_onnxruntime(const LoadRequest& request) {
    return std::make_unique<OnnxRuntime>(request, Provider::cpu);
}
std::unique_ptr<Engine> load_onnxruntime_cuda(const LoadRequest& request) {
    return std::make_unique<OnnxRuntime>(request, Provider::cuda);
}
std::unique_ptr<Engine> load_onnxruntime_tensorrt(const LoadRequest& request) {
    return std::make_unique<OnnxRuntime>(request, Provider::tensorrt);
}

}  // namespace xedge

#else

namespace xedge {
namespace {

Failure absent() {
    return {XEDGE_E_ENGINE_MISSING, "this libxedge was built without ONNX Runtime", "", "",
            "Run cmake/fetch_onnxruntime_headers.sh, then configure and build again"};
}

}  // namespace

std::unique_ptr<Engine> load_onnxruntime(const LoadRequest&) { throw absent(); }
std::unique_ptr<Engine> load_onnxruntime_cuda(const LoadRequest&) { throw absent(); }
std::unique_ptr<Engine> load_onnxruntime_tensorrt(const LoadRequest&) { throw absent(); }

}  // namespace xedge

#endif
