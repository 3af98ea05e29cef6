// OpenVINO on the CPU through its C interface, with the settings of xedge/engines/openvino.py.
#include "engine.hpp"

#if XEDGE_HAS_OPENVINO

#include <openvino/c/openvino.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "library.hpp"

namespace xedge {
namespace {

// Every function that is used; the header gives their types, the library is found at run time.
#define XEDGE_OPENVINO_FUNCTIONS(X)         \
    X(ov_get_openvino_version)              \
    X(ov_version_free)                      \
    X(ov_get_last_err_msg)                  \
    X(ov_free)                              \
    X(ov_core_create)                       \
    X(ov_core_free)                         \
    X(ov_core_read_model_from_memory_buffer) \
    X(ov_core_compile_model)                \
    X(ov_model_free)                        \
    X(ov_compiled_model_free)               \
    X(ov_compiled_model_inputs_size)        \
    X(ov_compiled_model_outputs_size)       \
    X(ov_compiled_model_input_by_index)     \
    X(ov_compiled_model_output_by_index)    \
    X(ov_compiled_model_create_infer_request) \
    X(ov_infer_request_free)                \
    X(ov_infer_request_set_input_tensor_by_index) \
    X(ov_infer_request_set_output_tensor_by_index) \
    X(ov_infer_request_infer)               \
    X(ov_port_get_any_name)                 \
    X(ov_port_get_element_type)             \
    X(ov_const_port_get_shape)              \
    X(ov_output_const_port_free)            \
    X(ov_shape_create)                      \
    X(ov_shape_free)                        \
    X(ov_tensor_create_from_host_ptr)       \
    X(ov_tensor_free)

struct Functions {
    explicit Functions(const std::string& file)
        : library("OpenVINO", file, "XEDGE_OPENVINO_LIBRARY",
                  {XEDGE_OPENVINO_PATH, XEDGE_OPENVINO_SONAME, "libopenvino_c.so"},
                  "Run: pip install openvino, and set XEDGE_OPENVINO_LIBRARY to its "
                  "libopenvino_c.so") {
#define XEDGE_BIND(name) library.bind(name, #name);
        XEDGE_OPENVINO_FUNCTIONS(XEDGE_BIND)
#undef XEDGE_BIND
    }

    Library library;
#define XEDGE_DECLARE(name) decltype(::name)* name = nullptr;
    XEDGE_OPENVINO_FUNCTIONS(XEDGE_DECLARE)
#undef XEDGE_DECLARE

    // Its messages are a stack of "Exception from file:line" with the cause at the end.
    std::string said() const {
        const char* text = ov_get_last_err_msg();
        std::string message = text ? text : "";
        message.erase(message.find_last_not_of(" \n\r\t") + 1);
        const std::size_t line = message.rfind('\n');
        return line == std::string::npos ? message : message.substr(line + 1);
    }
};

// A thing of OpenVINO and what frees it.
template <class T>
class Owned {
public:
    explicit Owned(void (*release)(T*)) : release_(release) {}
    Owned(Owned&& other) noexcept : release_(other.release_), held_(other.held_) {
        other.held_ = nullptr;
    }
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    Owned& operator=(Owned&&) = delete;
    ~Owned() {
        if (held_) release_(held_);
    }
    T* get() const { return held_; }
    T** out() { return &held_; }

private:
    void (*release_)(T*);
    T* held_ = nullptr;
};

class OpenVino final : public Engine {
public:
    explicit OpenVino(const LoadRequest& request)
        : ov_(request.library),
          core_(ov_.ov_core_free),
          model_(ov_.ov_model_free),
          compiled_(ov_.ov_compiled_model_free),
          request_(ov_.ov_infer_request_free) {
        load(ov_.ov_core_create(core_.out()));
        load(ov_.ov_core_read_model_from_memory_buffer(
            core_.get(), reinterpret_cast<const char*>(request.model.data()), request.model.size(),
            nullptr, model_.out()));
        const std::string threads = std::to_string(request.threads);
        // Left to itself it takes bfloat16 on processors that have it.
        load(ov_.ov_core_compile_model(core_.get(), model_.get(), "CPU", 6, compiled_.out(),
                                       "INFERENCE_PRECISION_HINT", "f32", "PERFORMANCE_HINT",
                                       "LATENCY", "INFERENCE_NUM_THREADS", threads.c_str()));
        load(ov_.ov_compiled_model_create_infer_request(compiled_.get(), request_.out()));
        bind_ports(request);
        read_version();
    }

    void run() override {
        if (ov_.ov_infer_request_infer(request_.get()) != OK)
            throw Failure(XEDGE_E_ENGINE_RUN, "OpenVINO failed while running", "", ov_.said());
    }
    std::string version() const override { return version_; }

private:
    using Port = Owned<ov_output_const_port_t>;

    void load(ov_status_e status) const {
        if (status != OK)
            throw Failure(XEDGE_E_ENGINE_LOAD, "OpenVINO refused the model",
                          "an ONNX file that this version can compile", ov_.said(),
                          "Export it again, or use the engine onnxruntime");
    }

    void bind_ports(const LoadRequest& request) {
        std::size_t inputs = 0, outputs = 0;
        load(ov_.ov_compiled_model_inputs_size(compiled_.get(), &inputs));
        load(ov_.ov_compiled_model_outputs_size(compiled_.get(), &outputs));
        if (inputs != 1 || outputs != 3)
            throw off_contract("all of them", std::to_string(inputs) + " inputs and " +
                                                  std::to_string(outputs) + " outputs");
        Port input(ov_.ov_output_const_port_free);
        load(ov_.ov_compiled_model_input_by_index(compiled_.get(), 0, input.out()));
        std::set<std::string> names;
        load(ov_.ov_infer_request_set_input_tensor_by_index(request_.get(), 0,
                                                            tensor(request, input, names)));
        if (!names.count("planes")) throw off_contract(*names.begin(), "another input");
        for (std::size_t i = 0; i < outputs; ++i) {
            Port output(ov_.ov_output_const_port_free);
            load(ov_.ov_compiled_model_output_by_index(compiled_.get(), i, output.out()));
            load(ov_.ov_infer_request_set_output_tensor_by_index(request_.get(), i,
                                                                 tensor(request, output, names)));
        }
        if (names.size() != 4) throw off_contract("all of them", "one name twice");
    }

    // A tensor over our own memory for a port that keeps the contract.
    const ov_tensor_t* tensor(const LoadRequest& request, const Port& port,
                              std::set<std::string>& names) {
        char* text = nullptr;
        load(ov_.ov_port_get_any_name(port.get(), &text));
        const std::string name = text;
        ov_.ov_free(text);
        names.insert(name);
        const Tensor wanted = contracted(request, name);
        static constexpr ov_element_type_e types[] = {U8, F32, I32};
        const ov_element_type_e type = types[static_cast<int>(wanted.type)];
        ov_element_type_e found;
        load(ov_.ov_port_get_element_type(port.get(), &found));
        ov_shape_t shape{};
        // A shape with an open side has no answer here, which is off the contract as well.
        if (found != type || ov_.ov_const_port_get_shape(port.get(), &shape) != OK)
            throw off_contract(name, "another type, or a shape with an open side");
        const bool same = std::equal(wanted.shape.begin(), wanted.shape.end(), shape.dims,
                                     shape.dims + shape.rank);
        if (!same) {
            ov_.ov_shape_free(&shape);
            throw off_contract(name, "another shape");
        }
        Owned<ov_tensor_t> made(ov_.ov_tensor_free);
        const ov_status_e status =
            ov_.ov_tensor_create_from_host_ptr(type, shape, wanted.memory, made.out());
        ov_.ov_shape_free(&shape);
        load(status);
        tensors_.push_back(std::move(made));
        return tensors_.back().get();
    }

    void read_version() {
        ov_version_t version{};
        load(ov_.ov_get_openvino_version(&version));
        // 2026.4.1-22982-e213a147257-releases/2026/4: the build number says nothing to a user.
        const std::string build = version.buildNumber ? version.buildNumber : "";
        version_ = "OpenVINO " + build.substr(0, build.find('-'));
        ov_.ov_version_free(&version);
    }

    Functions ov_;
    Owned<ov_core_t> core_;
    Owned<ov_model_t> model_;
    Owned<ov_compiled_model_t> compiled_;
    Owned<ov_infer_request_t> request_;
    std::vector<Owned<ov_tensor_t>> tensors_;
    std::string version_;
};

}  // namespace

std::unique_ptr<Engine> load_openvino(const LoadRequest& request) {
    return std::make_unique<OpenVino>(request);
}

}  // namespace xedge

#else

namespace xedge {

std::unique_ptr<Engine> load_openvino(const LoadRequest&) {
    throw Failure(XEDGE_E_ENGINE_MISSING, "this libxedge was built without OpenVINO", "", "",
                  "Run pip install openvino, then configure and build again");
}

}  // namespace xedge

#endif
