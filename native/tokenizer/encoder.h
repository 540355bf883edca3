// Text to tokens: pre-tokenisation, the cache, and merges, on this thread or on several. Results do not depend on the number of threads.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "bpe.h"
#include "parallel.h"
#include "piece_cache.h"
#include "pretokenize.h"

namespace hornbook::tokenizer {

struct Document {
  const uint8_t* data;
  size_t length;
};

// The tokens of several documents one after another.
struct EncodedDocuments {
  std::unique_ptr<void, Free> tokens;  // uint16_t or uint32_t
  size_t count = 0;
  std::vector<size_t> ends;  // where each document's tokens end
};

class Encoder {
 public:
  Encoder(BpeModel model, Pattern pattern) : model_(std::move(model)), pattern_(pattern) {}

  void encode(const uint8_t* text, size_t length, TokenBuffer& out);

  // `width` is the bytes a token takes, 2 or 4; with 2 every id must be below 2^16. Counts the documents' finished bytes, in units of 64 KiB, as progress.
  EncodedDocuments encodeDocuments(const std::vector<Document>& documents, int threads, int width, const JobControl& control);

 private:
  // What one thread needs at a time. Kept between jobs, so that a warm tokenizer stays warm.
  struct Worker {
    PieceCache<4> morePieces{11};  // longer ones, of more tokens, and those that found no room among `pieces_`
    MergeScratch scratch;
    TokenBuffer tokens;  // of one chunk
  };
  class Lease;
  class Collector;

  PieceCache<2>* piecesFor(size_t bytes);
  void encodeWith(Worker& worker, const uint8_t* text, const uint8_t* end, const uint8_t* limit, TokenBuffer& out);
  void encodeUnknown(Worker& worker, PieceCache<2>* pieces, const uint8_t* piece, size_t length, const uint8_t* limit, TokenBuffer& out);

  const BpeModel model_;
  const Pattern pattern_;
  // Of all threads: what one has merged, no other merges again. For a few prompts it would be more to make than to merge anew: it comes once there was
  // some text.
  std::unique_ptr<PieceCache<2>> ownPieces_;
  std::atomic<PieceCache<2>*> pieces_{nullptr};
  std::atomic<size_t> bytesSeen_{0};
  std::mutex lock_;
  std::vector<std::unique_ptr<Worker>> idle_;
};

}  // namespace hornbook::tokenizer
