// Kernels of several float operands are written for one dtype and plain rows, which is what training and inference give them. Anything
// else the contract allows (a bf16 gradient beside f32 activations, an axis of stride 3) is rare: such operands are copied to dense f32
// first, and outputs copied back.
#pragma once

#include <initializer_list>

#include "../generated/contract.h"
#include "walk.h"

namespace hornbook::kernels {

class Uniform {
 public:
  // The views that are present must stay where they are until finish(). `plain` says that their layout suits the kernel.
  Uniform(Context& context, bool plain, std::initializer_list<TensorView*> inputs, std::initializer_list<TensorView*> outputs) : context_(context) {
    bool first = true;
    for (const auto* list : {&inputs, &outputs})
      for (const TensorView* view : *list) {
        if (!*view) continue;
        if (!first && view->dtype != dtype_) plain = false;
        dtype_ = first ? view->dtype : dtype_;
        first = false;
      }
    if (plain) return;
    dtype_ = DType::f32;
    for (TensorView* view : inputs) {
      if (!*view) continue;
      const TensorView original = *view;
      makeDense(*view);
      copy({original, *view}, context);
    }
    for (TensorView* view : outputs) {
      if (!*view) continue;
      originals_[outputs_] = *view;
      makeDense(*view);
      dense_[outputs_++] = view;
    }
  }

  DType dtype() const { return dtype_; }

  void finish() {
    for (int i = 0; i < outputs_; i++) copy({*dense_[i], originals_[i]}, context_);
  }

 private:
  void makeDense(TensorView& view) {
    view.data = context_.scratch<float>(view.elements());
    view.dtype = DType::f32;
    int64_t stride = 1;
    for (int i = view.rank - 1; i >= 0; i--) {
      view.strides[i] = stride;
      stride *= view.shape[i];
    }
  }

  Context& context_;
  DType dtype_ = DType::f32;
  int outputs_ = 0;
  TensorView originals_[4];
  TensorView* dense_[4];
};

}  // namespace hornbook::kernels
