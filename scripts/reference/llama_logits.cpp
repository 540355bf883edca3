// The logits that llama.cpp computes after the last of some token ids, with keys and values in float32: an oracle for GGUF files.
//
//     g++ -O1 scripts/reference/llama_logits.cpp -I LLAMA/include -I LLAMA/ggml/include -L LIBS -lllama -lggml -lggml-base -o llama_logits
//     llama_logits FILE.gguf 1,5,9 COUNT
#include "llama.h"
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

int main(int, char** arguments) {
  std::vector<llama_token> ids;
  std::stringstream list(arguments[2]);
  for (std::string id; std::getline(list, id, ',');) ids.push_back(std::atoi(id.c_str()));
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_backend_init();
  llama_model* model = llama_model_load_from_file(arguments[1], llama_model_default_params());
  if (model == nullptr) return 1;
  llama_context_params settings = llama_context_default_params();
  settings.n_ctx = 256;
  settings.type_k = settings.type_v = GGML_TYPE_F32;
  settings.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  llama_context* context = llama_init_from_model(model, settings);
  if (context == nullptr || llama_decode(context, llama_batch_get_one(ids.data(), static_cast<int>(ids.size()))) != 0) return 1;
  const float* logits = llama_get_logits_ith(context, -1);
  for (int i = 0; i < std::atoi(arguments[3]); i++) std::printf("%.6f\n", logits[i]);
}
