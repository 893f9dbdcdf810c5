// What the tables of quantized directories break: their quantization_config, and the tensors of one module.
#pragma once
#include "hostile/place.h"

namespace hostile {

inline Edit in_quantization(const std::function<void(Json*)>& edit) {
  return [edit](ModelFiles* m) { m->config([&](Json* c) { edit(&(*c)["quantization_config"]); }); };
}
inline Edit quantization_is(const char* key, const Json& value) {
  return in_quantization([key, value](Json* q) { (*q)[key] = value; });
}

// The tensors of a module, "model.layers.0.self_attn.q_proj.": Module(...).tensor("scales", edit).
class Module {
 public:
  explicit Module(std::string name) : name_(std::move(name)) {}

  std::string part(const char* name) const { return name_ + name; }

  Edit tensor(const char* part, const std::function<void(Tensor*)>& edit) const {
    return [name = name_ + part, edit](ModelFiles* m) { m->tensor(name, edit); };
  }
  Edit without(const char* part) const {
    return [name = name_ + part](ModelFiles* m) { m->remove_tensor(name); };
  }
  Edit with(const char* part, const Tensor& values) const {
    return [name = name_ + part, values](ModelFiles* m) {
      m->tensors([&](std::vector<Tensor>* all) { all->push_back({name, values.dtype, values.shape, values.bytes}); });
    };
  }
  // Another shape; the bytes are cut, or repeated, to fit.
  Edit shape(const char* part, const std::vector<int64_t>& shape) const {
    return tensor(part, [shape](Tensor* t) {
      size_t before = 1, after = 1;
      for (const int64_t d : t->shape) before *= static_cast<size_t>(d);
      for (const int64_t d : shape) after *= static_cast<size_t>(d);
      const size_t bytes = t->bytes.size() / before * after;
      t->shape = shape;
      while (t->bytes.size() < bytes) t->bytes += t->bytes;
      t->bytes.resize(bytes);
    });
  }
  Edit dtype(const char* part, const char* dtype) const {
    return tensor(part, [dtype](Tensor* t) { t->dtype = dtype; });
  }
  Edit bytes(const char* part, size_t at, const std::string& value) const {
    return tensor(part, [at, value](Tensor* t) { t->bytes.replace(at, value.size(), value); });
  }

 private:
  std::string name_;
};

}  // namespace hostile
