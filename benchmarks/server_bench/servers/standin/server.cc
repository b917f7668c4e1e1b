// A server of TensorFlow Serving's architecture, to compare with: grpc++'s synchronous server, requests parsed by
// protobuf, TensorFlow on the pool of its session. It serves models of floats with one input `x` and one output `y`.
//
//   standin PORT LIBRARY NAME=GRAPH,VARIABLES,RESTORE,FILES,INPUT,OUTPUT ...
//
// GRAPH is a file with a serialized GraphDef; the other words are the prefix of the variables' files, the operation that
// restores them, the tensor that names the files, and the model's two tensors (`none` without variables).

#include <dlfcn.h>
#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "predict.grpc.pb.h"
#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

namespace {

using tensorflow::serving::PredictionService;
using tensorflow::serving::PredictRequest;
using tensorflow::serving::PredictResponse;

[[noreturn]] void Fail(const std::string& what) {
  std::cerr << what << std::endl;
  std::exit(1);
}

// The library is opened, not linked: it holds a protobuf of its own, which must not meet that of grpc++.
void* library = nullptr;

void Open(const char* path) {
  library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  if (library == nullptr) Fail(dlerror());
}

template <typename F>
F* Function(const char* name) {
  void* found = dlsym(library, name);
  if (found == nullptr) Fail(dlerror());
  return reinterpret_cast<F*>(found);
}

#define C_API(name) static auto* const name##_ = Function<decltype(name)>(#name)

class Status {
 public:
  Status() {
    C_API(TF_NewStatus);
    status_ = TF_NewStatus_();
  }
  ~Status() {
    C_API(TF_DeleteStatus);
    TF_DeleteStatus_(status_);
  }
  Status(const Status&) = delete;
  Status& operator=(const Status&) = delete;

  TF_Status* get() const { return status_; }
  bool ok() const {
    C_API(TF_GetCode);
    return TF_GetCode_(status_) == TF_OK;
  }
  std::string message() const {
    C_API(TF_Message);
    return TF_Message_(status_);
  }

 private:
  TF_Status* status_;
};

class Model {
 public:
  explicit Model(const std::vector<std::string>& words) {
    C_API(TF_NewGraph);
    C_API(TF_NewSessionOptions);
    C_API(TF_NewSession);
    C_API(TF_NewImportGraphDefOptions);
    C_API(TF_GraphImportGraphDef);
    std::ifstream file(words.at(0), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    graph_ = TF_NewGraph_();
    Status status;
    TF_Buffer buffer{bytes.data(), bytes.size(), nullptr};
    TF_GraphImportGraphDef_(graph_, &buffer, TF_NewImportGraphDefOptions_(), status.get());
    if (status.ok()) session_ = TF_NewSession_(graph_, TF_NewSessionOptions_(), status.get());
    if (!status.ok()) Fail(status.message());
    input_ = Tensor(words.at(4));
    output_ = Tensor(words.at(5));
    if (words.at(1) != "none") Restore(words);
  }

  grpc::Status Run(const tensorflow::serving::Tensor& x, tensorflow::serving::Tensor* y) const {
    C_API(TF_AllocateTensor);
    C_API(TF_TensorData);
    C_API(TF_TensorByteSize);
    C_API(TF_DeleteTensor);
    C_API(TF_NumDims);
    C_API(TF_Dim);
    C_API(TF_SessionRun);
    std::vector<int64_t> dims;
    size_t size = sizeof(float);
    for (const auto& dim : x.tensor_shape().dim()) {
      dims.push_back(dim.size());
      size *= dim.size();
    }
    const bool content = !x.tensor_content().empty();
    const size_t sent = content ? x.tensor_content().size() : x.float_val_size() * sizeof(float);
    if (x.dtype() != TF_FLOAT || sent != size) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "x must be floats, all of them"};
    }
    TF_Tensor* value = TF_AllocateTensor_(TF_FLOAT, dims.data(), static_cast<int>(dims.size()), size);
    std::memcpy(TF_TensorData_(value), content ? x.tensor_content().data() : static_cast<const void*>(x.float_val().data()), size);
    TF_Tensor* result = nullptr;
    Status status;
    TF_SessionRun_(session_, nullptr, &input_, &value, 1, &output_, &result, 1, nullptr, 0, nullptr, status.get());
    TF_DeleteTensor_(value);
    if (!status.ok()) return {grpc::StatusCode::INTERNAL, status.message()};
    y->set_dtype(TF_FLOAT);
    for (int axis = 0; axis < TF_NumDims_(result); ++axis) {
      y->mutable_tensor_shape()->add_dim()->set_size(TF_Dim_(result, axis));
    }
    const auto* begin = static_cast<const float*>(TF_TensorData_(result));
    y->mutable_float_val()->Add(begin, begin + TF_TensorByteSize_(result) / sizeof(float));
    TF_DeleteTensor_(result);
    return grpc::Status::OK;
  }

 private:
  TF_Output Tensor(const std::string& name) const {
    C_API(TF_GraphOperationByName);
    const size_t colon = name.find(':');
    TF_Operation* operation = TF_GraphOperationByName_(graph_, name.substr(0, colon).c_str());
    if (operation == nullptr) Fail("no operation " + name);
    return {operation, colon == std::string::npos ? 0 : std::atoi(name.c_str() + colon + 1)};
  }

  void Restore(const std::vector<std::string>& words) const {
    C_API(TF_AllocateTensor);
    C_API(TF_TensorData);
    C_API(TF_StringInit);
    C_API(TF_StringCopy);
    C_API(TF_SessionRun);
    TF_Tensor* files = TF_AllocateTensor_(TF_STRING, nullptr, 0, sizeof(TF_TString));
    auto* prefix = static_cast<TF_TString*>(TF_TensorData_(files));
    TF_StringInit_(prefix);
    TF_StringCopy_(prefix, words.at(1).data(), words.at(1).size());
    const TF_Output fed = Tensor(words.at(3));
    const TF_Operation* restore = Tensor(words.at(2)).oper;
    Status status;
    TF_SessionRun_(session_, nullptr, &fed, &files, 1, nullptr, nullptr, 0, &restore, 1, nullptr, status.get());
    if (!status.ok()) Fail(status.message());
  }

  TF_Graph* graph_ = nullptr;
  TF_Session* session_ = nullptr;
  TF_Output input_{};
  TF_Output output_{};
};

class Service final : public PredictionService::Service {
 public:
  void Add(const std::string& name, std::unique_ptr<Model> model) { models_[name] = std::move(model); }

  grpc::Status Predict(grpc::ServerContext*, const PredictRequest* request, PredictResponse* response) override {
    const auto model = models_.find(request->model_spec().name());
    const auto x = request->inputs().find("x");
    if (model == models_.end() || x == request->inputs().end()) {
      return {grpc::StatusCode::NOT_FOUND, "no such model, or no input x"};
    }
    *response->mutable_model_spec() = request->model_spec();
    return model->second->Run(x->second, &(*response->mutable_outputs())["y"]);
  }

 private:
  std::map<std::string, std::unique_ptr<Model>> models_;
};

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) Fail("standin PORT LIBRARY NAME=GRAPH,VARIABLES,RESTORE,FILES,INPUT,OUTPUT ...");
  Open(arguments[2]);
  Service service;
  for (int number = 3; number < count; ++number) {
    const std::string told = arguments[number];
    const size_t equals = told.find('=');
    std::istringstream rest(told.substr(equals + 1));
    std::vector<std::string> words;
    for (std::string word; std::getline(rest, word, ',');) words.push_back(word);
    service.Add(told.substr(0, equals), std::make_unique<Model>(words));
  }
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(-1);
  builder.AddListeningPort(std::string("127.0.0.1:") + arguments[1], grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  if (server == nullptr) Fail("cannot listen");
  server->Wait();
}
